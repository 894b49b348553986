"""Observables against closed forms and independent counts."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

import flowjax_measures as fm


def sphere(seed=0, n=9, d=3):
    return fm.Particles(jr.normal(jr.key(seed), (n, d)), space=fm.Sphere()).retract()


@pytest.mark.parametrize("beta", [2.0, -1.5])
def test_interaction_energy_is_the_double_sum(beta):
    mu = sphere()
    log_w = jnp.log(jnp.arange(1.0, 10.0))
    weighted = fm.Particles(mu.x, log_w, space=mu.space)
    gram = np.exp(beta * np.asarray(mu.x @ mu.x.T))
    w = np.exp(np.asarray(log_w))
    assert np.isclose(fm.interaction_energy(mu, beta), gram.mean() / (2 * beta), rtol=1e-13)
    # Masses count as they are, here 45 in all.
    expected = w @ gram @ w / (2 * beta)
    assert np.isclose(fm.interaction_energy(weighted, beta), expected, rtol=1e-13)


def test_interaction_energy_of_a_dirac_of_labels_and_of_phase_points():
    x = jnp.array([[0.6, 0.8]])
    expected = np.exp(3.0) / 6.0
    for points in (x, (x, jnp.array([7])), fm.Phase(x, 5 * x)):
        assert np.isclose(fm.interaction_energy(fm.Particles(points), 3.0), expected, rtol=1e-14)


def test_interaction_energy_of_a_gaussian():
    # E e^{β⟨X, Y⟩} = Π (1 − β²s²)^{−1/2} for centred X, Y with covariance diag(s).
    s = np.array([0.3, 0.5])
    mu = fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.asarray(s)))
    expected = np.prod(1 - (1.2 * s) ** 2) ** -0.5 / 2.4
    assert np.isclose(fm.interaction_energy(mu, 1.2), expected, rtol=1e-12)
    # With a mean, against a fine tensor quadrature.
    m = jnp.array([0.4, -0.2])
    z, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()
    per_axis = []
    for a in range(2):
        y = np.asarray(m[a] + z * s[a] ** 0.5)
        per_axis.append(w @ np.exp(1.2 * np.outer(y, y)) @ w)
    mu = fm.Gaussian(m, jnp.diag(jnp.asarray(s)))
    assert np.isclose(fm.interaction_energy(mu, 1.2), np.prod(per_axis) / 2.4, rtol=1e-10)


@pytest.mark.parametrize("radius", [0.02, 0.1, 0.2, 0.5])
def test_number_of_clusters_is_that_of_scipy(radius):
    mu = sphere(3, n=60)
    x = np.asarray(mu.x)
    angle = np.arccos(np.clip(x @ x.T, -1, 1))
    expected, _ = connected_components(angle <= 2 * radius)
    count = jax.jit(fm.number_of_clusters)
    assert count(mu, radius) == expected


def test_clusters_of_a_line_of_labels_and_of_weights():
    # Caps of radius 0.5 around the integers touch: one cluster, however the points are numbered.
    order = jr.permutation(jr.key(0), 300)
    x = order.astype(float)[:, None]
    assert fm.number_of_clusters(fm.Particles(x), 0.5) == 1
    assert fm.number_of_clusters(fm.Particles(x), 0.499) == 300
    assert fm.number_of_clusters(fm.Particles((x, order)), 0.5) == 1
    assert fm.number_of_clusters(fm.Particles(fm.Phase(x, 9 * x)), 0.5) == 1
    # A point of mass zero joins nothing.
    chain = fm.Particles(jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0.0, -jnp.inf, 0.0]))
    assert fm.number_of_clusters(chain, 0.5) == 2
    batched = jax.vmap(lambda r: fm.number_of_clusters(chain, r))(jnp.array([0.5, 1.0]))
    assert batched.tolist() == [2, 1]
    with pytest.raises(ValueError, match="Gaussian"):
        fm.number_of_clusters(fm.Gaussian(jnp.zeros(1), jnp.eye(1)), 0.1)


@pytest.mark.slow
def test_soft_number_of_clusters_counts_and_is_differentiable():
    centres = jnp.repeat(jnp.array([[0.0], [10.0], [20.0]]), jnp.array([1, 2, 4]), axis=0)
    mu = fm.Particles(centres)
    assert np.isclose(fm.soft_number_of_clusters(mu, 0.1), 3.0, rtol=1e-12)
    close = lambda gap: fm.soft_number_of_clusters(  # noqa: E731
        fm.Particles(jnp.array([[0.0], [1.0]]) * gap), 1.0
    )
    slope = (close(0.7 + 1e-6) - close(0.7 - 1e-6)) / 2e-6
    assert np.isclose(jax.grad(close)(0.7), slope, rtol=1e-8)


def test_order_dispersion_and_entropy():
    mu = sphere(1)
    x = np.asarray(mu.x)
    assert np.isclose(fm.order_parameter(mu), np.linalg.norm(x.mean(0)))
    assert np.isclose(fm.dispersion(mu), ((x - x.mean(0)) ** 2).sum(1).mean())
    p = np.exp(2.0 * x @ x.T)
    p /= p.sum(1, keepdims=True)
    shannon = -(p * np.log(p)).sum(1).mean()
    assert np.isclose(fm.attention_entropy(mu, 2.0) + np.log(9), shannon)
    assert np.isclose(fm.attention_entropy(mu, 2.0, jnp.eye(3)) + np.log(9), shannon)
    angles = jnp.array([[0.1], [1.9], [4.0]])
    circle = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=1)
    expected = abs(np.exp(2j * np.asarray(angles)).mean())
    for points in (angles, circle):
        assert np.isclose(fm.circular_order(fm.Particles(points), 2), expected)


def test_times_and_retrieval():
    ts, numbers = jnp.array([0.0, 1.0, 2.0]), jnp.array([5, 3, 1])
    assert fm.time_to_clusters(ts, numbers, 3) == 1.0
    assert fm.time_to_clusters(ts, numbers, 0) == np.inf
    recalled = jnp.array([0.1, 6.2, 3.0])
    assert np.isclose(fm.retrieval_accuracy(recalled, jnp.zeros(3), 8), 2 / 3)


def test_labels_of_clusters():
    x = jnp.array([[0.0], [5.0], [0.3], [9.0], [5.2], [jnp.nan]])
    mu = fm.Particles(x, weights=jnp.array([1.0, 1, 1, 1, 1, 0]) / 5)
    np.testing.assert_array_equal(fm.cluster_labels(mu, 0.2), [0, 1, 0, 2, 1, -1])
    np.testing.assert_array_equal(jax.jit(fm.cluster_labels)(mu, 0.2), [0, 1, 0, 2, 1, -1])
    for radius in (jnp.nan, -1.0, 0.0):
        with pytest.raises(ValueError, match="`radius`"):
            fm.number_of_clusters(mu, radius)
    broken = fm.Particles(x)
    with pytest.raises(ValueError, match="`mu`"):
        fm.number_of_clusters(broken, 0.2)
    assert jax.jit(fm.number_of_clusters)(broken, 0.2) == -1


def test_coordinates_with_a_period_are_no_vectors():
    """On a torus a value does not depend on where the coordinates are cut; else it is refused."""
    x = jnp.array([[0.1], [3.9], [2.0], [2.2]])
    torus = lambda shift: fm.Particles(x + shift, space=fm.Torus(4.0)).retract()  # noqa: E731
    wheel = np.abs(np.mean(np.exp(2j * np.pi * np.asarray(x) / 4)))
    for shift in (0.03, 0.3, 1.3):
        assert np.isclose(fm.circular_order(torus(shift)), wheel, rtol=1e-12)
        merged = fm.merge_clusters(torus(shift), 0.15)
        np.testing.assert_allclose(
            np.sort(merged.x[:, 0]), np.sort((np.array([0.0, 2.1]) + shift) % 4), atol=1e-12
        )
    for read in (fm.dispersion, fm.order_parameter, lambda mu: fm.attention_entropy(mu, 1.0)):
        with pytest.raises(ValueError, match="where it is cut"):
            read(torus(0.0))
    # In an interval the density at the seam would count as two ends.
    wave = jnp.cos(2 * jnp.pi * (jnp.arange(64.0) + 0.5) / 64)
    glued, moved = (fm.GridDensity(1 + k * wave, 0.0, 4.0, periodic=True) for k in (1, -1))
    one, two = (fm.soft_number_of_clusters(mu, 0.3) for mu in (glued, moved))
    assert np.isclose(one, two, rtol=1e-10)


def test_a_cluster_of_dictionaries_over_a_seam():
    points = {"angle": jnp.array([[0.1], [3.9], [2.0]]), "age": jnp.array([[1.0], [1.2], [7.0]])}
    space = fm.Product({"angle": fm.Torus(4.0), "age": fm.Euclidean()})
    merged = fm.merge_clusters(fm.Particles(points, space=space), 0.3)
    np.testing.assert_allclose(merged.x["angle"] % 4, [[0.0], [2.0]], atol=1e-12)
    np.testing.assert_allclose(merged.x["age"], [[1.1], [7.0]], rtol=1e-12)
