"""Consensus-based optimisation against closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.systems.consensus._weights import energy_logits

NOISES = ("isotropic", "anisotropic", "covariance")


def bowl(x):
    return jnp.sum((x - 0.3) ** 2)


def rugged(x):
    return jnp.sum(x**2 + 2.5 * (1 - jnp.cos(2 * jnp.pi * x)))


def cloud(n=8, d=3, seed=0):
    return fm.Particles(jr.normal(jr.key(seed), (n, d)))


def variance(mu):
    x = mu.x
    return jnp.mean(jnp.sum((x - x.mean(0)) ** 2, axis=1))


@pytest.mark.parametrize("noise", NOISES)
def test_spread_recursion_at_finite_n(noise):
    """E V⁺ = V((1 − λh)² + Dσ²h(1 − 1/N)) for α = 0, over 20,000 keys, within 4.5 errors."""
    n, d, rate, sigma, h = 5, 3, 1.3, 0.8, 0.1
    mu = cloud(n, d)
    system = fm.ConsensusBased(bowl, rate, sigma, 0.0, noise)

    def after(key):
        run = fm.simulate(system, mu, [0.0, h], dt=h, key=key, observe=variance, throw=False)
        return run.ys[-1]

    values = jax.jit(jax.vmap(after))(jr.split(jr.key(1), 20_000))
    factor = (1 - rate * h) ** 2 + (d if noise == "isotropic" else 1) * sigma**2 * h * (1 - 1 / n)
    error = values.std() / np.sqrt(values.size)
    assert abs(values.mean() - factor * variance(mu)) < 4.5 * error
    assert error < 0.003 * variance(mu)


def test_contraction_without_noise():
    mu = cloud()
    system = fm.ConsensusBased(bowl, 1.5, 0.0, 7.0)
    # No noise: no key, and still the standard step.
    run = fm.simulate(system, mu, [0.0, 0.4], dt=0.1, observe=variance)
    np.testing.assert_allclose(run.ys[1] / run.ys[0], (1 - 0.15) ** 8, rtol=1e-12)


def quadratic(d=3, seed=0):
    a = np.random.default_rng(seed).normal(size=(2, d, d))
    hessian, cov = (b @ b.T + 0.3 * np.eye(d) for b in a)
    return jnp.asarray(hessian), jnp.asarray(cov)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 30.0])
def test_consensus_on_a_quadratic(alpha):
    """c = (C⁻¹ + αA)⁻¹C⁻¹m and the weighted covariance (C⁻¹ + αA)⁻¹, from the Gaussian."""
    hessian, cov = quadratic()
    m = jnp.array([0.5, -1.0, 2.0])
    system = fm.ConsensusBased(lambda x: x @ hessian @ x / 2, alpha=alpha)
    precision = np.linalg.inv(cov) + alpha * np.asarray(hessian)
    mu = fm.Gaussian(m, cov)
    exact = np.linalg.solve(precision, np.linalg.solve(cov, m))
    consensus, spread = jax.jit(lambda: (system.consensus(mu), system.spread(mu)))()
    np.testing.assert_allclose(consensus, exact, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(spread, np.linalg.inv(precision), atol=1e-12)


def test_consensus_from_particles_converges():
    """The particles' consensus has error at n^{-1/2}: within 4.5 errors of the closed form."""
    hessian, cov = quadratic(2)
    m = jnp.array([0.5, -1.0])
    system = fm.ConsensusBased(lambda x: x @ hessian @ x / 2, alpha=1.0)
    mu = fm.Gaussian(m, cov)
    n = 20_000

    def sample(key):
        return system.consensus(fm.Particles(mu.sample(key, n)))

    values = jax.jit(jax.vmap(sample))(jr.split(jr.key(0), 40))
    error = values.std(0) / np.sqrt(40)
    assert np.all(abs(values.mean(0) - system.consensus(mu)) < 4.5 * error + 5 / n)
    assert np.all(error < 0.003)


@pytest.mark.slow
def test_closure_of_the_variance():
    """From a Gaussian with α = 0, V(t) = V(0) e^{(−2λ + dσ²)t}."""
    mu = fm.Gaussian(jnp.array([0.5, -1.0]), jnp.array([[1.0, 0.3], [0.3, 0.5]]))
    rate, sigma = 1.2, 0.5
    run = fm.simulate(fm.ConsensusBased(bowl, rate, sigma, 0.0), mu, [0.0, 0.5, 1.0])
    total = jnp.trace(mu.cov) * np.exp((-2 * rate + 2 * sigma**2) * run.ts)
    np.testing.assert_allclose(jnp.trace(run.ys.cov, axis1=1, axis2=2), total, rtol=1e-7)
    np.testing.assert_allclose(run.final.m, mu.m, atol=1e-9)


@pytest.mark.parametrize("noise", NOISES)
def test_closure_with_weights_is_the_mean_field_equation(noise):
    """Ċ = −2λC + σ²E[…] with E|X − c|² = tr C + |m − c|², ṁ = −λ(m − c)."""
    hessian, cov = quadratic()
    mu = fm.Gaussian(jnp.array([0.5, -1.0, 2.0]), cov)
    rate, sigma, alpha = 1.2, 0.5, 0.8
    system = fm.ConsensusBased(lambda x: x @ hessian @ x / 2, rate, sigma, alpha, noise)
    drift = eqx.filter_jit(system)(0.0, mu).drift
    precision = np.linalg.inv(cov) + alpha * np.asarray(hessian)
    away = np.asarray(mu.m) - np.linalg.solve(precision, np.linalg.solve(cov, mu.m))
    second = np.asarray(cov) + np.outer(away, away)
    squared = {
        "isotropic": np.trace(second) * np.eye(3),
        "anisotropic": np.diag(np.diag(second)),
        "covariance": np.linalg.inv(precision),
    }[noise]
    np.testing.assert_allclose(drift.m, -rate * away, rtol=1e-10)
    np.testing.assert_allclose(drift.cov, -2 * rate * cov + sigma**2 * squared, rtol=1e-9)


def test_almost_sure_rate():
    """Around a fixed consensus log|X|² moves at −2λ + (d − 2)σ², here from one far anchor."""
    d, rate, sigma, steps, h = 3, 1.0, 0.6, 400, 0.005
    # α = ∞ and an anchor at the minimum: the consensus stays at 0 whatever the others do.
    x = jnp.concatenate([jnp.zeros((1, d)), jnp.ones((4000, d))])
    system = fm.ConsensusBased(lambda y: jnp.sum(y**2), rate, sigma, jnp.inf, "isotropic")

    def log_squares(mu):
        return jnp.log(jnp.sum(mu.x[1:] ** 2, axis=1))

    run = fm.simulate(
        system, fm.Particles(x), [0.0, steps * h], dt=h, key=jr.key(0), observe=log_squares
    )
    slope = (run.ys[1] - run.ys[0]) / (steps * h)
    # The Euler step's own rate, by quadrature over |1 − λh + σ√h ξ|², from many normals.
    z = np.random.default_rng(0).normal(size=(1_000_000, d))
    z[:, 0] = (1 - rate * h) / (sigma * np.sqrt(h)) + z[:, 0]
    euler = np.log(sigma**2 * h * np.sum(z**2, axis=1))
    error = slope.std() / np.sqrt(slope.size) + euler.std() / np.sqrt(1e6) / h
    assert abs(slope.mean() - euler.mean() / h) < 4.5 * error
    assert abs(slope.mean() - (-2 * rate + (d - 2) * sigma**2)) < 4.5 * error + 3 * h
    assert np.all(run.final.x[0] == 0)


@pytest.mark.slow
def test_additive_noise_keeps_a_spread():
    mu = fm.Gaussian(jnp.ones(2), 3.0 * jnp.eye(2))
    system = fm.ConsensusBased(bowl, 2.0, 0.5, 0.0, "additive")
    run = fm.simulate(system, mu, [0.0, 20.0])
    np.testing.assert_allclose(run.final.cov, 0.25 / 4 * jnp.eye(2), atol=1e-8)


@pytest.mark.parametrize("noise", ["isotropic", "anisotropic"])
def test_truncation(noise):
    mu = fm.Particles(jnp.array([[0.0, 0.0], [3.0, -0.5]]))
    system = fm.ConsensusBased(lambda x: jnp.sum(x**2), 1.0, 1.0, jnp.inf, noise, truncation=1.0)
    move = system(0.0, mu).noise.apply((jnp.ones((2, 2)),)).x
    expected = [1.0, 1.0] if noise == "isotropic" else [1.0, -0.5]
    np.testing.assert_allclose(move, [[0.0, 0.0], expected], atol=1e-12)
    with pytest.raises(ValueError, match="truncation"):
        fm.ConsensusBased(bowl, noise="covariance", truncation=1.0)


def test_heaviside_moves_only_what_is_worse():
    mu = fm.Particles(jnp.array([[0.0], [1.0], [3.0]]))
    system = fm.ConsensusBased(lambda x: jnp.sum(x**2), 2.0, 0.0, 0.0, correction="heaviside")
    drift = system(0.0, mu).drift.x
    np.testing.assert_allclose(drift[:, 0], [0.0, 0.0, -2.0 * (3 - 4 / 3)])


@pytest.mark.parametrize("alpha", [1e15, jnp.inf])
def test_large_alpha_picks_the_best(alpha):
    mu = cloud(50, 2)
    best = mu.x[jnp.argmin(jax.vmap(rugged)(mu.x))]
    consensus = eqx.filter_jit(fm.ConsensusBased(rugged, alpha=alpha).consensus)(mu)
    np.testing.assert_array_equal(consensus, best)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1e15, jnp.inf])
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_forbidden_points_have_no_weight(bad, alpha):
    x = jnp.arange(4.0)[:, None]
    forbidden = lambda y: jnp.where(y[0] > 1.5, bad, y[0])  # noqa: E731
    consensus = eqx.filter_jit(fm.ConsensusBased(forbidden, alpha=alpha).consensus)(fm.Particles(x))
    weights = np.exp(-min(alpha, 1e3) * np.arange(2.0))
    np.testing.assert_allclose(consensus[0], weights[1] / weights.sum(), atol=1e-15)


@pytest.mark.parametrize("energy", [jnp.nan, jnp.inf, -jnp.inf])
def test_without_any_weight_the_consensus_is_the_mean(energy):
    mu = fm.Particles(cloud(5, 2).x, jnp.log(jnp.array([0.1, 0.3, 0.2, 0.2, 0.2])))
    system = fm.ConsensusBased(lambda y: energy + 0.0 * y[0], alpha=3.0)
    # −∞ everywhere leaves no room for masses beside it.
    exact = mu.x.mean(0) if energy == -jnp.inf else mu.mean()
    np.testing.assert_allclose(system.consensus(mu), exact, rtol=1e-12)


def test_energy_of_minus_infinity_takes_all():
    mu = cloud(5, 2)
    system = fm.ConsensusBased(lambda y: jnp.where(y[0] == mu.x[2, 0], -jnp.inf, y[0]), alpha=3.0)
    np.testing.assert_array_equal(system.consensus(mu), mu.x[2])


def test_weights_in_float32():
    x = jnp.linspace(1.0, 2.0, 7, dtype=jnp.float32)
    logits = jax.vmap(energy_logits(lambda y: y, 1e15))(x)
    assert logits.dtype == jnp.float32
    assert np.all(np.isfinite(logits))


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_effective_sample_size(scale):
    mu = cloud(200, 2)
    rule = fm.EffectiveSampleSize(0.3)
    energies = np.asarray(jax.vmap(rugged)(mu.x), np.longdouble)
    energies -= energies.min()
    alpha = jax.jit(lambda: rule.alpha(mu, lambda x: scale * rugged(x)))() * scale
    weights = np.exp(-np.longdouble(alpha) * energies)
    np.testing.assert_allclose(float(weights.sum() ** 2 / (weights**2).sum()), 60.0, rtol=1e-9)


def test_effective_sample_size_at_its_ends():
    mu = cloud(10, 2)
    assert fm.EffectiveSampleSize(0.05).alpha(mu, bowl) == jnp.inf
    assert fm.EffectiveSampleSize(0.5).alpha(mu, lambda x: jnp.zeros(())) == 0
    with pytest.raises(ValueError, match="fraction"):
        fm.EffectiveSampleSize(1.5)


def test_effective_sample_size_has_the_implicit_derivative():
    mu = cloud(20, 2)
    rule = fm.EffectiveSampleSize(0.4)
    alpha = jax.jit(lambda s: rule.alpha(mu, lambda x: bowl(x) + s * x[0]))
    numeric = (alpha(0.2 + 1e-5) - alpha(0.2 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.grad(alpha))(0.2), numeric, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(alpha))(0.2), numeric, rtol=1e-6)


@pytest.mark.parametrize("noise", NOISES)
def test_points_are_pytrees(noise):
    flat = cloud(6, 3)
    tree = fm.Particles({"a": flat.x[:, :1], "b": flat.x[:, 1:]})
    join = lambda y: jnp.concatenate([y["a"], y["b"]])  # noqa: E731
    system = fm.ConsensusBased(bowl, 1.0, 0.5, 4.0, noise)
    trees = fm.ConsensusBased(lambda y: bowl(join(y)), 1.0, 0.5, 4.0, noise)
    one, two = eqx.filter_jit(system)(0.0, flat), eqx.filter_jit(trees)(0.0, tree)
    np.testing.assert_allclose(jax.vmap(join)(two.drift.x), one.drift.x, rtol=1e-12)
    w = jnp.ones((6, 3))
    pair = {"a": w[:, :1], "b": w[:, 1:]}
    move = two.noise.apply((w if noise == "covariance" else pair,)).x
    np.testing.assert_allclose(jax.vmap(join)(move), one.noise.apply((w,)).x, rtol=1e-12)


def test_schedules_are_functions_of_time():
    mu = cloud()
    moving = fm.ConsensusBased(bowl, lambda t: 1 + t, lambda t: 0.1 * t, lambda t: 5 * t)
    frozen = fm.ConsensusBased(bowl, 3.0, 0.2, 10.0)
    np.testing.assert_allclose(moving(2.0, mu).drift.x, frozen(2.0, mu).drift.x, rtol=1e-12)


@pytest.mark.parametrize("noise", NOISES)
def test_gradients_through_a_run(noise):
    """Pathwise derivatives in λ, σ, α are those of the same noise: central differences to 1e-6."""
    mu = cloud(8, 2)

    def final(theta):
        system = fm.ConsensusBased(rugged, theta[0], theta[1], theta[2], noise)
        run = fm.simulate(system, mu, [0.0, 0.2], dt=0.02, key=jr.key(3), throw=False)
        return bowl(system.consensus(run.final))

    theta = jnp.array([1.1, 0.4, 2.0])
    final = jax.jit(final)
    gradient = jax.jit(jax.grad(final))(theta)
    h = 1e-5
    numeric = [(final(theta + h * e) - final(theta - h * e)) / (2 * h) for e in jnp.eye(3)]
    np.testing.assert_allclose(gradient, jnp.stack(numeric), rtol=1e-6, atol=1e-9)


def test_stopped_weights_have_no_derivative_in_alpha():
    mu = cloud(8, 2)

    def consensus(alpha, x):
        system = fm.ConsensusBased(rugged, alpha=alpha, gradient="weights_stopped")
        return system.consensus(fm.Particles(x))[0]

    by_alpha, by_x = jax.jit(jax.grad(consensus, argnums=(0, 1)))(2.0, mu.x)
    assert by_alpha == 0
    weights = jax.nn.softmax(-2.0 * jax.vmap(rugged)(mu.x))
    np.testing.assert_allclose(by_x[:, 0], weights, rtol=1e-12)
    with pytest.raises(ValueError, match="weights_stopped"):
        system = fm.ConsensusBased(bowl, gradient="weights_stopped")
        system.consensus(fm.Gaussian(jnp.zeros(2), jnp.eye(2)))


def test_wrong_names_are_refused():
    for wrong in ({"noise": "white"}, {"correction": "step"}, {"gradient": "exact"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fm.ConsensusBased(bowl, **wrong)


def test_weights_are_those_of_the_mean():
    x = jr.normal(jr.key(0), (5, 2))
    f = lambda x: jnp.where(x[0] > 1, jnp.nan, jnp.sum(x**2))  # noqa: E731
    mu = fm.Particles(x, weights=jnp.arange(1.0, 6.0))
    system = fm.ConsensusBased(f, alpha=3.0)
    w = system.weights(mu)
    plain = np.arange(1, 6) * np.where(x[:, 0] > 1, 0, np.exp(-3 * np.sum(x**2, axis=1)))
    np.testing.assert_allclose(w, plain / plain.sum(), rtol=1e-12)
    np.testing.assert_allclose(w @ x, system.consensus(mu), rtol=1e-12)
    polarized = fm.PolarizedConsensus(f, alpha=3.0, kernel_width=0.5)
    np.testing.assert_allclose(
        polarized.weights(x[0], mu) @ x, polarized.consensus(x[0], mu), rtol=1e-12
    )


@pytest.mark.slow
def test_gradient_of_a_mean_over_runs_is_the_mean_of_gradients():
    """The derivative outside of the `vmap` over keys, and inside."""
    mu = cloud()

    def end(sigma, key):
        system = fm.ConsensusBased(bowl, 1.0, sigma, 3.0, "anisotropic")
        return bowl(fm.simulate(system, mu, [0.0, 0.4], dt=0.1, key=key).final.mean())

    keys = jr.split(jr.key(3), 3)
    outside = jax.grad(lambda s: jnp.mean(jax.vmap(lambda k: end(s, k))(keys)))(0.7)
    inside = jnp.mean(jax.vmap(jax.grad(end), (None, 0))(0.7, keys))
    np.testing.assert_allclose(outside, inside, rtol=1e-10)
