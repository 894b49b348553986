"""Variational integrators on the sphere and on rotations, and what is learned from positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import flowjax_measures as fm

SOLVER, GRAVITY = fm.VariationalIntegrator(), 1.3


def _pendulum(gravity):
    return fm.EulerLagrange(lambda q, v: jnp.vdot(v, v) / 2 - gravity * q[2])


def _swing(n, time=2.0):
    q, p = jnp.array([[0.6, 0.0, -0.8]]), jnp.array([[0.0, 0.9, 0.0]])
    start = fm.Particles(fm.Phase(q, p), space=fm.PhaseSpace(fm.Sphere()))
    ts = jnp.linspace(0.0, time, n + 1)
    return fm.simulate(_pendulum(GRAVITY), start, ts, dt=time / n, solver=SOLVER).ys.x


def test_a_spherical_pendulum():
    def law(t, y):
        q, p = y[:3], y[3:]
        force = np.array([0.0, 0.0, -GRAVITY])
        return np.concatenate([p, force - (force @ q) * q - (p @ p) * q])

    first = np.array([0.6, 0.0, -0.8, 0.0, 0.9, 0.0])
    exact = solve_ivp(law, (0, 2.0), first, rtol=1e-11, atol=1e-12).y[:3, -1]
    errors = []
    for n in (20, 40):
        run = _swing(n)
        spin = run.q[:, 0, 0] * run.p[:, 0, 1] - run.q[:, 0, 1] * run.p[:, 0, 0]
        np.testing.assert_allclose(spin, spin[0], atol=1e-13)
        np.testing.assert_allclose(jnp.linalg.norm(run.q, axis=-1), 1, atol=1e-14)
        errors.append(np.max(np.abs(run.q[-1, 0] - exact)))
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.1


@pytest.mark.slow
def test_gravity_is_learned_from_positions_on_the_sphere():
    positions = _swing(20).q[:, 0]
    miss = lambda g: _pendulum(g).residual(positions, 0.1, fm.Sphere()).ravel()  # noqa: E731
    slope = jax.jacfwd(miss)(0.0)
    np.testing.assert_allclose(-jnp.vdot(slope, miss(0.0)) / jnp.vdot(slope, slope), GRAVITY)


INERTIA = np.array([1.0, 2.0, 2.5])
SPREAD = (INERTIA.sum() - 2 * INERTIA) / 2
"""L = ½ tr(v J vᵀ) with J = diag(SPREAD) has these moments of inertia."""


def _hat(w):
    return jnp.array([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])


def _body(spread):
    return fm.EulerLagrange(lambda q, v: jnp.sum(v**2 * spread) / 2)


@pytest.mark.slow
def test_a_rigid_body_turns_as_euler_says():
    turn, space = np.array([0.3, 1.0, 0.2]), fm.PhaseSpace(fm.Stiefel())
    start = fm.Particles(fm.Phase(jnp.eye(3)[None], (_hat(turn) * SPREAD)[None]), space=space)

    def law(t, y):
        w, q = y[:3], y[3:].reshape(3, 3)
        return np.concatenate([np.cross(INERTIA * w, w) / INERTIA, (q @ _hat(w)).ravel()])

    first = np.concatenate([turn, np.eye(3).ravel()])
    exact = solve_ivp(law, (0, 3.0), first, rtol=1e-11, atol=1e-12).y[3:, -1].reshape(3, 3)
    errors = []
    for n in (30, 60):
        ts = jnp.linspace(0.0, 3.0, n + 1)
        body = _body(jnp.asarray(SPREAD))
        run = fm.simulate(body, start.retract(), ts, dt=3 / n, solver=SOLVER).ys.x
        spin = jax.vmap(lambda q, p: p @ q.T - q @ p.T)(run.q[:, 0], run.p[:, 0])
        np.testing.assert_allclose(spin, jnp.broadcast_to(spin[0], spin.shape), atol=1e-12)
        errors.append(np.max(np.abs(run.q[-1, 0] - exact)))
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.1
    # The moments of inertia, up to a factor, from orientations alone: the null space of the miss.
    positions = run.q[:, 0]
    miss = lambda s: _body(s).residual(positions, 0.05, fm.Stiefel()).ravel()  # noqa: E731
    columns = jax.jacfwd(miss)(jnp.ones(3))
    found = np.linalg.svd(columns)[2][-1]
    np.testing.assert_allclose(found / found[0], SPREAD / SPREAD[0], rtol=1e-9)
