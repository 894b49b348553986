"""Consensus on the sphere, with inertia, mirrors, saddles and several objectives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def bowl(x):
    return jnp.sum((x - 0.3) ** 2)


@pytest.mark.slow
def test_sphere_has_the_ito_drift_of_its_geometry():
    """E dx = −λP(x − c) dt − ½(d − 1)σ²|x − c|² x dt: projection after a tangent Euler step."""
    d, sigma, h = 3, 0.5, 0.01
    mu = fm.Particles(jr.normal(jr.key(0), (4, d)), space=fm.Sphere()).retract()
    system = fm.ConsensusBased(bowl, 1.2, sigma, 2.0)

    def after(key):
        return fm.simulate(system, mu, [0.0, h], dt=h, key=key, throw=False).final.x

    moved = jax.jit(jax.vmap(after))(jr.split(jr.key(1), 100_000))
    away = mu.x - system.consensus(mu)
    tangent = away - jnp.sum(away * mu.x, axis=1, keepdims=True) * mu.x
    square = jnp.sum(away**2, axis=1, keepdims=True)
    drift = -1.2 * tangent - (d - 1) / 2 * sigma**2 * square * mu.x
    error = moved.std(0) / np.sqrt(100_000)
    # One step is right to first order in h.
    assert np.all(abs(moved.mean(0) - mu.x - h * drift) < 4.5 * error + 3 * h**2)
    np.testing.assert_allclose(jnp.linalg.norm(moved, axis=-1), 1, rtol=1e-12)


def test_sphere_finds_the_minimum():
    """min of a linear form with ripples on S²."""
    target = jnp.array([1.0, 2.0, -2.0]) / 3
    objective = lambda x: 1 - jnp.vdot(x, target) + 0.1 * jnp.sin(9 * x[0]) ** 2  # noqa: E731
    mu = fm.Particles(jr.normal(jr.key(0), (100, 3)), space=fm.Sphere()).retract()
    system = fm.ConsensusBased(objective, 1.0, 0.4, 100.0)
    final = fm.simulate(system, mu, [0.0, 8.0], dt=0.02, key=jr.key(1)).final
    x = final.x[jnp.argmin(jax.vmap(objective)(final.x))]
    grid = jr.normal(jr.key(2), (200_000, 3))
    grid = grid / jnp.linalg.norm(grid, axis=1, keepdims=True)
    assert objective(x) < jnp.min(jax.vmap(objective)(grid)) + 1e-3


def test_swarm_is_a_damped_oscillator():
    """m ẍ + (1 − m)ẋ + λx = 0 around the mean, with α = 0 and no noise."""
    m, rate = 0.4, 1.5
    q, p = jr.normal(jr.key(0), (2, 6, 2))
    system = fm.SwarmConsensus(bowl, rate, 0.0, 0.0, inertia=m)
    mu = fm.Particles(fm.Phase(q, p - p.mean(0)))
    run = fm.simulate(system, mu, [0.0, 1.0], dt=0.001, key=jr.key(1))
    matrix = np.array([[0.0, 1.0], [-rate / m, -(1 - m) / m]])
    values, vectors = np.linalg.eig(matrix)
    flow = (vectors @ np.diag(np.exp(values)) @ np.linalg.inv(vectors)).real
    away = np.stack([q - q.mean(0), mu.x.p])
    exact = np.einsum("ij,jnd->ind", flow, away)
    # Euler steps: first order.
    np.testing.assert_allclose(run.final.x.q - q.mean(0), exact[0], atol=0.01)


@pytest.mark.slow
def test_light_swarm_is_consensus_based():
    """As m → 0 the mean square spread is that of CBO: V(t) = V(0)e^{(−2λ + σ²)t}, N large."""
    system = fm.SwarmConsensus(bowl, 1.0, 0.5, 0.0, "anisotropic", inertia=0.02)
    q = jr.normal(jr.key(0), (20_000, 1))
    mu = fm.Particles(fm.Phase(q, -(q - q.mean(0))))
    spread = lambda mu: jnp.var(mu.x.q)  # noqa: E731
    run = fm.simulate(system, mu, [0.0, 1.0], dt=0.002, key=jr.key(1), observe=spread)
    # Error O(m), and that of the mean of 20,000 log-normal squares.
    np.testing.assert_allclose(run.ys[1] / run.ys[0], np.exp(-2 + 0.25), rtol=0.06)


def test_semi_implicit_step():
    """p₁(1 + αh) is the explicit p₁ + αh p₀ with the same noise, and q₁ = q₀ + hp₁."""
    m, h = 0.3, 0.1
    loss = (1 - m) / m * h
    q, p = jr.normal(jr.key(0), (2, 6, 2))
    mu = fm.Particles(fm.Phase(q, p))
    system = fm.SwarmConsensus(bowl, 1.5, 0.8, 2.0, "anisotropic", m)
    solver = fm.SemiImplicitEuler((1 - m) / m)
    plain = fm.simulate(system, mu, [0.0, h], dt=h, key=jr.key(1)).final.x
    final = fm.simulate(system, mu, [0.0, h], dt=h, key=jr.key(1), solver=solver).final.x
    np.testing.assert_allclose(final.p, (plain.p + loss * p) / (1 + loss), rtol=1e-12)
    np.testing.assert_allclose(final.q, q + h * final.p, rtol=1e-12)


def test_semi_implicit_swarm_without_inertia_is_consensus_based():
    """Five steps 10⁸ times longer than m are those of CBO without noise, to O(m/h)."""
    m, h = 1e-9, 0.1
    q, p = jr.normal(jr.key(0), (2, 6, 2))
    swarm = fm.SwarmConsensus(bowl, 1.5, 0.0, 2.0, inertia=m)
    solver = fm.SemiImplicitEuler((1 - m) / m)
    mu = fm.Particles(fm.Phase(q, p))
    light = fm.simulate(swarm, mu, [0.0, 5 * h], dt=h, key=jr.key(1), solver=solver).final.x.q
    none = fm.ConsensusBased(bowl, 1.5, 0.0, 2.0)
    exact = fm.simulate(none, fm.Particles(q), [0.0, 5 * h], dt=h, key=jr.key(1)).final.x
    np.testing.assert_allclose(light, exact, atol=1e-7)


def test_identity_mirror_is_consensus_based():
    mu = fm.Particles(jr.normal(jr.key(0), (6, 2)))
    one = eqx.filter_jit(fm.MirrorConsensus(bowl, lambda y: y, 1.2, 0.6, 4.0))(0.0, mu)
    two = eqx.filter_jit(fm.ConsensusBased(bowl, 1.2, 0.6, 4.0))(0.0, mu)
    np.testing.assert_allclose(one.drift.x, two.drift.x, rtol=1e-12)
    w = (jnp.ones((6, 2)),)
    np.testing.assert_allclose(one.noise.apply(w).x, two.noise.apply(w).x, rtol=1e-12)


def test_mirror_in_the_simplex():
    """The projection of a point onto the simplex, by softmax: all points stay inside."""
    target = jnp.array([0.6, 0.3, 0.1])
    system = fm.MirrorConsensus(
        lambda x: jnp.sum((x - target) ** 2), jax.nn.softmax, 1.0, 0.3, 1e4, "anisotropic"
    )
    mu = fm.Particles(2 * jr.normal(jr.key(0), (200, 3)))
    final = fm.simulate(system, mu, [0.0, 40.0], dt=0.05, key=jr.key(1)).final
    consensus = system.consensus(final)
    np.testing.assert_allclose(jnp.sum(consensus), 1, rtol=1e-12)
    np.testing.assert_allclose(consensus, target, atol=0.02)


def test_saddle_of_a_quadratic():
    """x²/2 − y²/2 + xy + x: saddle at x = −½, y = −½."""
    system = fm.SaddleConsensus(
        lambda x, y: jnp.sum(x**2 / 2 - y**2 / 2 + x * y + x), 1.0, 0.5, 200.0, 200.0
    )
    state = {
        "min": fm.Particles(2 * jr.normal(jr.key(0), (200, 1))),
        "max": fm.Particles(2 * jr.normal(jr.key(1), (200, 1))),
    }
    final = fm.simulate(system, state, [0.0, 10.0], dt=0.02, key=jr.key(2)).final
    found = system.consensus(final)
    np.testing.assert_allclose(found["min"], -0.5, atol=0.05)
    np.testing.assert_allclose(found["max"], -0.5, atol=0.05)


def test_front_of_two_squares():
    """g = (x², (x − 2)²) in one dimension: w₁x² = w₂(x − 2)² at x = 2√w₂/(√w₁ + √w₂)."""
    weights = jnp.linspace(0.05, 0.95, 10)
    preferences = jnp.stack([weights, 1 - weights], axis=1)
    system = fm.ParetoConsensus(
        lambda x: jnp.stack([x[0] ** 2, (x[0] - 2) ** 2]), preferences, 1.0, 0.4, 300.0
    )
    index = jnp.arange(200) % 10
    mu = fm.Particles((jr.uniform(jr.key(0), (200, 1), minval=-3.0, maxval=5.0), index))
    final = fm.simulate(system, mu, [0.0, 6.0], dt=0.02, key=jr.key(1)).final
    found = np.array([final.x[0][index == i].mean() for i in range(10)])
    a, b = np.sqrt(weights), np.sqrt(1 - weights)
    np.testing.assert_allclose(found, 2 * b / (a + b), atol=0.1)
