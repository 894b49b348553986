"""Adaptive moments, penalties with a force, and kernels as wide as the cloud, against NumPy."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.objectives import rastrigin

X = np.asarray(jr.normal(jr.key(0), (6, 2)))


def rugged(x):
    return np.sum(x**2 + 10 * (1 - np.cos(2 * np.pi * x)), axis=-1)


def mean(x, logits):
    weights = np.exp(logits - np.max(logits, -1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)) @ x


def test_adam_consensus_takes_the_steps_of_adam():
    """Five steps with falling λ, moments with their bias corrected as in Adam; no noise."""
    h, one, two, alpha, x = 0.1, 0.8, 0.95, 3.0, X
    law = fm.AdamConsensus(
        rastrigin, lambda t: 2.0 / (1 + t), 0.0, alpha, first_decay=one, second_decay=two, step=h,
        epsilon=1e-3,
    )  # fmt: skip
    start = fm.Particles(fm.AdamPoint(X, 0 * X, 0 * X))
    run = fm.simulate(law, start, [0.0, 5 * h], dt=h, key=jr.key(0)).final.x
    m, v = 0 * X, 0 * X
    for k in range(5):
        away = x - mean(x, -alpha * rugged(x))
        m, v = one * m + (1 - one) * away, two * v + (1 - two) * away**2
        size = np.sqrt(v / (1 - two ** (k + 1))) + 1e-3
        x = x - h * 2.0 / (1 + h * k) * m / (1 - one ** (k + 1)) / size
    np.testing.assert_allclose(run.x, x, rtol=1e-10)
    np.testing.assert_allclose(run.first, m, rtol=1e-9)
    np.testing.assert_allclose(run.second, v, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["isotropic", "anisotropic"])
def test_adam_consensus_shakes_places_alone(noise):
    law = fm.AdamConsensus(rastrigin, 1.0, 0.7, 3.0, noise)
    mu = fm.Particles(fm.AdamPoint(X, X + 1, X**2))
    away = X - mean(X, -3.0 * rugged(X))
    np.testing.assert_allclose(law.consensus(mu), X[0] - away[0], rtol=1e-12)
    ones = jnp.ones_like(X)
    moved = law(0.0, mu).noise.apply((fm.AdamPoint(ones, ones, ones),)).x
    size = np.linalg.norm(away, axis=1)[:, None] * ones if noise == "isotropic" else away
    np.testing.assert_allclose(moved.x, 0.7 * size, rtol=1e-12)
    np.testing.assert_array_equal(moved.first, 0)
    np.testing.assert_array_equal(moved.second, 0)


def test_adam_without_a_past_has_a_constant_speed():
    """At time 0 and from zero moments every coordinate moves at λ, whatever the energies."""
    law = fm.AdamConsensus(rastrigin, 0.3, alpha=0.1, epsilon=1e-12)
    drift = law(0.0, fm.Particles(fm.AdamPoint(X, 0 * X, 0 * X))).drift.x.x
    np.testing.assert_allclose(np.abs(drift), 0.3, rtol=1e-9)


def test_regularized_consensus_is_a_penalty_and_a_force():
    """c of f + |g|²/(2ν), and −λ(X − c) − g∇g/ε, for the circle."""
    law = fm.RegularizedConsensus(
        rastrigin, lambda x: x @ x - 1, 1.3, 0.6, 0.2, epsilon=0.4, nu=0.5
    )
    g = np.sum(X**2, axis=1) - 1
    centre = mean(X, -0.2 * (rugged(X) + g**2))
    np.testing.assert_allclose(law.consensus(fm.Particles(X)), centre, rtol=1e-12)
    law_now = law(0.0, fm.Particles(X))
    exact = -1.3 * (X - centre) - g[:, None] * 2 * X / 0.4
    np.testing.assert_allclose(law_now.drift.x, exact, rtol=1e-11)
    moved = law_now.noise.apply((jnp.ones_like(X),)).x
    away = np.linalg.norm(X - centre, axis=1)[:, None]
    np.testing.assert_allclose(moved, 0.6 * away * np.ones_like(X), rtol=1e-12)


def test_regularized_consensus_with_long_steps_is_its_sum():
    """ConstrainedEuler takes the force at the end of a step of 100 ε."""
    circle = lambda x: x @ x - 1  # noqa: E731
    law = fm.RegularizedConsensus(rastrigin, circle, sigma=0.7, epsilon=1e-3, nu=1e6)
    plain = fm.ConsensusBased(rastrigin, sigma=0.7) + fm.EqualityConstraint(circle, 1e-3)
    options = dict(dt=0.1, key=jr.key(0), solver=fm.ConstrainedEuler())
    one, two = (
        fm.simulate(s, fm.Particles(X), [0.0, 0.5], **options).final.x for s in (law, plain)
    )
    np.testing.assert_allclose(one, two, atol=1e-3)
    assert np.all(np.abs(np.sum(np.asarray(one) ** 2, axis=1) - 1) < 0.5)


@pytest.mark.slow
def test_a_kernel_as_wide_as_a_share_of_the_cloud():
    """log k = −|x − y|²/(2κ²R²), R the largest distance, of points with mass."""
    law = fm.PolarizedConsensus(rastrigin, alpha=0.3, kernel_width=0.2, relative_width=True)
    square = np.sum((X[:, None] - X[None]) ** 2, axis=-1)
    centres = mean(X, -square / (2 * 0.2**2 * square.max()) - 0.3 * rugged(X)[None])
    found = jax.vmap(lambda x: law.consensus(x, fm.Particles(X)))(X)
    np.testing.assert_allclose(found, centres, rtol=1e-11)
    np.testing.assert_allclose(law.width(fm.Particles(3 * X)), 0.6 * np.sqrt(square.max()))
    far = fm.Particles(np.vstack([X, [[99.0, 99.0]]]), weights=[1.0] * 6 + [0.0])
    np.testing.assert_allclose(law.consensus(X[0], far), centres[0], rtol=1e-11)
    with pytest.raises(ValueError, match="`relative_width`"):
        law.width(fm.Gaussian(jnp.zeros(2), jnp.eye(2)))


def test_covariance_consensus_is_about_the_mean_of_all():
    """c, C and a step in NumPy; the law is the same in all affine coordinates."""
    law = fm.CovarianceConsensus(rastrigin, 1.3, 0.6, 0.2)
    centre, away = mean(X, -0.2 * rugged(X)), X - X.mean(0)
    weights = np.exp(-0.2 * rugged(X))
    spread = (away.T * weights) @ away / weights.sum()
    np.testing.assert_allclose(law.consensus(fm.Particles(X)), centre, rtol=1e-12)
    np.testing.assert_allclose(law.spread(fm.Particles(X)), spread, rtol=1e-11)
    now = law(0.0, fm.Particles(X))
    np.testing.assert_allclose(now.drift.x, -1.3 * (X - centre), rtol=1e-12)
    columns = [now.noise.apply((jnp.tile(e, (6, 1)),)).x[0] for e in np.eye(2)]
    np.testing.assert_allclose(sum(np.outer(c, c) for c in columns), 0.36 * spread, rtol=1e-10)
    turn = np.array([[2.0, 0.3], [-0.5, 0.1]])
    other = fm.CovarianceConsensus(lambda y: rastrigin(jnp.linalg.solve(turn, y)), 1.3, 0.6, 0.2)
    np.testing.assert_allclose(other.spread(fm.Particles(X @ turn.T)), turn @ spread @ turn.T)


def test_covariance_grows_down_a_slope():
    """From N(m, V) with f = g·x: c = m − αVg and C = V + α²Vg(Vg)ᵀ."""
    v, g = np.array([[1.0, 0.3], [0.3, 0.5]]), np.array([0.7, -1.1])
    mu = fm.Gaussian(jnp.array([0.4, -0.2]), jnp.asarray(v))
    law = fm.CovarianceConsensus(lambda x: jnp.vdot(g, x), alpha=1.7)
    way = -1.7 * v @ g
    np.testing.assert_allclose(law.consensus(mu), mu.m + way, rtol=1e-11)
    np.testing.assert_allclose(law.spread(mu), v + np.outer(way, way), rtol=1e-10)
