"""Maps of measures given as black boxes: transports or not, and by which map of points."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

X = jr.normal(jr.key(0), (5, 2))
MU = fm.Particles(X, weights=jnp.array([0.1, 0.3, 0.2, 0.15, 0.25]))
LAYER = fm.TransportMap(lambda x, mu: x + mu.mean(logits=lambda y: 2.0 * jnp.vdot(x, y)))


def test_a_layer_is_found_from_its_images_alone():
    def shuffled(mu):
        # The order of the image says nothing, and atoms of it may be there twice.
        image = LAYER(mu)
        order = jnp.array([3, 0, 4, 4, 1, 2])
        halves = jnp.log(jnp.array([1.0, 1.0, 0.25, 0.75, 1.0, 1.0]))
        return fm.Particles(image.x[order], image.log_weights()[order] + halves)

    found = fm.transport_representation(shuffled, MU)
    assert found.exists and np.all(found.split < 1e-3)
    assert np.allclose(found.points, LAYER(MU).x, atol=1e-12)


def test_equal_images_and_equal_atoms_are_told():
    # Two tokens go to one place; a third is there twice.
    x = jnp.concatenate([X, X[:1]])
    fold = lambda x, mu: jnp.abs(x[:1] - mu.mean()[:1])  # noqa: E731
    x = x.at[1, 0].set(1.0).at[2].set(jnp.array([1.0, 5.0]))
    mu = fm.Particles(x, weights=jnp.array([0.1, 0.3, 0.2, 0.15, 0.15, 0.1]))
    F = fm.TransportMap(fold)
    found = fm.transport_representation(F, mu)
    assert np.allclose(found.points, F(mu).x, atol=1e-12) and found.exists


def test_tokens_on_a_sphere():
    tokens = fm.initial.uniform_on_sphere(jr.key(1), 6, 3)
    network = fm.layers(fm.SelfAttention(beta=2.0), 3)
    found = fm.transport_representation(network, tokens)
    assert np.allclose(found.points, network(tokens).x, atol=1e-12)


def test_convolution_splits():
    def spread(mu):
        x = jnp.concatenate([mu.x - 0.3, mu.x + 0.3])
        return fm.Particles(
            x, jnp.tile(mu.log_weights(), 2) + jnp.log(jnp.array([0.3, 0.7])).repeat(5)
        )

    found = fm.transport_representation(spread, MU)
    assert not found.exists and np.allclose(found.split, 0.3, atol=1e-6)
    assert np.all(np.isnan(found.points))
    with pytest.raises(ValueError, match="`F` returned a Gaussian"):
        fm.transport_representation(lambda mu: fm.Gaussian(mu.mean(), jnp.eye(2)), MU)
    with pytest.raises(ValueError, match=r"`F` returned points.*mass 0\.9"):
        fm.transport_representation(lambda mu: fm.Particles(mu.x, mu.log_w + np.log(0.9)), MU)


def test_a_continuous_map_whose_points_jump():
    """f(x, μ) = g(x / W₁(μ, λ)^α), f(x, λ) = x: F is continuous at λ, f is not."""
    alpha = 0.5
    uniform = fm.GridDensity(jnp.ones(256), 0.0, 1.0)

    def zigzag(x):
        x = x % 1
        return 2 * jnp.minimum(x, 1 - x)

    F = fm.TransportMap(lambda x, mu: zigzag(x / fm.wasserstein(mu, uniform, p=1) ** alpha))
    distances, images = [], []
    for n in (50, 200, 800):
        mu = fm.Particles((jnp.arange(n, dtype=float)[:, None] + 0.5) / n)
        distances.append(float(fm.wasserstein(mu, uniform, p=1)))
        images.append(float(fm.wasserstein(F(mu), uniform, p=1)))
    assert np.allclose(distances, [0.25 / n for n in (50, 200, 800)], rtol=0.05)
    assert images[2] < images[1] < images[0] and images[2] < 0.03
    moved = [float(zigzag(0.5 / d**alpha)) for d in distances]
    assert max(abs(m - 0.5) for m in moved) > 0.1


@pytest.mark.slow
def test_images_of_other_measures_can_be_looked_at():
    gaussian = fm.Gaussian(jnp.array([0.3, -0.2]), jnp.array([[1.0, 0.3], [0.3, 0.5]]))
    matrix, shift = jnp.array([[2.0, -1.0], [0.5, 1.0], [0.0, 3.0]]), jnp.array([1.0, 0.0, -1.0])
    image = gaussian.push(lambda x: matrix @ x + shift)
    assert np.allclose(image.mean(), matrix @ gaussian.m + shift, atol=1e-13)
    assert np.allclose(image.covariance(), matrix @ gaussian.cov @ matrix.T, atol=1e-12)
    tilt = lambda y: 0.3 * y[0] - 0.1 * y[2]  # noqa: E731
    slope = matrix.T @ jnp.array([0.3, 0.0, -0.1])
    exact = jnp.vdot(tilt(shift + matrix @ gaussian.m), 1) + slope @ gaussian.cov @ slope / 2
    assert np.isclose(image.logmean(tilt), exact, rtol=1e-12)
    assert np.allclose(image.push(lambda y: y[:1]).mean(), image.mean()[:1])
    grid = fm.GridDensity(jnp.ones(64), 0.0, 2 * np.pi, True).push(fm.circle_chart)
    assert np.allclose(grid.mean(), 0, atol=1e-14)
    assert np.allclose(grid.covariance(), np.pi * np.eye(2) / (2 * np.pi), atol=1e-12)
    with pytest.raises(ValueError, match="does not flow"):
        fm.SelfAttention()(0.0, grid)
    slope = jax.grad(lambda a: gaussian.push(lambda x: a * x).covariance()[0, 0])(2.0)
    assert np.isclose(slope, 4.0, rtol=1e-12)
