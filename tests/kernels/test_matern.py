"""Matérn's kernels against Bessel functions, sums and products, and discrepancies without bias."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import gamma, kv

import flowjax_measures as fm

X = jr.normal(jr.key(0), (7, 2))


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5, 3.5, 0.25, 1.0, 4.5, 30])
def test_matern_is_a_bessel_function(nu):
    kernel, r = fm.Matern(nu, 0.7), np.array([1e-3, 0.1, 0.5, 1.0, 3.0])
    u = np.sqrt(2 * nu) * r / 0.7
    exact = 2 ** (1.0 - nu) / gamma(nu) * u**nu * kv(nu, u)
    found = jax.vmap(lambda s: kernel(s[None], jnp.zeros(1)))(jnp.asarray(r))
    np.testing.assert_allclose(found, exact, atol=5e-13)
    np.testing.assert_allclose(kernel(X[0], X[0]), 1, atol=1e-13)
    assert np.all(jax.grad(kernel)(X[0], X[0]) == 0)
    # Over a Gaussian: an integral on the line.
    axis = np.arange(-12.0, 12.0, 2**-11)
    values = jax.vmap(lambda s: kernel(s[None], jnp.zeros(1)))(jnp.asarray(axis))
    mean = np.sum(values * np.exp(-((axis - 0.3) ** 2))) / np.sqrt(np.pi) * 2**-11
    smoothed = kernel.smoothed(jnp.array([0.3]), jnp.array([[0.5]]))
    np.testing.assert_allclose(smoothed, mean, atol=2e-4 if nu < 0.5 else 1e-8 if nu < 1 else 1e-11)


def test_matern_ends_are_known_kernels():
    np.testing.assert_allclose(
        fm.Matern(0.5, 0.6)(X[0], X[1]), fm.LaplaceKernel(0.6)(X[0], X[1]), rtol=1e-14
    )
    np.testing.assert_allclose(
        fm.Matern(1e4, 0.6)(X[0], X[1]), fm.GaussianKernel(0.6)(X[0], X[1]), rtol=5e-3
    )
    with pytest.raises(ValueError, match="`nu`"):
        fm.Matern(-1.0)


@pytest.mark.slow
def test_sums_and_products_of_kernels():
    gauss, rough = fm.GaussianKernel(0.8), fm.LaplaceKernel(0.5)
    mu, nu = fm.Particles(X, weights=jnp.arange(7.0)), fm.Gaussian(jnp.ones(2), jnp.eye(2))
    other = fm.Gaussian(jnp.zeros(2), 0.4 * jnp.eye(2))
    for pair in ((mu, nu), (nu, other)):
        square = 0.3 * fm.mmd(*pair, gauss) ** 2 + 2 * fm.mmd(*pair, rough) ** 2
        found = fm.mmd(*pair, 0.3 * gauss + rough * 2.0) ** 2
        np.testing.assert_allclose(found, square, rtol=1e-10)
    product = gauss * rough
    np.testing.assert_allclose(product(X[0], X[1]), gauss(X[0], X[1]) * rough(X[0], X[1]))
    # 1/h² of two Gaussian kernels add, and the product is still exact over Gaussians.
    both = gauss * fm.GaussianKernel(0.6)
    narrow = fm.GaussianKernel((0.8**-2 + 0.6**-2) ** -0.5)
    np.testing.assert_allclose(fm.mmd(nu, other, both), fm.mmd(nu, other, narrow), rtol=1e-12)


def test_sums_take_the_distance_of_the_measures_space():
    gauss, rough = fm.GaussianKernel(0.8), fm.LaplaceKernel(0.5)
    torus = [fm.Particles(x, space=fm.Torus(1.0)) for x in (X % 1, X[:3] % 1)]
    square = fm.mmd(*torus, rough) ** 2 + fm.mmd(*torus, fm.EnergyDistance()) ** 2
    np.testing.assert_allclose(fm.mmd(*torus, rough + fm.EnergyDistance()) ** 2, square)
    with pytest.raises(ValueError, match="`kernel` is GaussianKernel"):
        fm.mmd(*torus, rough + gauss)


@pytest.mark.slow
def test_estimates_without_bias_are_means_over_pairs():
    kernel, potential = fm.GaussianKernel(0.8), fm.Quadratic(1.3)
    y = X[:4] + 0.5
    gram = lambda a, b: np.asarray(jax.vmap(lambda s: jax.vmap(lambda t: kernel(s, t))(b))(a))  # noqa: E731
    pairs = lambda k: (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))  # noqa: E731
    exact = pairs(gram(X, X)) + pairs(gram(y, y)) - 2 * gram(X, y).mean()
    found = fm.mmd(fm.Particles(X), fm.Particles(y), kernel, unbiased=True)
    np.testing.assert_allclose(found, exact, atol=1e-14)
    # Atoms without mass are none; a Gaussian is a law, and no sample.
    padded = fm.Particles(
        jnp.concatenate([X, jnp.full((2, 2), jnp.nan)]), weights=jnp.array([1.0] * 7 + [0.0] * 2)
    )
    np.testing.assert_allclose(
        fm.mmd(padded, fm.Particles(y), kernel, unbiased=True), exact, atol=1e-14
    )
    law = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    whole = fm.mmd(law, fm.Particles(y), kernel) ** 2 - gram(y, y).mean() + pairs(gram(y, y))
    found = fm.mmd(law, fm.Particles(y), kernel, unbiased=True)
    np.testing.assert_allclose(found, whole, atol=1e-13)
    stein = fm.ksd(fm.Particles(X), potential, kernel) ** 2 * 49
    s = lambda x: -1.3 * x  # noqa: E731
    alone = sum(float(s(x) @ s(x)) + 2 / 0.8**2 for x in X)
    found = fm.ksd(fm.Particles(X), potential, kernel, unbiased=True)
    np.testing.assert_allclose(found, (stein - alone) / 42, atol=1e-12)


def test_estimates_are_zero_in_the_mean():
    draws = jr.normal(jr.key(1), (400, 10, 2))
    values = jax.vmap(lambda x: fm.ksd(fm.Particles(x), fm.Quadratic(1.0), unbiased=True))(draws)
    assert abs(np.mean(values)) < 4 * np.std(values) / 20 and np.min(values) < 0


@pytest.mark.slow
def test_discrepancies_fall_as_the_root_of_the_number():
    sizes, kernel = np.array([20, 80, 320]), fm.Matern(2.5)
    means = []
    for n in sizes:
        draws = jr.normal(jr.key(1), (60, int(n), 2))
        ksd = jax.vmap(lambda x: fm.ksd(fm.Particles(x), fm.Quadratic(1.0), kernel))(draws)
        means.append(np.sqrt(np.mean(ksd**2)))
    slope = np.polyfit(np.log(sizes), np.log(means), 1)[0]
    assert abs(slope + 0.5) < 0.03


@pytest.mark.slow
def test_svgd_stops_where_its_discrepancy_is_small():
    potential = fm.Quadratic(1.0)
    flow = fm.GradientFlow(fm.KL(potential), fm.Stein(fm.GaussianKernel(1.0)))
    small = lambda t, mu: fm.ksd(mu, potential) < 0.2  # noqa: E731
    start = fm.Particles(jr.normal(jr.key(3), (40, 2)) + 3)
    run = fm.simulate(flow, start, [0.0, 400.0], event=small)
    assert 0.1 < run.stats["t_final"] < 400
    assert fm.ksd(start, potential) > 1 and fm.ksd(run.final, potential) < 0.201


@pytest.mark.slow
def test_regularisation_gives_the_stein_flow_better_moments():
    potential = fm.Quadratic(jnp.diag(jnp.array([1.0, 4.0])))
    start, kernel = fm.Particles(jr.normal(jr.key(2), (30, 2)) + 1), fm.GaussianKernel(1.0)

    def error(metric):
        flow = fm.GradientFlow(fm.KL(potential), metric)
        final = fm.simulate(flow, start, [0.0, 40.0]).final
        return np.abs(np.diag(final.covariance()) - [1.0, 0.25]).max()

    assert error(fm.RegularizedStein(kernel, 0.05)) < 0.6 * error(fm.Stein(kernel))
