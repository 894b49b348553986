"""Accelerated attention: Hamilton's equations, conformal symplecticity, orders, closure."""

import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special
from jax.flatten_util import ravel_pytree

import flowjax_measures as fm

N, D, ALPHA, BETA = 4, 2, 0.7, 1.3
START = fm.Phase(jr.normal(jr.key(0), (N, D)) / 2, jr.normal(jr.key(1), (N, D)) / 2)
A, V = ((m + m.T) / 4 for m in jr.normal(jr.key(2), (2, D, D)))
QUERY, KEY = jr.normal(jr.key(3), (2, 3, 1, D)) / 2
SYSTEMS = {
    "heads": fm.SympFormer(beta=BETA, damping=ALPHA, query=QUERY, key=KEY),
    "head": fm.SympFormer(beta=BETA, damping=ALPHA, query=QUERY[0], key=KEY[0]),
    "softmax": fm.SympFormer("softmax", A, beta=BETA, damping=ALPHA),
    "linear": fm.SympFormer("linear", A, V, damping=ALPHA),
}


def softmax_energy(q, p):
    z = jnp.exp(BETA * q @ A @ q.T).mean(1)
    return ((p**2).sum(1) / z).mean() / 2 - z.mean() / (2 * BETA)


def headed_energy(q, p, count=3):
    pairs = zip(QUERY[:count], KEY[:count], strict=True)
    heads = [jnp.exp(BETA * (q @ a.T) @ (q @ b.T).T) for a, b in pairs]
    z = sum((k + k.T) / 2 for k in heads).mean(1)
    return ((p**2).sum(1) / z).mean() / 2 - z.mean() / (2 * BETA)


def linear_energy(q, p):
    return jnp.mean((q @ A @ q.T) * (p @ p.T)) / 2 - jnp.mean(jnp.sum(q @ V * q, axis=1)) / 2


@pytest.mark.parametrize(
    ("name", "energy"),
    [
        ("softmax", softmax_energy),
        ("linear", linear_energy),
        ("heads", headed_energy),
        ("head", functools.partial(headed_energy, count=1)),
    ],
)
def test_equations_are_hamiltons(name, energy):
    system, mu = SYSTEMS[name], fm.Particles(START)
    force, velocity = jax.grad(energy, (0, 1))(*START)
    drift = system(0.0, mu).drift.x
    assert np.allclose(drift.q, N * velocity, atol=1e-14)
    assert np.allclose(drift.p, -N * force - ALPHA * START.p, atol=1e-14)
    assert np.isclose(system.energy(mu), energy(*START), atol=1e-14)


SOLVERS = {
    "symplectic": (fm.ConformalSymplecticEuler(ALPHA, 30), 1),
    "exponential": (fm.ExponentialEuler(ALPHA), 1),
    "two-step": (fm.ConformalAdamsBashforth2(ALPHA), 2),
}


@pytest.mark.parametrize("name", list(SOLVERS))
def test_orders_of_the_solvers(name):
    solver, order = SOLVERS[name]
    system, mu = SYSTEMS["softmax"], fm.Particles(START)
    exact = fm.simulate(system, mu, [0.0, 1.0], dt=0.01).final.x.q
    steps = np.array([40, 80, 160])
    errors = []
    for count in steps.tolist():
        run = fm.simulate(system, mu, [0.0, 1.0], dt=1 / count, solver=solver)
        errors.append(np.abs(run.final.x.q - exact).max())
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.15


@pytest.mark.parametrize("name", ["heads", "softmax", "linear"])
def test_the_symplectic_form_contracts_exactly(name):
    h, (_, unravel) = 0.05, ravel_pytree(START)
    solver, _ = SOLVERS["symplectic"]

    def step(flat):
        mu = fm.Particles(unravel(flat))
        return ravel_pytree(fm.simulate(SYSTEMS[name], mu, [0.0, h], dt=h, solver=solver).final.x)[
            0
        ]

    jacobian = jax.jacfwd(step)(ravel_pytree(START)[0])
    eye, nothing = np.eye(N * D), np.zeros((N * D, N * D))
    form = np.block([[nothing, eye], [-eye, nothing]])
    assert np.allclose(jacobian.T @ form @ jacobian, np.exp(-ALPHA * h) * form, atol=1e-14)


def test_linear_closure_is_that_of_particles():
    # The drift is linear given second moments, so particles with the same two moments agree.
    z = jnp.concatenate([jr.normal(jr.key(3), (9, D)), jr.normal(jr.key(4), (9, D))], axis=1) / 2
    m, cov = z.mean(0), jnp.cov(z.T, bias=True)
    system = SYSTEMS["linear"]
    closure = fm.simulate(system, fm.Gaussian(m, cov), [0.0, 0.5], dt=0.01).final
    mu = fm.Particles(fm.Phase(z[:, :D], z[:, D:]))
    final = jnp.concatenate(fm.simulate(system, mu, [0.0, 0.5], dt=0.01).final.x, axis=1)
    assert np.allclose(final.mean(0), closure.m, atol=1e-9)
    assert np.allclose(np.cov(final.T, bias=True), closure.cov, atol=1e-9)


@pytest.mark.slow
def test_softmax_from_a_gaussian_is_the_projection():
    # Softmax does not close; its Gaussian moves with the moments of the law, here 32² nodes of it.
    system = fm.SympFormer("softmax", beta=0.5, damping=ALPHA)
    m, cov = jnp.array([0.3, -0.2]), jnp.array([[0.5, 0.1], [0.1, 0.3]])
    z, w = np.polynomial.hermite_e.hermegauss(32)
    z, w = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2), np.outer(w, w).ravel() / w.sum() ** 2
    z, w = z[w > 1e-16], w[w > 1e-16]
    x = m + z @ jnp.linalg.cholesky(cov).T
    law = fm.Particles(fm.Phase(x[:, :1], x[:, 1:]), jnp.log(w))
    v = jnp.concatenate(system(0.0, law).drift.x, axis=1)
    spread = (w[:, None] * v).T @ (x - m)
    drift = jax.jit(lambda mu: system(0.0, mu).drift)(fm.Gaussian(m, cov))
    assert np.allclose(drift.m, w @ v, atol=1e-9)
    assert np.allclose(drift.cov, spread + spread.T, atol=1e-9)
    assert np.isclose(system.energy(fm.Gaussian(m, cov)), system.energy(law), rtol=1e-12)


def test_softmax_does_not_close():
    # Third powers of q in ṗ/Z at u = p/Z = Sq: those of the force are ½ + (βAΣ)²/2 times
    # β²A²ΣS², those of a law that stays Gaussian would be 2 times it.
    beta, sigma, slope = 0.8, 0.6, 0.5
    z, w = np.polynomial.hermite_e.hermegauss(80)
    q = np.sqrt(sigma) * z
    log_z = lambda q: (beta * q) ** 2 * sigma / 2  # noqa: E731
    law = fm.Particles(
        fm.Phase(jnp.asarray(q)[:, None], jnp.asarray(slope * q * np.exp(log_z(q)))[:, None]),
        jnp.log(w / w.sum()),
    )
    at = np.linspace(-1, 1, 9)
    system = fm.SympFormer("softmax", beta=beta, damping=0.0)
    force = [
        system.rates(0.0, fm.Phase(a[None], slope * a[None] * np.exp(log_z(a))), law).velocity.p[0]
        for a in jnp.asarray(at)
    ]
    cubic = np.polyfit(at, np.asarray(force) * np.exp(-log_z(at)), 5)[2]
    assert np.isclose(cubic, beta**2 * sigma * slope**2 * (1 + (beta * sigma) ** 2) / 2, rtol=1e-8)


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="Phase"):
        fm.simulate(
            fm.SelfAttention(), fm.Particles(START.q), [0.0, 0.1], dt=0.1,
            solver=fm.ExponentialEuler(1.0),
        )  # fmt: skip


@pytest.mark.parametrize("name", list(SOLVERS))
def test_momenta_on_the_sphere(name):
    # Without damping H stays, up to the order of the step; and so does a fine Runge–Kutta run.
    system = fm.SympFormer("softmax", beta=BETA, damping=0.0)
    start = fm.Particles(START, space=fm.PhaseSpace(fm.Sphere())).retract()
    exact = fm.simulate(system, start, [0.0, 1.0], dt=0.01)
    assert np.isclose(system.energy(exact.final), system.energy(start), rtol=1e-9)
    solver, order = {
        "symplectic": (fm.ConformalSymplecticEuler(0.0, 30), 1),
        "exponential": (fm.ExponentialEuler(0.0), 1),
        "two-step": (fm.ConformalAdamsBashforth2(0.0), 2),
    }[name]
    steps, errors = np.array([40, 80, 160]), []
    for count in steps.tolist():
        run = fm.simulate(system, start, [0.0, 1.0], dt=1 / count, solver=solver)
        errors.append(np.abs(run.final.x.q - exact.final.x.q).max())
    assert abs(np.polyfit(np.log(steps), np.log(errors), 1)[0] + order) < 0.15


@pytest.mark.parametrize("solver", ["default", "exponential", "symplectic", "two-step"])
def test_nesterov_s_damping_starts_from_rest_at_time_zero(solver):
    """q̈ = −q − (3/t) q̇ from rest is q = 2 J₁(t)/t q₀, a Bessel function."""
    damping = lambda t: 3.0 / t  # noqa: E731
    solvers = {
        "default": None,
        "exponential": fm.ExponentialEuler(damping),
        "symplectic": fm.ConformalSymplecticEuler(damping),
        "two-step": fm.ConformalAdamsBashforth2(damping),
    }
    q = jnp.asarray([[1.0, -0.5]])
    flow = fm.AcceleratedFlow(fm.PotentialEnergy(lambda x: jnp.vdot(x, x) / 2), damping)
    start = fm.Particles(fm.Phase(q, 0 * q))
    exact = 2 * scipy.special.j1(2.0) / 2.0 * q
    final = fm.simulate(flow, start, [0.0, 2.0], dt=0.005, solver=solvers[solver]).final
    assert np.abs(final.x.q - exact).max() < (1e-5 if solver == "default" else 1e-2)
    assert np.isnan(flow.rates(0.0, fm.Phase(q[0], q[0]), start).velocity.p).all()

    # Attention leaves rest with ṗ = f/4, and energy falls from time 0.
    system = fm.SympFormer("softmax", beta=0.3, damping=damping)
    free = fm.SympFormer("softmax", beta=0.3, damping=0.0)
    point = fm.Phase(q[0], 0 * q[0])
    force = free.rates(0.0, point, start).velocity.p
    np.testing.assert_allclose(system.rates(0.0, point, start).velocity.p, force / 4, rtol=1e-12)
    assert np.isnan(system.rates(0.0, fm.Phase(q[0], q[0]), start).velocity.p).all()
    final = fm.simulate(system, start, [0.0, 1.0], dt=0.01, solver=solvers[solver]).final
    assert system.energy(final) < system.energy(start)


PERCEPTRON = fm.FeedForward(jnp.array([[0.4, -0.7], [0.9, 0.2]]), activation=jnp.tanh)


@pytest.mark.parametrize("kind", ["SympFormer", "Nesterov"])
def test_an_accelerated_block_by_hand(kind):
    attention = SYSTEMS["heads"] if kind == "SympFormer" else fm.SelfAttention(beta=BETA)
    block = fm.InertialBlock(attention, PERCEPTRON, ALPHA, fm.LayerNorm(), 0.3, 0.8)
    after = fm.layers(block, 1, time=0.3)(fm.Particles(START)).x
    norm = lambda q: np.asarray(jax.vmap(lambda a: fm.LayerNorm()(0.0, a))(q))  # noqa: E731
    q, p, far, keep = np.asarray(START.q), np.asarray(START.p), 0.3 * 0.8, np.exp(-0.3 * ALPHA)
    if kind == "SympFormer":
        force, way = jax.grad(headed_energy, (0, 1))(norm(q), p)
        q, p = q + far * N * way, keep * p - far * N * force
    else:
        k = np.exp(BETA * norm(q) @ norm(q).T)
        p = keep * p + far * k @ norm(q) / k.sum(1, keepdims=True)
        q = q + far * p
    p = keep * p + far * np.tanh(norm(q) @ PERCEPTRON.weight.T)
    assert np.allclose(after.q, q + far * p, atol=1e-12) and np.allclose(after.p, p, atol=1e-12)


@pytest.mark.slow
def test_accelerated_blocks_tend_to_a_flow():
    """Without norms: each part has its own momentum's way and damping, at O(h)."""
    part = fm.Custom(
        lambda t, x, mu: fm.Phase(x.p, jnp.tanh(PERCEPTRON.weight @ x.q) - ALPHA * x.p)
    )
    mu, errors = fm.Particles(START), []
    flow = fm.simulate(SYSTEMS["heads"] + part, mu, [0.0, 1.0], dt=0.02).final.x.q
    for count in (32, 64):
        block = fm.InertialBlock(SYSTEMS["heads"], PERCEPTRON, ALPHA, step=1 / count)
        errors.append(np.abs(fm.layers(block, count)(mu).x.q - flow).max())
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.1


def test_accelerated_parts_by_name():
    with pytest.raises(ValueError, match="`query` and `key` are for softmax attention"):
        fm.SympFormer("linear", query=QUERY, key=KEY)
    with pytest.raises(ValueError, match="different numbers of rows"):
        fm.SympFormer(query=jnp.ones((2, D)), key=jnp.ones((3, D)))(0.0, fm.Particles(START))
    with pytest.raises(ValueError, match="start them at rest"):
        fm.InertialBlock(fm.SympFormer(), PERCEPTRON)(0.0, fm.Particles(START.q))
    damping = fm.LogLinear(jnp.log(3.0), -1.0)
    assert np.isclose(damping(2.0), 1.0)
