"""Geodesic Euler: closed forms, order, contraction; variational integrators: invariants."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import least_squares

import flowjax_measures as fm

POLE = jnp.array([0.0, 0.0, 1.0])


def test_sphere_descends_a_meridian():
    """Ẋ = P_X e_z steps the angle to the pole by θ ← θ − h sin θ."""
    angles = np.array([0.3, 1.2, 2.5])
    x = jnp.stack([jnp.sin(angles), jnp.zeros(3), jnp.cos(angles)], 1)
    law = fm.Custom(lambda t, x, mu: POLE)
    start = fm.Particles(x, space=fm.Sphere())
    run = fm.simulate(law, start, [0.0, 1.5], dt=0.5, solver=fm.GeodesicEuler())
    for _ in range(3):
        angles = angles - 0.5 * np.sin(angles)
    found = jnp.arctan2(run.final.x[:, 0], run.final.x[:, 2])
    np.testing.assert_allclose(found, angles, rtol=1e-13)


def test_contracting_fields_bring_points_together():
    """On a hemisphere and for h ≤ 1 no pair of points parts."""
    h = 0.5
    z = jr.normal(jr.key(0), (40, 3)).at[:, 2].set(2.5)
    start = fm.Particles(z, space=fm.Sphere()).retract()
    law = fm.Custom(lambda t, x, mu: POLE)
    run = fm.simulate(law, start, [0.0, h], dt=h, solver=fm.GeodesicEuler())
    pairs = lambda x: jax.vmap(lambda a: jax.vmap(lambda b: fm.Sphere().distance(a, b))(x))(x)  # noqa: E731
    ratio = pairs(run.final.x) / jnp.where(jnp.eye(40) > 0, 1, pairs(start.x))
    assert ratio.max() < 1


@pytest.mark.slow
def test_orthogonal_group_is_lie_euler_of_order_one():
    spin = lambda x: jnp.array([[0.0, x[0, 1], -1.0], [-x[0, 1], 0.0, 0.5], [1.0, -0.5, 0.0]])  # noqa: E731
    law = fm.Custom(lambda t, x, mu: x @ spin(x))
    start = fm.Particles(jnp.eye(3)[None], space=fm.Stiefel())
    step = fm.simulate(law, start, [0.0, 0.4], dt=0.2, solver=fm.GeodesicEuler()).final.x[0]
    x = np.eye(3)
    for _ in range(2):
        x = x @ expm(0.2 * np.asarray(spin(x)))
    np.testing.assert_allclose(step, x, atol=1e-14)
    exact = fm.simulate(law, start, [0.0, 0.4], dt=0.002).final.x[0]
    errors = [
        jnp.linalg.norm(
            fm.simulate(law, start, [0.0, 0.4], dt=h, solver=fm.GeodesicEuler()).final.x[0] - exact
        )
        for h in (0.02, 0.01)
    ]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 1, atol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("space", [fm.Sphere(), fm.Stiefel(), fm.Torus(2.0)])
def test_exponential_is_a_geodesic(space):
    shape = (4, 2) if isinstance(space, fm.Stiefel) else (3,)
    x, v = jr.normal(jr.key(0), (2, *shape))
    x = space.nearest(x)
    v = space.project(x, v)
    end = space.exponential(x, v)
    np.testing.assert_allclose(space.nearest(end), end, atol=1e-13)
    # Its acceleration is normal, and its start is v.
    at = lambda t: space.exponential(x, t * v)  # noqa: E731
    np.testing.assert_allclose(jax.jit(jax.jacfwd(at))(0.0), v, atol=1e-13)
    bend = jax.jit(jax.jacfwd(jax.jacfwd(at)))(0.7)
    np.testing.assert_allclose(space.project(at(0.7), bend), 0, atol=1e-11)


def test_spaces_without_geodesics_are_refused():
    start = fm.Particles(jnp.array([[0.5, 0.5]]), space=fm.Simplex())
    law = fm.Custom(lambda t, x, mu: -x)
    with pytest.raises(ValueError, match="Simplex"):
        fm.simulate(law, start, [0.0, 0.1], dt=0.1, solver=fm.GeodesicEuler())


def test_variational_integrator_keeps_momenta_and_has_order_two():
    kepler = fm.EulerLagrange(lambda q, v: jnp.vdot(v, v) / 2 + 1 / jnp.sqrt(jnp.vdot(q, q)))
    start = fm.Particles(fm.Phase(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.2]])))
    watch = dict(
        spin=lambda mu: mu.x.q[0, 0] * mu.x.p[0, 1] - mu.x.q[0, 1] * mu.x.p[0, 0],
        energy=lambda mu: kepler.energy(jax.tree.map(lambda a: a[0], mu.x)),
        q=lambda mu: mu.x.q[0],
    )

    def end(h):
        ts = np.linspace(0.0, 20.0, 11)
        solver = fm.VariationalIntegrator()
        return fm.simulate(kepler, start, ts, dt=h, solver=solver, observe=watch).ys

    coarse, fine = end(0.05), end(0.025)
    np.testing.assert_allclose(coarse["spin"], 1.2, rtol=1e-13)
    assert jnp.max(jnp.abs(coarse["energy"] + 0.28)) < 3e-3
    exact = fm.simulate(kepler, start, [0.0, 2.0], dt=1e-3).final.x.q[0]
    errors = [jnp.linalg.norm(ys["q"][1] - exact) for ys in (coarse, fine)]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2, atol=0.15)


def test_lagrangian_and_friction_are_learned_from_positions():
    """A pendulum with friction: its frequency and damping, up to the scale of L."""

    def pendulum(square, damping):
        energy = lambda q, v: jnp.sum(v**2) / 2 + square * jnp.sum(jnp.cos(q))  # noqa: E731
        return fm.EulerLagrange(energy, lambda q, v: -damping * v)

    start = fm.Particles(fm.Phase(jnp.array([[1.3]]), jnp.array([[0.0]])))
    ts = np.arange(41) * 0.1
    seen = fm.simulate(pendulum(2.0, 0.3), start, ts, dt=0.1, solver=fm.VariationalIntegrator())
    positions = seen.ys.x.q[:, 0]
    miss = jax.jit(lambda theta: pendulum(*theta).residual(positions, 0.1).ravel())
    fit = least_squares(miss, [1.0, 0.0], jac=jax.jit(jax.jacfwd(miss)))
    np.testing.assert_allclose(fit.x, [2.0, 0.3], rtol=1e-8)


def test_gaussians_are_pushed_by_their_velocity():
    """One step of slice matching and one layer of attention are affine maps."""
    mu = fm.Gaussian(jnp.array([0.5, -1.0]), jnp.array([[1.5, 0.4], [0.4, 0.6]]))
    nu = fm.Gaussian(jnp.array([-0.2, 0.3]), jnp.array([[0.5, -0.2], [-0.2, 1.1]]))
    basis = fm.orthonormal_bases(jr.key(3), 1, 2)
    matching = fm.SliceMatching(nu, basis, 1.0)
    end = fm.simulate(matching, mu, [0.0, 0.7], dt=0.7, solver=fm.GeodesicEuler()).final
    ratio = np.sqrt(
        np.diag(basis[0] @ nu.cov @ basis[0].T) / np.diag(basis[0] @ mu.cov @ basis[0].T)
    )
    map_ = 0.3 * np.eye(2) + 0.7 * basis[0].T @ np.diag(ratio) @ basis[0]
    np.testing.assert_allclose(end.m, 0.3 * mu.m + 0.7 * nu.m, atol=1e-9)
    np.testing.assert_allclose(end.cov, map_ @ mu.cov @ map_.T, rtol=1e-9)
    layer = fm.layers(fm.SelfAttention(beta=0.8), 1)(mu)
    push = np.eye(2) + 0.8 * mu.cov
    np.testing.assert_allclose(layer.m, mu.m + push @ mu.m, rtol=1e-12)
    both = np.eye(2) + 0.8 * mu.cov
    np.testing.assert_allclose(layer.cov, both @ mu.cov @ both.T, rtol=1e-12)
    with pytest.raises(ValueError, match="Langevin has noise or growth"):
        noisy = fm.Langevin(lambda x: jnp.vdot(x, x) / 2)
        fm.simulate(noisy, mu, [0.0, 0.1], dt=0.1, solver=fm.GeodesicEuler(), key=jr.key(0))
