"""Stochastic localisation and the Föllmer process against quadrature and their identities."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import flowjax_measures as fm

WEIGHTS, MEANS, SPREADS = np.array([0.3, 0.7]), np.array([-1.0, 1.5]), np.array([0.1, 0.3])
LINE = fm.Particles(
    (jnp.asarray(MEANS)[:, None], jnp.asarray(SPREADS)[:, None, None]), weights=jnp.asarray(WEIGHTS)
)
ATOMS = fm.Particles(
    jnp.array([[-1.0, 0.2], [1.0, 0.5], [0.3, -1.5], [jnp.nan, 0.0]]),
    weights=jnp.array([0.2, 0.5, 0.3, 0.0]),
)
A = np.random.default_rng(0).normal(size=(3, 2, 2))
COVS, CENTRES = A @ A.transpose(0, 2, 1) + 0.1 * np.eye(2), A[:, 0]
SHARES = np.array([0.2, 0.3, 0.5])
PLANE = fm.Particles((jnp.asarray(CENTRES), jnp.asarray(COVS)), weights=jnp.asarray(SHARES))
GAUSS = fm.Gaussian(jnp.asarray(CENTRES[0]), jnp.asarray(COVS[0]))


def density(x):
    return sum(
        w * multivariate_normal(m, c).pdf(x) for w, m, c in zip(SHARES, CENTRES, COVS, strict=True)
    )


def test_tilts_of_a_mixture_are_integrals():
    t, c = 0.7, np.array([0.4, -0.9])
    axis = np.linspace(-9.0, 9.0, 601)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    rho = density(x) * np.exp(x @ c - t * np.sum(x**2, -1) / 2) * (axis[1] - axis[0]) ** 2
    mean = np.einsum("ij,ijk->k", rho, x) / rho.sum()
    second = np.einsum("ij,ijk,ijl->kl", rho, x, x) / rho.sum()
    law, c = fm.StochasticLocalization(PLANE), jnp.asarray(c)
    np.testing.assert_allclose(law.log_normaliser(t, c), np.log(rho.sum()), atol=1e-9)
    np.testing.assert_allclose(law.mean(t, c), mean, atol=1e-9)
    np.testing.assert_allclose(law.covariance(t, c), second - np.outer(mean, mean), atol=1e-9)
    tilted = law.tilted(t, c)
    np.testing.assert_allclose(tilted.mean()[0], mean, atol=1e-9)
    # Without a tilt the law is the target; a further tilt is a tilt of what is tilted.
    np.testing.assert_allclose(law.tilted(0.0, 0 * c).atoms()[1], np.log(SHARES), atol=1e-14)
    again = fm.StochasticLocalization(tilted).mean(0.3, c / 2)
    np.testing.assert_allclose(again, law.mean(1.0, 1.5 * c), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("target", [PLANE, ATOMS, GAUSS])
def test_fields_are_those_of_an_interpolant_from_a_point(target):
    t, x = 0.37, jnp.array([0.3, -0.4])
    law = fm.FollmerProcess(target)
    start = fm.Particles(jnp.zeros((1, 2)))
    bridge = fm.StochasticInterpolant(start, target, fm.LinearSchedule(1.0))
    for name in ("velocity", "score", "log_density"):
        found, known = getattr(law, name)(t, x), getattr(bridge, name)(t, x)
        np.testing.assert_allclose(found, known, atol=1e-13)
    np.testing.assert_allclose(law.drift(t, x), bridge.drift(t, x, 0.5)[0], atol=1e-13)
    np.testing.assert_allclose(jax.grad(law.log_value, 1)(t, x), law.drift(t, x), atol=1e-14)
    # It is localisation in another time, less the Brownian part.
    local = fm.StochasticLocalization(target).mean(t / (1 - t), x / (1 - t))
    np.testing.assert_allclose(law.drift(t, x), (local - x) / (1 - t), atol=1e-13)


def test_ends_are_the_target():
    x = jnp.array([0.3, -0.4])
    end = fm.FollmerProcess(PLANE).log_density(1.0, x)
    np.testing.assert_allclose(end, np.log(density(np.asarray(x))), atol=1e-12)
    point = fm.Gaussian(jnp.zeros(2), jnp.zeros((2, 2)))
    final = fm.simulate(fm.FollmerProcess(GAUSS), point, [0.0, 1.0]).final
    np.testing.assert_allclose(final.m, GAUSS.m, atol=1e-6)
    np.testing.assert_allclose(final.cov, GAUSS.cov, atol=1e-6)
    final = fm.simulate(fm.StochasticLocalization(GAUSS), point, [0.0, 2.0]).final
    np.testing.assert_allclose(final.m, 2 * GAUSS.m, atol=1e-6)
    np.testing.assert_allclose(final.cov, 4 * GAUSS.cov + 2 * np.eye(2), atol=1e-5)


@pytest.mark.slow
def test_samples_have_the_law_of_the_target():
    n = 2000
    start, masses = fm.Particles(jnp.zeros((n, 2))), np.array([0.2, 0.5, 0.3])
    ends = fm.simulate(fm.FollmerProcess(ATOMS), start, [0.0, 1.0], dt=0.02, key=jr.key(0)).final.x
    law = fm.StochasticLocalization(ATOMS)
    c = fm.simulate(law, start, [0.0, 25.0], dt=0.5, key=jr.key(1)).final.x
    for points in (ends, jax.vmap(lambda c: law.mean(25.0, c))(c)):
        gaps = np.linalg.norm(np.asarray(points)[:, None] - np.asarray(ATOMS.x)[None, :3], axis=-1)
        shares = np.bincount(gaps.argmin(1), minlength=3) / n
        assert np.all(np.abs(shares - masses) < 4 * np.sqrt(masses * (1 - masses) / n))
        # Nearly all have decided.
        assert np.mean(gaps.min(1) < 1e-2) > 0.99
    # From a Gaussian target steps of any length are exact.
    one = fm.simulate(fm.FollmerProcess(GAUSS), start, [0.0, 1.0], dt=0.5, key=jr.key(2)).final
    error = np.sqrt(np.diag(COVS[0]) / n)
    assert np.all(np.abs(one.mean() - GAUSS.m) < 4 * error)
    spread = np.sqrt(2 / n) * np.diag(COVS[0])
    assert np.all(np.abs(np.diag(one.covariance()) - np.diag(COVS[0])) < 4 * spread)


def line(x):
    parts = zip(WEIGHTS, MEANS, SPREADS, strict=True)
    return sum(w * norm.pdf(x, m, np.sqrt(c)) for w, m, c in parts)


GRID = jnp.linspace(-14.0, 16.0, 501)


def averages(law, scale, field, t):
    """∫ field(t, x) ρ_t(x) dx, where X_t = scale X + noise of variance v."""
    a, v = scale(t)
    parts = [
        w * jax.scipy.stats.norm.pdf(GRID, a * m, jnp.sqrt(a**2 * c + v))
        for w, m, c in zip(WEIGHTS, MEANS, SPREADS, strict=True)
    ]
    values = jax.vmap(lambda x: jnp.sum(field(law, t, x[None])))(GRID)
    return jnp.sum(sum(parts) * values) * (GRID[1] - GRID[0])


@pytest.mark.slow
def test_beliefs_are_martingales_that_narrow():
    law, scale = fm.StochasticLocalization(LINE), lambda t: (t, t)
    mean = lambda law, t, c: law.mean(t, c)  # noqa: E731
    width = lambda t: averages(law, scale, lambda law, t, c: law.covariance(t, c), t)  # noqa: E731
    square = lambda law, t, c: law.covariance(t, c) ** 2  # noqa: E731
    for t in (0.3, 1.1):
        t = jnp.asarray(t)
        np.testing.assert_allclose(averages(law, scale, mean, t), WEIGHTS @ MEANS, atol=1e-10)
        np.testing.assert_allclose(jax.grad(width)(t), -averages(law, scale, square, t), atol=1e-9)


@pytest.mark.slow
def test_energy_is_the_relative_entropy():
    law, scale = fm.FollmerProcess(LINE), lambda t: (t, t * (1 - t))
    nodes, weights = np.polynomial.legendre.leggauss(16)
    energy = lambda law, t, x: law.drift(t, x) ** 2 / 2  # noqa: E731
    spent = jax.vmap(lambda t: averages(law, scale, energy, t))(jnp.asarray((nodes + 1) / 2))
    x = np.linspace(-14.0, 16.0, 6001)
    rho = line(x)
    entropy = np.sum(rho * (np.log(rho) - norm.logpdf(x))) * (x[1] - x[0])
    np.testing.assert_allclose(weights @ spent / 2, entropy, atol=1e-6)
    drift = lambda law, t, x: law.drift(t, x)  # noqa: E731
    np.testing.assert_allclose(averages(law, scale, drift, jnp.asarray(0.6)), WEIGHTS @ MEANS)


@pytest.mark.slow
def test_steps_are_of_second_order():
    law, axis = fm.FollmerProcess(LINE), np.linspace(-9.0, 9.0, 1201)
    width = float(axis[1] - axis[0])
    exact = line(axis)

    @jax.jit
    def move(t, h, w):
        return jax.vmap(lambda x: law.transition(t, x, h, w))(axis[:, None])[:, 0]

    errors = []
    for n in (8, 16, 32, 64):
        h, rho = 1 / n, None
        for k in range(n):
            # A step is Gaussian: its mean and its deviation are read off two increments.
            mean, there = (np.asarray(move(k * h, h, jnp.full(1, w))) for w in (0.0, np.sqrt(h)))
            kernel = norm.pdf(axis[None], mean[:, None], (there - mean)[:, None])
            rho = kernel[600] if rho is None else rho @ kernel * width
        errors.append(np.abs(np.sum((rho - exact) * np.sin(axis)) * width))
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert slopes[-1] > 1.85


def test_what_is_not_a_target_is_refused_by_name():
    with pytest.raises(ValueError, match="`target` of FollmerProcess"):
        fm.FollmerProcess(fm.initial.uniform_on_sphere(jr.key(0), 3, 2))
    for name in ("log_density", "score", "velocity"):
        with pytest.raises(ValueError, match="`t` is 0"):
            getattr(fm.FollmerProcess(LINE), name)(0.0, jnp.zeros(1))
