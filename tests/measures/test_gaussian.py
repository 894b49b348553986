"""Gaussians: tilts, expectations and closures against independent computations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from catalogue import normal

import flowjax_measures as fm
from flowjax_measures._numerics import _cubature
from flowjax_measures._numerics._cubature import degree, expect, factor, nodes

MU = normal(2)
H = jnp.array([[0.3, 0.1], [0.1, -0.5]])
B = jnp.array([0.4, -0.2])


def quadratic(y):
    return 0.7 + jnp.vdot(B, y) + jnp.vdot(y, H @ y) / 2


def by_quadrature(fn, logits):
    """Tensor trapezoid on a wide box."""
    axis = jnp.linspace(-9, 10, 401)
    points = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    weight = jnp.exp(jax.vmap(MU.log_density)(points) + jax.vmap(logits)(points))
    total = jnp.sum(weight) * (axis[1] - axis[0]) ** 2
    return weight @ jax.vmap(fn)(points) / jnp.sum(weight), jnp.log(total)


@pytest.mark.slow
def test_quadratic_tilt_is_exact():
    for fn in (lambda y: y, lambda y: y**2, lambda y: jnp.sin(y)):
        mean, log_normaliser = by_quadrature(fn, quadratic)
        np.testing.assert_allclose(MU.mean(fn, quadratic), mean, rtol=1e-9)
        np.testing.assert_allclose(MU.logmean(quadratic), log_normaliser, rtol=1e-9)


def test_tilt_beyond_quadratic():
    logits = lambda y: quadratic(y) - 0.05 * jnp.sum(y**4) + jnp.sin(y[0])  # noqa: E731
    mean, log_normaliser = by_quadrature(lambda y: y, logits)
    np.testing.assert_allclose(MU.mean(logits=logits), mean, rtol=2e-4)
    np.testing.assert_allclose(MU.logmean(logits), log_normaliser, rtol=2e-4)


def test_infinite_tilted_mass_is_not_finite():
    assert MU.logmean(lambda y: 5.0 * jnp.vdot(y, y)) == np.inf
    centred = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    assert centred.logmean(lambda y: 5.0 * jnp.vdot(y, y)) == np.inf


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 8, 9, 20])
def test_cubature_integrates_low_degrees(d):
    z, w = nodes(d)
    assert np.all(w > 0)
    np.testing.assert_allclose(w.sum(), 1, rtol=1e-13)
    np.testing.assert_allclose(np.einsum("k,ki,kj", w, z, z), np.eye(d), atol=1e-12)
    if d <= 8:
        np.testing.assert_allclose(w @ z[:, 0] ** 4, 3, rtol=1e-12)
        if d > 1:
            np.testing.assert_allclose(w @ (z[:, 0] * z[:, 1]) ** 2, 1, rtol=1e-12)


def test_degrees_are_read_off_the_trace():
    x = jnp.ones(3)
    assert degree(lambda y: jnp.ones(2), x) == 0
    assert degree(lambda y: 3 * y + 1, x) == 1
    assert degree(lambda y: jnp.sum(y**2) * y[:0].size + jnp.vdot(y, y), x) == 2
    assert degree(lambda y: jax.jit(lambda z: jnp.sum((z - 1) ** 2))(y), x) == 2
    assert degree(lambda y: jnp.sum(y**3), x) == 3
    assert degree(lambda y: jnp.linalg.norm(y), x) == 3


def test_expectation_and_its_derivative_at_a_dirac():
    f = lambda y: jnp.vdot(y, H @ y) + y[0]  # noqa: E731
    value = lambda cov: expect(f, B, cov)  # noqa: E731
    np.testing.assert_allclose(value(jnp.zeros((2, 2))), f(B), rtol=1e-14)
    np.testing.assert_allclose(jax.grad(value)(jnp.zeros((2, 2))), H, rtol=1e-13)


@pytest.mark.slow
def test_factor_of_singular_matrices():
    a = jr.normal(jr.key(0), (4, 2))
    for cov in (a @ a.T, jnp.zeros((3, 3)), jnp.diag(jnp.array([0.0, 2.0, 0.0]))):
        lower = factor(cov)
        np.testing.assert_allclose(lower @ lower.T, cov, atol=1e-13)
        assert np.all(np.isfinite(jax.jacrev(factor)(cov)))


def test_closure_with_growth_is_the_exact_moment_equation():
    """Replicator growth −½ a x² keeps Gaussians: dm = −aΣm, dΣ = −aΣ²."""
    law = fm.Custom(
        lambda t, x, mu: fm.Rates(0 * x, growth=-0.5 * jnp.vdot(x, x) + mu.mean(lambda y: y @ y))
    )
    mu = fm.Gaussian(jnp.array([0.7]), jnp.array([[0.5]]))
    final = fm.simulate(law, mu, [0.0, 1.0]).final
    cov = 1 / (1 / 0.5 + 1.0)
    np.testing.assert_allclose(final.cov, [[cov]], rtol=1e-7)
    np.testing.assert_allclose(final.m, [cov / 0.5 * 0.7], rtol=1e-7)


def test_methods_of_traced_modules_are_integrands_and_logits():
    class Linear(eqx.Module):
        a: jax.Array

        def __call__(self, x):
            return jnp.vdot(self.a, x)

        def wave(self, x):
            return jnp.sin(self(x))

    def value(a):
        f = Linear(a)
        return MU.mean(f) + MU.mean(f.wave) + MU.mean(f.wave, f.__call__) + MU.logmean(f)

    got = jax.jit(jax.grad(value))(B)
    e = 1e-5 * jnp.eye(2)
    np.testing.assert_allclose(got, [(value(B + h) - value(B - h)) / 2e-5 for h in e], rtol=1e-8)


def test_shared_noise_moves_the_mean_and_own_noise_the_covariance():
    law = fm.Custom(
        lambda t, x, mu: fm.Rates(0 * x, fm.Isotropic(0.3) + fm.Common(jnp.array([[0.5], [0.2]])))
    )
    increment = law(0.0, MU)
    np.testing.assert_allclose(increment.drift.cov, 0.09 * jnp.eye(2), atol=1e-15)
    moved = increment.noise.apply((jnp.array([2.0]),))
    np.testing.assert_allclose(moved.m, [1.0, 0.4])
    np.testing.assert_allclose(moved.cov, np.zeros((2, 2)))


@pytest.mark.slow
def test_multiplicative_shared_noise_against_particles():
    """dX = X dB for all points: m and Σ follow one path, as a cloud's moments do."""
    law = fm.Custom(lambda t, x, mu: fm.Rates(0 * x, fm.Common(fm.Diagonal(0.5 * x))))
    cloud = fm.Particles(jr.normal(jr.key(0), (200, 1)) + 1.0)
    gaussian = fm.Gaussian(cloud.mean(), cloud.covariance())
    runs = [
        fm.simulate(law, mu, [0.0, 0.1], dt=1e-5, key=jr.key(3)).final for mu in (cloud, gaussian)
    ]
    np.testing.assert_allclose(runs[1].m, runs[0].mean(), rtol=1e-12)
    # The two Euler schemes differ by ¼ Σ_k (ΔB_k² − dt), of standard deviation 3.5e-4.
    np.testing.assert_allclose(runs[1].cov, runs[0].covariance(), rtol=4 * 3.5e-4)


def test_more_nodes_of_a_logistic_law_in_twelve_dimensions():
    """E σ(X_i) and E σ′(X_i) are integrals on the line; the lattice converges to them."""
    random = np.random.default_rng(0)
    root = random.normal(size=(12, 12)) / np.sqrt(12)
    cov, m = root @ root.T + 0.2 * np.eye(12), 0.3 * random.normal(size=12)
    z, w = np.polynomial.hermite_e.hermegauss(80)
    s = 1 / (1 + np.exp(-(m[:, None] + np.sqrt(np.diag(cov))[:, None] * z)))
    mean, pull = -s @ w / w.sum(), -((s * (1 - s)) @ w / w.sum())[:, None] * cov
    law = fm.Custom(lambda t, x, mu: -jax.nn.sigmoid(x))
    errors = []
    for count in (None, 16384):
        drift = law(0.0, fm.Gaussian(jnp.asarray(m), jnp.asarray(cov), nodes=count)).drift
        errors.append(max(np.abs(drift.m - mean).max(), np.abs(drift.cov - pull - pull.T).max()))
    assert errors[0] < 5e-3 and errors[1] < 1.5e-3
    with pytest.raises(ValueError, match="`nodes` is 7"):
        fm.Gaussian(jnp.zeros(2), jnp.eye(2), nodes=7)


def test_expectations_in_blocks_are_those_of_all_nodes_at_once(monkeypatch):
    """… with their derivatives, where the last block is not full."""
    m, cov = 0.1 * jnp.arange(9.0), jnp.eye(9) + 0.2
    slope = jax.jacfwd(lambda x: jnp.tanh(x) * jnp.sum(x))
    value = lambda m, cov: jnp.sum(expect(slope, m, cov, 1000) ** 2)  # noqa: E731
    whole, wanted = jax.value_and_grad(value, (0, 1))(m, cov)
    monkeypatch.setattr(_cubature, "_CACHED", 81 * 30)
    blocked, found = jax.value_and_grad(value, (0, 1))(m, cov)
    np.testing.assert_allclose(blocked, whole, rtol=1e-12)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)
    _, along = jax.jvp(lambda s: value(m + s, cov), (0.0,), (1.0,))
    np.testing.assert_allclose(along, wanted[0].sum(), rtol=1e-10)


def test_long_closures_are_told_with_what_they_cost():
    law = fm.Custom(lambda t, x, mu: jnp.tanh(x))
    start = fm.Gaussian(jnp.zeros(200), jnp.eye(200))
    with pytest.warns(UserWarning, match=r"3200 nodes × 200 directions = 640,000.*nodes=800"):
        jax.eval_shape(law, 0.0, start)
    # Of polynomials, and of fewer nodes, nothing is to be told.
    jax.eval_shape(fm.Custom(lambda t, x, mu: mu.mean() - x), 0.0, start)
    jax.eval_shape(law, 0.0, fm.Gaussian(jnp.zeros(200), jnp.eye(200), nodes=800))


def test_density_of_a_mixture():
    from scipy.stats import multivariate_normal

    means = np.array([[0.0, 1.0], [2.0, -1.0]])
    covs = np.stack([np.eye(2), np.array([[0.5, 0.2], [0.2, 0.3]])])
    w, at = np.array([0.7, 0.3]), np.array([0.4, 0.3])
    exact = np.log(
        sum(p * multivariate_normal(m, c).pdf(at) for p, m, c in zip(w, means, covs, strict=True))
    )
    pair = fm.Particles((jnp.asarray(means), jnp.asarray(covs)), weights=w)
    whole = fm.Particles(jax.vmap(fm.Gaussian)(*pair.x), weights=w, space=fm.Bures())
    for mixture in (pair, whole):
        np.testing.assert_allclose(mixture.log_density(jnp.asarray(at)), exact, rtol=1e-12)
    with pytest.raises(ValueError, match="mixtures"):
        fm.Particles(jnp.zeros((3, 2))).log_density(jnp.zeros(2))


@pytest.mark.parametrize("cov", [
    [[jnp.nan, 0.0], [0.0, 1.0]], [[0.0, jnp.nan], [jnp.nan, 1.0]], [[1.0, 0.0], [0.0, jnp.nan]],
])  # fmt: skip
def test_draws_of_no_covariance_are_none(cov):
    drawn = jax.jit(lambda c: fm.Gaussian(jnp.zeros(2), c).sample(jr.key(0), 3))(jnp.array(cov))
    assert jnp.all(jnp.any(jnp.isnan(drawn), axis=1))
