"""Powers of distances by sums of exponentials, against sums over pairs."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import quad

import flowjax_measures as fm
from flowjax_measures._reduce import mean_power
from flowjax_measures._reduce._exponentials import exponentials
from flowjax_measures.kernels._base import convolve

LINE = jnp.ones((1, 1))


@pytest.mark.parametrize("r", [0.1, 0.5, 0.9, 1.1, 1.5, 1.9])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-8])
def test_exponentials_are_the_power(r, tolerance):
    found = exponentials(r, tolerance, 2e-16)
    z = np.concatenate([[0], np.geomspace(1e-14, 1, 300)])
    fast = sum(c * np.expm1(-s * z) for c, s in zip(found.factors, found.rates, strict=True))
    error = fast + sum(b * z**m for m, b in enumerate(found.powers, 1)) - z**r
    assert error[0] == 0 and np.abs(error).max() < 2 * tolerance
    # Farther away what is missing is a constant.
    assert np.ptp(error[z > 5 * tolerance ** (1 / r)]) < tolerance


def pairs(x, y, w, r):
    """Σ w |x − y|^r and its derivative in x."""
    gap = np.asarray(x)[:, None] - np.asarray(y)
    size = np.where(gap == 0, 1, np.abs(gap))
    return np.abs(gap) ** r @ w, (r * size ** (r - 1) * np.sign(gap)) @ w


@pytest.mark.parametrize("r", [pytest.param(0.6, marks=pytest.mark.slow), 1.4])
def test_sums_and_forces_are_those_of_pairs(r):
    rng = np.random.default_rng(0)
    y = rng.standard_normal(60)
    y[7], y[8] = y[9], y[9] + 1e-5
    w = rng.uniform(size=60) * (np.arange(60) != 3)
    w /= w.sum()
    y[3] = 2.0
    x = jnp.asarray(np.concatenate([y, [-40.0, 5.0, 7.5, 11.0, 300.0, 0.2]]))
    sums = jax.vmap(lambda x: mean_power(x, jnp.asarray(y), jnp.asarray(w), r, 1e-9))
    values, slopes = pairs(x, y, w, r)
    width = 2.5 * np.ptp(y)
    np.testing.assert_allclose(sums(x), values, rtol=2e-7, atol=2e-9 * width**r)
    found = jax.vmap(jax.grad(lambda x: sums(x[None])[0]))(x)
    np.testing.assert_allclose(found, slopes, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_flow_of_the_sliced_kernel_is_that_of_its_pairs():
    x, y = jr.normal(jr.key(0), (2, 9, 3))
    kernel = fm.SlicedRieszKernel(fm.sphere_directions(jr.key(1), 4, 3), 1.5, 1e-9)
    mu = fm.Particles(x, weights=jnp.linspace(1.0, 2.0, 9))
    energy = fm.MMD(fm.Particles(y), kernel)
    plain = fm.MMD(fm.Particles(y), lambda a, b: kernel(a, b))
    np.testing.assert_allclose(energy(mu), plain(mu), rtol=1e-7)
    for nu in (mu, fm.Particles(jnp.zeros((1, 3)))):
        found, exact = (
            jax.vmap(lambda p, e=e, nu=nu: e.velocity(p, nu))(x) for e in (energy, plain)
        )
        np.testing.assert_allclose(found, exact, atol=1e-7)


@pytest.mark.slow
def test_on_the_line_it_is_the_riesz_kernel():
    x, y = jr.normal(jr.key(0), (2, 9, 1))
    mu, nu = fm.Particles(x), fm.Particles(y)
    found = fm.mmd(mu, nu, fm.SlicedRieszKernel(LINE, 0.7))
    np.testing.assert_allclose(found, fm.mmd(mu, nu, fm.RieszKernel(0.7)), rtol=1e-5)
    far = fm.Particles(x.at[2].set(jnp.nan))
    assert jnp.isnan(convolve(fm.SlicedRieszKernel(LINE, 0.7), jnp.zeros(1), far))


@pytest.mark.parametrize(("dimension", "r"), [(2, 0.5), (3, 1.5), (7, 1.8)])
def test_directions_are_unbiased_with_the_stated_error(dimension, r):
    count = 4000
    z = jr.normal(jr.key(2), (dimension,))
    kernel = fm.SlicedRieszKernel(fm.sphere_directions(jr.key(3), count, dimension), r)
    found = -kernel(z, 0 * z) / jnp.linalg.norm(z) ** r
    assert abs(found - 1) < 4 * kernel.error
    # E |t|^p of one coordinate of the sphere, by its density (1 − t²)^{(d−3)/2}.
    density = lambda a: np.sin(a) ** (dimension - 2)  # noqa: E731
    zero, one, two = (
        quad(lambda a, p=p: density(a) * np.cos(a) ** p, 0, np.pi / 2)[0] for p in (0, r, 2 * r)
    )
    spread = two * zero / one**2 - 1
    np.testing.assert_allclose(kernel.error, np.sqrt(spread / count), rtol=1e-6)


def test_what_has_no_sum_is_named():
    for wrong in (1.0, 2.0, -0.5):
        with pytest.raises(ValueError, match="`exponent`"):
            fm.SlicedRieszKernel(LINE, wrong)
    with pytest.raises(ValueError, match="`tolerance`"):
        fm.SlicedRieszKernel(LINE, 1.5, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("r", [0.5, 1.5])
def test_sums_of_many_are_those_of_pairs(r):
    n = 2000
    y, w = jr.normal(jr.key(0), (n,)), jnp.full(n, 1 / n)
    found = jax.vmap(lambda x: mean_power(x, y, w, r, 1e-6))(y)
    exact = pairs(y, y, np.asarray(w), r)[0]
    error = np.asarray(found) - exact
    width = 2.5 * np.ptp(np.asarray(y))
    assert np.abs(error).max() < 1e-6 * width**r and np.ptp(error) < 1e-8 * width**r
