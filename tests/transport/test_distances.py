"""Distances against scipy and closed forms."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import energy_distance, wasserstein_distance

import flowjax_measures as fm


def weighted(key, n, d, shift=0.0):
    place, weigh = jr.split(jr.key(key))
    log_w = jax.nn.log_softmax(0.5 * jr.normal(weigh, (n,)))
    return fm.Particles(shift + jr.normal(place, (n, d)), log_w)


def normals():
    return (
        fm.Gaussian(jnp.array([0.0, 1.0]), jnp.array([[1.0, 0.3], [0.3, 0.6]])),
        fm.Gaussian(jnp.array([1.0, 1.0]), jnp.array([[0.5, -0.2], [-0.2, 0.9]])),
    )


def test_line():
    mu, nu = weighted(0, 7, 1), weighted(1, 5, 1, 0.5)
    args = (mu.x[:, 0], nu.x[:, 0], np.exp(mu.log_w), np.exp(nu.log_w))
    np.testing.assert_allclose(fm.wasserstein(mu, nu, 1), wasserstein_distance(*args), rtol=1e-12)
    np.testing.assert_allclose(fm.energy_distance(mu, nu), energy_distance(*args) ** 2, rtol=1e-12)
    np.testing.assert_allclose(fm.sliced_wasserstein(mu, nu), fm.wasserstein(mu, nu, 2), rtol=1e-12)


def test_line_is_the_linear_program():
    mu, nu = weighted(0, 7, 1), weighted(1, 5, 1, 0.5)
    flat = lambda m: fm.Particles(jnp.pad(m.x, ((0, 0), (0, 1))), m.log_w)  # noqa: E731
    for p in (1, 2, 3):
        expected = fm.wasserstein(flat(mu), flat(nu), p)
        np.testing.assert_allclose(fm.wasserstein(mu, nu, p), expected, rtol=1e-10)


def test_tiny_masses_are_transported():
    """Tails of 1e-6 of the mass, of which linear programs say that they can't be moved."""
    x = jnp.linspace(-5.0, 5.0, 100)
    laws = [jax.nn.log_softmax(-(x**2) / 2), jax.nn.log_softmax(-((x - 1) ** 2) / 1.4)]
    mu, nu = (fm.Particles(x[:, None], log_w) for log_w in laws)
    plan = np.asarray(fm.coupling(mu, nu))
    for axis, log_w in zip((1, 0), laws, strict=True):
        np.testing.assert_allclose(plan.sum(axis), jnp.exp(log_w), rtol=1e-5, atol=1e-13)
    square = np.sum(plan * np.asarray(x[:, None] - x) ** 2)
    np.testing.assert_allclose(square, fm.wasserstein(mu, nu, 2) ** 2, rtol=1e-9)


@pytest.mark.parametrize("uniform", [True, False])
def test_discrete_distance_has_its_derivative(uniform):
    mu, nu = weighted(0, 6, 2), weighted(1, 6 if uniform else 5, 2, 0.5)
    args = (mu.x, nu.x) if uniform else (mu.x, nu.x, mu.log_w, nu.log_w)

    def distance(x, y, log_a=None, log_b=None):
        normal = lambda w: None if w is None else jax.nn.log_softmax(w)  # noqa: E731
        return fm.wasserstein(fm.Particles(x, normal(log_a)), fm.Particles(y, normal(log_b)), 1.5)

    gradient = jax.grad(distance, tuple(range(len(args))))(*args)
    h = 1e-6
    for i, arg in enumerate(args):
        move = jr.normal(jr.key(9), arg.shape)
        at = lambda s, i=i, m=move: distance(*args[:i], args[i] + s * m, *args[i + 1 :])  # noqa: E731
        np.testing.assert_allclose(
            jnp.vdot(gradient[i], move), (at(h) - at(-h)) / (2 * h), rtol=1e-6, atol=1e-9
        )


def test_bures():
    mu, nu = normals()
    root = np.real(sqrtm(nu.cov))
    cross = np.real(sqrtm(root @ mu.cov @ root))
    expected = 1 + np.trace(mu.cov + nu.cov - 2 * cross)
    np.testing.assert_allclose(fm.bures(mu, nu), expected, rtol=1e-12)
    np.testing.assert_allclose(fm.wasserstein(mu, nu) ** 2, expected, rtol=1e-12)
    np.testing.assert_allclose(fm.bures(mu, mu), 0, atol=1e-14)


def test_mccann_is_a_geodesic():
    mu, nu = normals()
    for a, b in ((mu, nu), (weighted(0, 5, 2), weighted(1, 4, 2))):
        middle = fm.mccann(a, b, 0.3)
        whole = fm.wasserstein(a, b)
        np.testing.assert_allclose(fm.wasserstein(a, middle), 0.3 * whole, rtol=1e-9)
        np.testing.assert_allclose(fm.wasserstein(middle, b), 0.7 * whole, rtol=1e-9)


def test_kernel_distances():
    mu, nu = weighted(0, 6, 2), weighted(1, 5, 2, 0.5)
    kernel = fm.GaussianKernel(0.8)
    w = np.concatenate([np.exp(mu.log_w), -np.exp(nu.log_w)])
    z = np.concatenate([mu.x, nu.x])
    gram = np.exp(-np.sum((z[:, None] - z[None]) ** 2, -1) / (2 * 0.8**2))
    np.testing.assert_allclose(fm.mmd(mu, nu, kernel) ** 2, w @ gram @ w, rtol=1e-12)


def test_stein_discrepancy_vanishes_at_the_target():
    # From the Gaussian itself by cubature; k = ⟨x, y⟩ + 1 makes it a polynomial.
    target = fm.Quadratic(jnp.array([[2.0, 0.5], [0.5, 1.0]]), jnp.array([0.4, -0.3]))
    exact = fm.Gaussian(target.centre, jnp.linalg.inv(target.stiffness))
    energy = fm.KernelSteinDiscrepancy(target, fm.LinearKernel())
    np.testing.assert_allclose(energy(exact), 0, atol=1e-12)
    assert energy(fm.Gaussian(exact.m + 0.1, exact.cov)) > 1e-3


def test_wrong_order_is_refused():
    mu, nu = normals()
    with pytest.raises(ValueError, match="only p = 2"):
        fm.wasserstein(mu, nu, 3.0)


def test_sorts_on_the_host_are_the_compiled_ones():
    """Where numbers can be looked at NumPy sorts; also with weights of directions, and NaN."""
    x, y = jr.normal(jr.key(0), (9, 3)), jr.normal(jr.key(1), (9, 3)) + 1
    theta, weights = fm.sphere_directions(jr.key(2), 4, 3), jnp.array([0.5, 0.0, 2.0, 1.0])
    sliced = lambda x, w: fm.sliced_wasserstein(fm.Particles(x), fm.Particles(y), theta, w)  # noqa: E731
    for w in (None, weights):
        np.testing.assert_allclose(sliced(x, w), jax.jit(sliced)(x, w), rtol=1e-13)
    slope = jax.grad(sliced)(x, weights)
    h = 1e-6 * jr.normal(jr.key(3), x.shape)
    rise = (sliced(x + h, weights) - sliced(x - h, weights)) / 2
    np.testing.assert_allclose(jnp.vdot(slope, h), rise, rtol=1e-6)
    assert jnp.isnan(sliced(x.at[0, 0].set(jnp.nan), weights))
