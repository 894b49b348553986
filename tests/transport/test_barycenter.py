"""Barycentres, medians and Gromov–Wasserstein distances against closed forms and peers."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def test_barycenter_of_gaussians_is_the_fixed_point():
    covs = [jnp.diag(jnp.array([1.0, 4.0])), jnp.array([[2.0, 0.7], [0.7, 1.0]]), jnp.eye(2)]
    nus = [fm.Gaussian(jnp.full(2, float(k)), c) for k, c in enumerate(covs)]
    found = fm.barycenter(nus, weights=[1.0, 2.0, 1.0])
    np.testing.assert_allclose(found.m, [1, 1], rtol=1e-12)
    mean = sum(w * fm.bures_map(found, nu) for w, nu in zip((0.25, 0.5, 0.25), nus, strict=True))
    np.testing.assert_allclose(mean, np.eye(2), atol=1e-9)
    line = [fm.Gaussian(jnp.array([m]), jnp.array([[s**2]])) for m, s in ((0.0, 1.0), (2.0, 3.0))]
    middle = fm.barycenter(line)
    np.testing.assert_allclose([middle.m[0], middle.cov[0, 0]], [1, 4], rtol=1e-9)


def test_median_of_gaussians_balances_unit_steps():
    nus = [fm.Gaussian(m, jnp.eye(2)) for m in (jnp.zeros(2), jnp.ones(2), jnp.array([4.0, 0.0]))]
    found = fm.median(nus, tol=1e-10)
    # Equal covariances: the geometric median of the means, where unit vectors add to 0.
    steps = np.stack([(nu.m - found.m) / np.linalg.norm(nu.m - found.m) for nu in nus])
    np.testing.assert_allclose(steps.sum(0), 0, atol=1e-5)


def test_barycenter_of_particles():
    x, shift = jr.normal(jr.key(0), (8, 2)), jnp.array([2.0, -1.0])
    found = fm.barycenter([fm.Particles(x), fm.Particles(x + shift)], start=fm.Particles(x[::-1]))
    np.testing.assert_allclose(fm.wasserstein(found, fm.Particles(x + shift / 2)), 0, atol=1e-12)
    line = [fm.Particles(jr.normal(jr.key(k), (6, 1)), weights=None) for k in (1, 2)]
    found = fm.barycenter(line, weights=[0.3, 0.7], start=line[0])
    exact = 0.3 * np.sort(line[0].x, 0) + 0.7 * np.sort(line[1].x, 0)
    np.testing.assert_allclose(np.sort(found.x, 0), exact, atol=1e-12)
    with pytest.raises(ValueError, match="`start`"):
        fm.barycenter(line)


def test_gromov_wasserstein_sees_isometries():
    x = jr.normal(jr.key(0), (7, 2))
    turn = jnp.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    mu, nu = fm.Particles(x), fm.Particles(x[::-1] @ turn + 3)
    np.testing.assert_allclose(fm.gromov_wasserstein(mu, nu, 1).value, 0, atol=1e-6)
    # Two points at distance 1 and at distance 3: |1 − 3|² on the half of the pairs that differ.
    one, two = fm.Particles(jnp.array([[0.0], [1.0]])), fm.Particles(jnp.array([[0.0], [3.0]]))
    found = fm.gromov_wasserstein(one, two, 1)
    np.testing.assert_allclose(found.value**2, 2, rtol=1e-12)


def test_entropic_gromov_wasserstein_in_compiled_code():
    x = jr.normal(jr.key(0), (12, 2))
    turned = (x @ jnp.array([[0.0, -1.0], [1.0, 0.0]]))[::-1]

    @jax.jit
    def found(epsilon):
        return fm.gromov_wasserstein(fm.Particles(x), fm.Particles(turned), epsilon=epsilon)

    near, far = found(0.05), found(1.0)
    assert near.value**2 < 0.02 < far.value**2
    np.testing.assert_array_equal(jnp.argmax(near.plan, axis=1), np.arange(12)[::-1])
