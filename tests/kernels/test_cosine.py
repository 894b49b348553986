"""Kernels of few cosines against the kernels that they stand for."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def test_a_fourier_series_is_its_kernel_within_its_error():
    profile = lambda z: jnp.exp(2.0 * jnp.sum(jnp.cos(z)))  # noqa: E731
    for dimension in (1, 2):
        kernel = fm.fourier_kernel(profile, 2 * np.pi, 8, dimension)
        x, y = jr.uniform(jr.key(dimension), (2, 30, dimension), maxval=2 * np.pi)
        exact = jax.vmap(lambda a, b: profile(a - b))(x, y)
        gap = np.abs(jax.vmap(kernel)(x, y) - exact).max()
        assert gap <= kernel.error + 1e-12 and kernel.error < 1e-3 * 7.4**dimension
    assert fm.fourier_kernel(profile, 2 * np.pi, 20).error < 1e-12


@pytest.mark.slow
def test_sums_of_features_equal_sums_over_pairs():
    kernel = fm.fourier_kernel(lambda z: jnp.exp(jnp.cos(z[0])), 2 * np.pi, 12)
    x, y = jr.uniform(jr.key(0), (2, 40, 1), maxval=2 * np.pi)
    energy = fm.MMD(fm.Particles(y), kernel)
    gram = lambda a, b: jax.vmap(lambda p: jax.vmap(lambda q: kernel(p, q))(b))(a).mean()  # noqa: E731
    truth = lambda x: (gram(x, x) + gram(y, y)) / 2 - gram(x, y)  # noqa: E731
    value, slope = jax.value_and_grad(lambda x: energy(fm.Particles(x)))(x)
    np.testing.assert_allclose(value, truth(x), rtol=1e-12)
    np.testing.assert_allclose(slope, jax.grad(truth)(x), rtol=1e-11, atol=1e-14)
    drift = jax.vmap(lambda p: energy.velocity(p, fm.Particles(x)))(x)
    np.testing.assert_allclose(drift, -40 * slope, rtol=1e-10, atol=1e-13)


def test_random_features_are_unbiased_with_the_stated_error():
    exact = fm.GaussianKernel(0.8)
    x, y = jnp.asarray([0.3, -0.2, 0.5]), jnp.asarray([0.1, 0.4, 0.0])
    draw = lambda key: fm.random_fourier_kernel(key, exact, 50, 3)(x, y)  # noqa: E731
    values = jax.vmap(draw)(jr.split(jr.key(0), 2000))
    far = fm.GaussianKernel(0.4)(x, y)  # k(2(x − y)) is k at half of the width
    spread = np.sqrt((1 + far - 2 * exact(x, y) ** 2) / 100)
    # The mean of 2000 draws has the standard error spread/√2000, the spread 1.6% of itself.
    assert abs(values.mean() - exact(x, y)) < 4 * spread / np.sqrt(2000)
    np.testing.assert_allclose(values.std(), spread, rtol=0.07)
    assert spread <= fm.random_fourier_kernel(jr.key(0), exact, 50, 3).error
