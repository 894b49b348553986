"""Kinetic transport against cubic splines, control theory and an enumeration of plans."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.linalg import sqrtm

import flowjax_measures as fm

T = 1.7


def cost(x, v, y, w):
    """12‖(y − x)/T − (v + w)/2‖² + ‖v − w‖², over T."""
    middle = (y - x) / T - (v + w) / 2
    return (12 * np.sum(middle**2) + np.sum((v - w) ** 2)) / T


def phases(seed, n=4):
    q, p = jr.normal(jr.key(seed), (2, n, 2))
    return fm.Particles(fm.Phase(q, p))


def test_cost_of_two_phases_is_the_action_of_the_cubic():
    mu, nu = phases(0, 1), phases(1, 1)
    ends = [np.asarray(a[0]) for a in (mu.x.q, mu.x.p, nu.x.q, nu.x.p)]
    value = fm.kinetic_cost(mu, nu, T)
    np.testing.assert_allclose(value, cost(*ends), rtol=1e-13)
    at = jax.jit(lambda t: fm.kinetic_interpolation(mu, nu, t, T).x)
    force = jax.jit(jax.jacfwd(lambda t: at(t).p[0]))
    action = quad(lambda t: float(jnp.sum(force(t) ** 2)), 0, T)[0]
    np.testing.assert_allclose(value, action, rtol=1e-10)
    for t, (q, p) in ((0.0, ends[:2]), (T, ends[2:])):
        np.testing.assert_allclose(at(t).q[0], q, atol=1e-13)
        np.testing.assert_allclose(at(t).p[0], p, atol=1e-13)
    velocity = jax.jacfwd(lambda t: at(t).q[0])
    np.testing.assert_allclose(velocity(0.4), at(0.4).p[0], rtol=1e-13)


def test_plan_is_the_best_of_all():
    mu, nu = phases(2), phases(3)
    pairs = np.array([
        [cost(*map(np.asarray, (mu.x.q[i], mu.x.p[i], nu.x.q[j], nu.x.p[j]))) for j in range(4)]
        for i in range(4)
    ])  # fmt: skip
    orders = map(list, itertools.permutations(range(4)))
    best = min(pairs[np.arange(4), order].mean() for order in orders)
    np.testing.assert_allclose(fm.kinetic_cost(mu, nu, T), best, rtol=1e-12)
    # Free motion costs nothing; its return does.
    free = fm.Particles(fm.Phase(mu.x.q + T * mu.x.p, mu.x.p))
    np.testing.assert_allclose(fm.kinetic_cost(mu, free, T), 0, atol=1e-14)
    assert fm.kinetic_cost(free, mu, T) > 1
    # The way passes through measures between which the rest of the cost is what remains of time.
    half = fm.kinetic_interpolation(mu, nu, 0.6, T)
    parts = fm.kinetic_cost(mu, half, 0.6) + fm.kinetic_cost(half, nu, T - 0.6)
    np.testing.assert_allclose(parts, best, rtol=1e-11)


def test_gaussians_by_the_gramian_of_control():
    mu = fm.Gaussian(jnp.array([0.3, -0.2]), jnp.array([[1.0, 0.3], [0.3, 0.5]]))
    nu = fm.Gaussian(jnp.array([-0.5, 0.4]), jnp.array([[0.6, -0.2], [-0.2, 0.9]]))
    flow = np.array([[1.0, T], [0.0, 1.0]])
    inverse = np.linalg.inv([[T**3 / 3, T**2 / 2], [T**2 / 2, T]])
    a, b = flow @ np.asarray(mu.cov) @ flow.T, np.asarray(nu.cov)
    gap = np.asarray(nu.m) - flow @ np.asarray(mu.m)
    # Every coupling has E(z'zᵀ) = b^½ U a^½ with a contraction U; isometries are the extreme ones.
    half = np.real(sqrtm(a)) @ inverse @ np.real(sqrtm(b))
    best = np.linalg.svd(half, compute_uv=False).sum()
    exact = gap @ inverse @ gap + np.trace(inverse @ (a + b)) - 2 * best
    np.testing.assert_allclose(fm.kinetic_cost(mu, nu, T), exact, rtol=1e-11)
    end = fm.kinetic_interpolation(mu, nu, T, T)
    np.testing.assert_allclose(end.m, nu.m, atol=1e-12)
    np.testing.assert_allclose(end.cov, nu.cov, atol=1e-11)
    half = fm.kinetic_interpolation(mu, nu, 0.6, T)
    parts = fm.kinetic_cost(mu, half, 0.6) + fm.kinetic_cost(half, nu, T - 0.6)
    np.testing.assert_allclose(parts, exact, rtol=1e-9)


def test_transport_splines_are_natural_splines_along_maps():
    times = jnp.array([0.0, 0.5, 1.5, 2.0])
    spread = np.array([1.0, 0.6, 1.4, 0.8])
    mean = np.array([0.0, 1.0, -0.5, 0.3])
    gaussians = [
        fm.Gaussian(jnp.array([m]), jnp.array([[s**2]])) for m, s in zip(mean, spread, strict=True)
    ]
    spline = lambda y: CubicSpline(times, y, bc_type="natural")(0.9)  # noqa: E731
    found = fm.transport_spline(gaussians, times, 0.9)
    np.testing.assert_allclose(found.m, [spline(mean)], rtol=1e-12)
    np.testing.assert_allclose(found.cov, [[spline(spread) ** 2]], rtol=1e-10)
    # On the line, maps keep the order of the points.
    clouds = [fm.Particles(jr.normal(jr.key(i), (5, 1))) for i in range(4)]
    ordered = np.stack([np.sort(c.x[:, 0]) for c in clouds])
    moved = fm.transport_spline(clouds, times, 0.9).x[:, 0]
    np.testing.assert_allclose(np.sort(moved), np.sort(spline(ordered)), rtol=1e-12)


def test_measures_without_velocities_are_refused():
    with pytest.raises(ValueError, match="Phase"):
        fm.kinetic_cost(fm.Particles(jnp.ones((3, 2))), fm.Particles(jnp.ones((3, 2))))
