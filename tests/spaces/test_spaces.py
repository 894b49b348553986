"""Projections, nearest points, distances."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

X, Y = (jr.normal(jr.key(i), (3,)) for i in range(2))
PAIRS = {
    "euclidean": (fm.Euclidean(), X, Y),
    "sphere": (fm.Sphere(), X / jnp.linalg.norm(X), Y / jnp.linalg.norm(Y)),
    "stiefel": (
        fm.Stiefel(),
        *(fm.Stiefel().nearest(jr.normal(jr.key(i), (4, 2))) for i in range(2)),
    ),
    "simplex": (fm.Simplex(), jax.nn.softmax(X), jax.nn.softmax(Y)),
    "torus": (fm.Torus(2 * np.pi), X % (2 * np.pi), Y % (2 * np.pi)),
    "product": (
        fm.Product({"a": fm.Sphere(), "b": fm.Euclidean()}),
        {"a": X / jnp.linalg.norm(X), "b": X},
        {"a": Y / jnp.linalg.norm(Y), "b": Y},
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_projection_nearest_and_distance(name):
    space, x, y = PAIRS[name]
    v = jax.tree.map(lambda a: jnp.cos(3 * a), y)
    once = space.project(x, v)
    for a, b in zip(jax.tree.leaves(space.project(x, once)), jax.tree.leaves(once), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-15)
    for a, b in zip(jax.tree.leaves(space.nearest(x)), jax.tree.leaves(x), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-15)
    assert space.distance(x, x) == 0
    np.testing.assert_allclose(space.distance(x, y), space.distance(y, x), rtol=1e-14)
    # A short tangent step moves by its length, to second order.
    h = 1e-5
    moved = space.nearest(jax.tree.map(lambda a, b: a + h * b, x, once))
    length = jnp.sqrt(sum(jnp.sum(a**2) for a in jax.tree.leaves(once)))
    np.testing.assert_allclose(space.distance(x, moved), h * length, rtol=1e-4)


def test_sphere_distances_keep_their_digits():
    x = jnp.array([1.0, 0.0])
    for angle in (1e-12, 1.0, np.pi - 1e-9):
        y = jnp.array([np.cos(angle), np.sin(angle)])
        np.testing.assert_allclose(fm.Sphere().distance(x, y), angle, rtol=1e-14)
    assert np.isfinite(jax.grad(lambda y: fm.Sphere().distance(x, y))(x)).all()


def test_torus_goes_the_short_way():
    torus = fm.Torus(1.0)
    np.testing.assert_allclose(
        torus.displacement(jnp.array([0.9]), jnp.array([0.1])), [-0.2], atol=1e-15
    )
    np.testing.assert_allclose(torus.nearest(jnp.array([-0.25, 3.5])), [0.75, 0.5])


def test_phase_space_keeps_momenta_tangent():
    space = fm.PhaseSpace(fm.Sphere())
    point = space.nearest(fm.Phase(2 * X, Y))
    np.testing.assert_allclose(jnp.linalg.norm(point.q), 1, rtol=1e-15)
    np.testing.assert_allclose(jnp.vdot(point.q, point.p), 0, atol=1e-15)


def test_a_box_reflects_keeps_and_absorbs():
    x = jnp.array([-0.3, 1.2, 2.6, 0.4])
    np.testing.assert_allclose(fm.Box(0.0, 1.0).nearest(x), [0.3, 0.8, 0.6, 0.4], atol=1e-15)
    np.testing.assert_allclose(fm.Box(0.0, 1.0, "clip").nearest(x), [0, 1, 1, 0.4])
    half = fm.Box(jnp.array([0.0, -jnp.inf]), jnp.array([jnp.inf, 2.0]))
    np.testing.assert_allclose(half.nearest(jnp.array([-0.5, 2.5])), [0.5, 1.5])
    with pytest.raises(ValueError, match="`walls`"):
        fm.Box(0.0, 1.0, "open")
    with pytest.raises(ValueError, match="`lower`"):
        fm.Box(jnp.array([0.0, 2.0]), 1.0)


def test_reflected_brownian_motion_becomes_uniform():
    """On [0, L] the first mode decays at π²/2L²: E cos(πX/L) = cos(πx₀/L) e^{−π²t/2L²}."""
    length, start, time, n = 2.0, 0.3, 0.5, 4000
    law = fm.Custom(lambda t, x, mu: fm.Rates(0 * x, fm.Isotropic(1.0)))
    mu = fm.Particles(jnp.full((n, 1), start), space=fm.Box(0.0, length))
    x = fm.simulate(law, mu, [0.0, time], dt=0.01, key=jr.key(0)).final.x[:, 0]
    assert x.min() >= 0 and x.max() <= length
    mode = np.cos(np.pi * np.asarray(x) / length)
    exact = np.cos(np.pi * start / length) * np.exp(-(np.pi**2) * time / (2 * length**2))
    assert abs(mode.mean() - exact) < 4 * mode.std() / np.sqrt(n) + 1e-3


def test_a_run_between_walls_one_of_which_is_at_infinity():
    strip = fm.Box(jnp.zeros(2), jnp.array([1.0, jnp.inf]))
    drift = fm.Custom(lambda t, x, mu: jnp.ones_like(x))
    start = fm.Particles(jnp.array([[0.5, 0.5]]), space=strip)
    end = fm.simulate(drift, start, [0.0, 1.0], dt=0.25).final
    # 3/4, 1, then from 5/4 back to 3/4, and 1 again; the other coordinate is free.
    np.testing.assert_allclose(end.x, [[1.0, 1.5]], atol=1e-12)


def test_absorbed_points_stay():
    law = fm.Custom(lambda t, x, mu: jnp.array([1.0, -0.1]))
    mu = fm.Particles(jnp.array([[0.5, 0.5], [0.95, 0.5]]), space=fm.Box(0.0, 1.0, "absorb"))
    final = fm.simulate(law, mu, [0.0, 0.4], dt=0.05, solver=diffrax.Euler()).final.x
    np.testing.assert_allclose(final, [[0.9, 0.46], [1.0, 0.495]], atol=1e-12)
