"""Consensus-based sampling, polarised consensus and memory."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

HESSIAN = np.array([[2.0, 0.6], [0.6, 1.0]])
CENTRE = np.array([0.7, -0.4])


def quadratic(x):
    z = x - CENTRE
    return z @ jnp.asarray(HESSIAN) @ z / 2


def start():
    return fm.Gaussian(np.array([1.0, 2.0]), np.array([[1.0, 0.3], [0.3, 0.5]]))


def tilted(mu, alpha):
    precision = np.linalg.inv(mu.cov) + alpha * HESSIAN
    mean = np.linalg.solve(precision, np.linalg.solve(mu.cov, mu.m) + alpha * HESSIAN @ CENTRE)
    return mean, np.linalg.inv(precision)


@pytest.mark.parametrize("mode", ["sampling", "optimization"])
def test_moment_map(mode):
    """m⁺ = a m + (1 − a)c, Σ⁺ = a²Σ + (1 − a²)κ⁻¹C."""
    mu, alpha, dt = start(), 0.8, 0.3
    after = fm.ConsensusBasedSampling(quadratic, alpha, mode).step(mu, dt)
    centre, cov = tilted(mu, alpha)
    a, factor = np.exp(-dt), (1 + alpha if mode == "sampling" else 1.0)
    np.testing.assert_allclose(after.m, a * mu.m + (1 - a) * centre, rtol=1e-12)
    np.testing.assert_allclose(after.cov, a**2 * mu.cov + (1 - a**2) * factor * cov, rtol=1e-12)


def test_particles_step_with_the_moment_map():
    """Mean and covariance after one step of N particles, over 4,000 keys."""
    mu = fm.Particles(start().sample(jr.key(0), 6))
    system = fm.ConsensusBasedSampling(quadratic, 0.8)
    centre, cov = system.moments(mu)
    a = np.exp(-0.3)
    moved = jax.jit(jax.vmap(lambda k: system.step(mu, 0.3, k).x))(jr.split(jr.key(1), 4000))
    mean = a * mu.x + (1 - a) * centre
    error = moved.std(0) / np.sqrt(4000)
    assert np.all(abs(moved.mean(0) - mean) < 5 * error)
    noise = (moved - mean).reshape(-1, 2)
    covariance = noise.T @ noise / len(noise)
    exact = (1 - a**2) * cov
    scale = np.sqrt((np.outer(np.diag(exact), np.diag(exact)) + exact**2) / len(noise))
    assert np.all(abs(covariance - exact) < 5 * scale)


def test_posterior_is_steady_for_every_alpha():
    target = fm.Gaussian(CENTRE, np.linalg.inv(HESSIAN))
    for alpha in (0.3, 5.0):
        drift = eqx.filter_jit(fm.ConsensusBasedSampling(quadratic, alpha))(0.0, target).drift
        np.testing.assert_allclose(drift.m, 0, atol=1e-12)
        np.testing.assert_allclose(drift.cov, 0, atol=1e-12)


def test_strength_by_the_effective_sample_size():
    """Half of the sample effective at every step: α of its own, and the posterior at the end."""
    rule = fm.EffectiveSampleSize(0.5)
    system = fm.ConsensusBasedSampling(quadratic, rule)
    mu = fm.Particles(start().sample(jr.key(0), 500))
    alpha = float(rule.alpha(mu, quadratic))
    w = np.exp(-alpha * np.asarray(jax.vmap(quadratic)(mu.x)))
    assert w.sum() ** 2 / (w**2).sum() == pytest.approx(250, rel=1e-6)
    one, two = system.moments(mu), fm.ConsensusBasedSampling(quadratic, alpha).moments(mu)
    np.testing.assert_allclose(one[1], two[1], rtol=1e-6)
    march = jax.jit(lambda mu, key: system.step(mu, 0.5, key))
    for k in range(40):
        mu = march(mu, jr.key(k))
    cov = np.linalg.inv(HESSIAN)
    # As without the rule: the points' own moments drive them, and errors grow threefold.
    error = 3 * np.sqrt(np.diag(cov) / 500)
    assert np.all(abs(mu.mean() - CENTRE) < 4.5 * error)
    np.testing.assert_allclose(mu.covariance(), cov, atol=4.5 * 3 * cov.max() * np.sqrt(2 / 500))


@pytest.mark.slow
def test_continuous_limit():
    """ṁ = c − m and Ċ = −2C + 2κ⁻¹C_α, and the exponential step to first order."""
    mu, alpha = start(), 0.8
    system = fm.ConsensusBasedSampling(quadratic, alpha)
    drift = eqx.filter_jit(system)(0.0, mu).drift
    centre, cov = tilted(mu, alpha)
    np.testing.assert_allclose(drift.m, centre - mu.m, rtol=1e-10)
    np.testing.assert_allclose(drift.cov, -2 * mu.cov + 2 * (1 + alpha) * cov, rtol=1e-10)
    after = system.step(mu, 1e-6)
    np.testing.assert_allclose((after.m - mu.m) / 1e-6, drift.m, atol=1e-5)
    np.testing.assert_allclose((after.cov - mu.cov) / 1e-6, drift.cov, atol=1e-5)


def test_optimization_steps_add_precision():
    """Infinitely long steps are Bayes' rule: k of them weigh f by kα."""
    mu, alpha, k = start(), 3.0, 50
    step = jax.jit(
        lambda nu: fm.ConsensusBasedSampling(quadratic, alpha, "optimization").step(nu, 1e3)
    )
    for _ in range(k):
        mu = step(mu)
    mean, cov = tilted(start(), k * alpha)
    np.testing.assert_allclose(mu.m, mean, atol=1e-10)
    np.testing.assert_allclose(mu.cov, cov, atol=1e-12)


def test_sampling_from_particles():
    """10,000 particles after 12 steps of length ½: within 4.5 errors of the moment map."""
    system = fm.ConsensusBasedSampling(quadratic, 1.0)
    mu, law, n = fm.Particles(start().sample(jr.key(0), 10_000)), start(), 10_000
    step, exact = eqx.filter_jit(system.step), eqx.filter_jit(system.step)
    for i in range(12):
        mu, law = step(mu, 0.5, jr.key(i + 1)), exact(law, 0.5)
    # The ensemble's moments feed back, which makes their errors larger than one sample's.
    error = 3 * np.sqrt(np.diag(law.cov) / n)
    assert np.all(abs(mu.mean() - law.m) < 4.5 * error)
    np.testing.assert_allclose(mu.covariance(), law.cov, atol=4.5 * 6 * law.cov.max() / np.sqrt(n))


def test_polarised_with_a_wide_kernel_is_consensus_based():
    mu = fm.Particles(jr.normal(jr.key(0), (6, 2)))
    for noise in ("isotropic", "covariance"):
        wide = fm.PolarizedConsensus(quadratic, 1.0, 0.5, 3.0, noise, kernel_width=1e8)
        plain = fm.ConsensusBased(quadratic, 1.0, 0.5, 3.0, noise)
        one, two = eqx.filter_jit(wide)(0.0, mu), eqx.filter_jit(plain)(0.0, mu)
        np.testing.assert_allclose(one.drift.x, two.drift.x, atol=1e-10)
        w = (jnp.ones((6, 2)),)
        np.testing.assert_allclose(one.noise.apply(w).x, two.noise.apply(w).x, atol=1e-10)


def test_polarised_consensus_of_a_gaussian():
    """c(x) = (Σ⁻¹ + αA + κ⁻²)⁻¹(Σ⁻¹m + αAb + κ⁻²x)."""
    mu, x, alpha, width = start(), np.array([0.3, -2.0]), 0.8, 1.7
    system = fm.PolarizedConsensus(quadratic, alpha=alpha, kernel_width=width)
    precision = np.linalg.inv(mu.cov) + alpha * HESSIAN + np.eye(2) / width**2
    pull = np.linalg.solve(mu.cov, mu.m) + alpha * HESSIAN @ CENTRE + x / width**2
    np.testing.assert_allclose(
        system.consensus(jnp.asarray(x), mu), np.linalg.solve(precision, pull), rtol=1e-11
    )


def test_polarised_keeps_two_minimisers():
    """A double well keeps a cluster at each of ±1 where plain consensus keeps one."""
    well = lambda x: 4 * (x[0] ** 2 - 1) ** 2  # noqa: E731
    mu = fm.Particles(jnp.linspace(-2.0, 2.0, 40)[:, None])
    system = fm.PolarizedConsensus(well, 1.0, 0.2, 20.0, kernel_width=0.4)
    final = fm.simulate(system, mu, [0.0, 12.0], dt=0.05, key=jr.key(0)).final.x[:, 0]
    np.testing.assert_allclose(abs(final), 1.0, atol=0.1)
    assert 10 < np.sum(final > 0) < 30


def test_memory_is_the_best_place():
    """With β = ∞ and steps 1/ν, `best` is the best of all places before the last step."""
    x = jr.normal(jr.key(0), (6, 2))
    rugged = lambda y: jnp.sum(y**2 + 2.5 * (1 - jnp.cos(2 * jnp.pi * y)))  # noqa: E731
    system = fm.MemoryConsensus(
        rugged, sigma=1.0, alpha=20.0, memory_sigma=0.5, memory_rate=20.0, sharpness=jnp.inf
    )
    ts = np.linspace(0.0, 1.0, 21)
    run = fm.simulate(system, fm.Particles(fm.Memory(x, x)), ts, dt=0.05, key=jr.key(1))
    places, best = np.asarray(run.ys.x.x), np.asarray(run.ys.x.best)
    energies = np.asarray(jax.vmap(jax.vmap(rugged))(run.ys.x.x))
    for k in range(1, 21):
        first = energies[:k].argmin(0)
        np.testing.assert_allclose(best[k], places[first, np.arange(6)], atol=1e-12)


def test_memory_alone_is_consensus_based():
    """Without pull to the memory, and Y = X, drift and noise are those of `ConsensusBased`."""
    x = jr.normal(jr.key(0), (6, 2))
    system = fm.MemoryConsensus(quadratic, 1.2, 0.6, 4.0, memory_drift=0.0)
    plain = fm.ConsensusBased(quadratic, 1.2, 0.6, 4.0)
    one = eqx.filter_jit(system)(0.0, fm.Particles(fm.Memory(x, x)))
    two = eqx.filter_jit(plain)(0.0, fm.Particles(x))
    np.testing.assert_allclose(one.drift.x.x, two.drift.x, rtol=1e-12)
    np.testing.assert_array_equal(one.drift.x.best, 0)
    w = jnp.ones((6, 2))
    moved = one.noise.apply((fm.Memory(w, w), fm.Memory(0 * w, 0 * w))).x
    np.testing.assert_allclose(moved.x, two.noise.apply((w,)).x, rtol=1e-12)
    np.testing.assert_array_equal(moved.best, 0)


def test_weights_by_name_are_those_of_the_moments():
    x, w = jr.normal(jr.key(0), (6, 3)), jnp.array([0.1, 0.3, 0.2, 0.25, 0.15, 0.0])
    f = lambda x: jnp.sum(x**4) + x[0]  # noqa: E731
    law, mu = fm.ConsensusBasedSampling(f, 1.7), fm.Particles(x, weights=w)
    exact = np.asarray(w) * np.exp(-1.7 * np.asarray(jax.vmap(f)(x)))
    exact /= exact.sum()
    np.testing.assert_allclose(law.weights(mu), exact, rtol=1e-12, atol=1e-300)
    centre, cov = law.moments(mu)
    np.testing.assert_allclose(centre, exact @ x, rtol=1e-12)
    np.testing.assert_allclose(law.consensus(mu), centre, rtol=1e-14)
    away = np.asarray(x) - exact @ x
    np.testing.assert_allclose(cov, 2.7 * (away.T * exact) @ away, rtol=1e-10)
    # Half of the weights count, whatever α that takes.
    half = fm.ConsensusBasedSampling(f, fm.EffectiveSampleSize(0.5)).weights(fm.Particles(x))
    np.testing.assert_allclose(1 / np.sum(half**2), 3.0, rtol=1e-3)
