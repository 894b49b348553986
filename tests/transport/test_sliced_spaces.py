"""Sliced distances on spheres and tori against quadrature, POT and enumeration."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import ot
import pytest

import flowjax_measures as fm


def cloud(key, n, d, space, weighted=False):
    place, weigh = jr.split(jr.key(key))
    weights = jr.uniform(weigh, (n,)) if weighted else None
    weights = weights / weights.sum() if weighted else None
    return fm.Particles(jr.normal(place, (n, d)), weights=weights, space=space).retract()


def test_great_circles_of_two_points():
    """δ_x and δ_y: the mean of the squared angle of their shadows, over the normals of planes."""
    x, y = jnp.array([1.0, 0.0, 0.0]), jnp.array([np.cos(1.1), np.sin(1.1), 0.0])
    heights, shares = np.polynomial.legendre.leggauss(300)
    turns = 2 * np.pi * (np.arange(600) + 0.5) / 600
    z, phi = np.meshgrid(heights, turns, indexing="ij")
    normal = np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z], -1)
    one, two = (p - (normal @ p)[..., None] * normal for p in (np.asarray(x), np.asarray(y)))
    angle = np.arctan2(np.linalg.norm(np.cross(one, two), axis=-1), np.sum(one * two, -1))
    expected = np.sqrt(shares @ np.mean(angle**2, axis=1) / 2)
    mu, nu = (fm.Particles(p[None], space=fm.Sphere()) for p in (x, y))
    # 512 planes know the jump of the angle at the poles of x and y to their distance.
    np.testing.assert_allclose(fm.sliced_wasserstein(mu, nu), expected, rtol=4e-3)


@pytest.mark.parametrize("d", [2, 4])
def test_great_circles_are_those_of_pot(d):
    # There the length of a circle is one, here 2π.
    mu, nu = cloud(0, 7, d, fm.Sphere(), True), cloud(1, 5, d, fm.Sphere(), True)
    planes = jr.normal(jr.key(2), (6, 2, d))
    frames = np.linalg.qr(np.swapaxes(planes, 1, 2))[0]
    a, b = (np.exp(m.log_w) for m in (mu, nu))
    known = ot.sliced_wasserstein_sphere(
        np.asarray(mu.x), np.asarray(nu.x), a, b, 6, projections=frames
    )
    found = fm.sliced_wasserstein(mu, nu, planes)
    np.testing.assert_allclose(found, 2 * np.pi * known, rtol=1e-6)
    if d == 2:
        np.testing.assert_allclose(fm.sliced_wasserstein(mu, nu), fm.wasserstein(mu, nu))


def test_phases_of_a_torus():
    # Of two points the shadow along k is |frac(⟨k, z/L⟩)| / ‖k/L‖, z their difference.
    lengths = np.array([1.0, 3.0])
    space = fm.Torus(jnp.asarray(lengths))
    x, y = np.array([[0.1, 0.4]]), np.array([[0.95, 2.2]])
    mu, nu = (fm.Particles(jnp.asarray(p), space=space) for p in (x, y))
    k = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, -1.0]])
    turns = (k / lengths) @ (x - y)[0]
    square = ((turns - np.round(turns)) / np.linalg.norm(k / lengths, axis=1)) ** 2
    weights = np.array([1.0, 2.0, 0.0, 3.0])
    for w in (None, weights):
        found = fm.sliced_wasserstein(mu, nu, jnp.asarray(k), None if w is None else jnp.asarray(w))
        np.testing.assert_allclose(found, np.sqrt(np.average(square, weights=w)), rtol=1e-12)


@pytest.mark.slow
def test_slices_are_shorter_and_move_with_the_space():
    for space, d in ((fm.Sphere(), 3), (fm.Torus(1.0), 2), (fm.Torus(1.0), 4)):
        mu, nu = cloud(3, 6, d, space, True), cloud(4, 6, d, space)
        value = fm.sliced_wasserstein(mu, nu)
        assert fm.sliced_wasserstein(mu, mu) < 1e-7 < value
        if isinstance(space, fm.Torus):
            assert value < fm.wasserstein(mu, nu)
            moved = [fm.Particles(m.x + 0.37, m.log_w, space).retract() for m in (mu, nu)]
            np.testing.assert_allclose(fm.sliced_wasserstein(*moved), value, rtol=1e-12)


def test_slices_have_their_derivative():
    mu, nu = cloud(5, 4, 3, fm.Sphere()), cloud(6, 4, 3, fm.Sphere())
    planes = jr.normal(jr.key(7), (5, 2, 3))
    value = lambda x: fm.sliced_wasserstein(fm.Particles(x, space=fm.Sphere()), nu, planes)  # noqa: E731
    slope = jax.grad(value)(mu.x)
    h = 1e-6 * jr.normal(jr.key(8), mu.x.shape)
    np.testing.assert_allclose(
        jnp.vdot(slope, h), (value(mu.x + h) - value(mu.x - h)) / 2, rtol=1e-5
    )
    assert jnp.isnan(value(mu.x.at[0, 0].set(jnp.nan)))


def test_what_no_circle_cuts_is_refused():
    torus = fm.Particles(jnp.ones((2, 2)) / 3, space=fm.Torus(1.0))
    sphere = fm.Particles(jnp.eye(3), space=fm.Sphere())
    with pytest.raises(ValueError, match="whole numbers"):
        fm.sliced_wasserstein(torus, torus, jnp.array([[0.5, 1.0]]))
    with pytest.raises(ValueError, match="great circles"):
        fm.sliced_wasserstein(sphere, sphere, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="cylinder"):
        wide = fm.Particles(torus.x, space=fm.Torus(jnp.array([1.0, jnp.inf])))
        fm.sliced_wasserstein(wide, wide)
    boxed = fm.Particles(torus.x, space=fm.Box())
    with pytest.raises(ValueError, match="Box"):
        fm.sliced_wasserstein(boxed, boxed)
