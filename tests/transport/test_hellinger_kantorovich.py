"""The Hellinger–Kantorovich distance against closed forms, a solver and its dynamics."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import minimize

import flowjax_measures as fm


def atoms(x, masses):
    return fm.Particles(jnp.asarray(x, float), jnp.log(jnp.asarray(masses, float)))


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 4.0), (0.7, 1.3)])
def test_two_atoms(alpha, beta):
    scale = np.sqrt(beta / (4 * alpha))
    for gap in (0.0, 0.4, 1.0, 10.0):
        mu, nu = atoms([[0.0]], [2.0]), atoms([[gap]], [0.5])
        cosine = np.cos(min(scale * gap, np.pi / 2))
        exact = 4 / beta * (2.5 - 2 * np.sqrt(1.0) * cosine)
        found = fm.hellinger_kantorovich(mu, nu, alpha, beta)
        np.testing.assert_allclose(found**2, exact, rtol=1e-12)


def clouds():
    x, y = jr.normal(jr.key(0), (4, 2)), jr.normal(jr.key(1), (3, 2)) + 0.3
    return atoms(x, [0.4, 0.1, 0.9, 0.3]), atoms(y, [0.8, 0.2, 0.5])


def test_optimum_is_that_of_a_solver():
    mu, nu = clouds()
    a, b = np.exp(mu.log_w), np.exp(nu.log_w)
    angle = np.minimum(np.linalg.norm(mu.x[:, None] - nu.x[None], axis=-1), np.pi / 2)

    # The dual: max Σ a (1 − u) + Σ b (1 − v) over u_i v_j ≥ cos², in logarithms convex.
    def value(z):
        u, v = np.exp(-z[:4]), np.exp(-z[4:])
        return -(a @ (1 - u) + b @ (1 - v)), np.concatenate([-a * u, -b * v])

    pairs = [(i, j) for i in range(4) for j in range(3) if angle[i, j] < np.pi / 2]
    cost = {(i, j): -2 * np.log(np.cos(angle[i, j])) for i, j in pairs}
    constraints = [
        {"type": "ineq", "fun": lambda z, i=i, j=j: cost[i, j] - z[i] - z[4 + j]} for i, j in pairs
    ]
    best = minimize(
        value, np.zeros(7), jac=True, constraints=constraints, method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    np.testing.assert_allclose(fm.hellinger_kantorovich(mu, nu) ** 2, -best.fun, rtol=1e-7)


def test_limits_are_transport_and_hellinger():
    x, y = jr.normal(jr.key(2), (4, 2)), jr.normal(jr.key(3), (4, 2))
    mu, nu = atoms(x, np.full(4, 0.25)), atoms(y, np.full(4, 0.25))
    slow = fm.hellinger_kantorovich(mu, nu, 2.0, 1e-3)
    np.testing.assert_allclose(slow, fm.wasserstein(mu, nu) / np.sqrt(2.0), rtol=2e-3)
    # Far apart nothing travels: all is unmade and made.
    far = fm.hellinger_kantorovich(mu, atoms(x, [0.1, 0.2, 0.3, 0.4]), 1e-8, 4.0)
    exact = np.sum((np.sqrt(0.25) - np.sqrt([0.1, 0.2, 0.3, 0.4])) ** 2)
    np.testing.assert_allclose(far**2, exact, rtol=1e-10)


def test_derivative_is_that_of_differences():
    mu, nu = clouds()
    value = jax.jit(lambda x, w: fm.hellinger_kantorovich(fm.Particles(x, w), nu))
    slope_x, slope_w = jax.grad(value, (0, 1))(mu.x, mu.log_w)
    dx, dw = jr.normal(jr.key(4), mu.x.shape), jr.normal(jr.key(5), mu.log_w.shape)
    h = 1e-5
    by_x = value(mu.x + h * dx, mu.log_w) - value(mu.x - h * dx, mu.log_w)
    by_w = value(mu.x, mu.log_w + h * dw) - value(mu.x, mu.log_w - h * dw)
    np.testing.assert_allclose(jnp.vdot(slope_x, dx), by_x / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(jnp.vdot(slope_w, dw), by_w / (2 * h), rtol=1e-6)


def test_flow_of_least_length_reaches_it():
    """Two atoms: v = α ξ′ and g = β ξ along a geodesic; its length is the distance."""
    # An atom of mass r² moves on the cone: angle θ = √(β/4α) x, radius r, at constant speed.
    alpha, beta, t = 0.7, 1.3, np.linspace(0, 1, 2001)
    scale = np.sqrt(beta / (4 * alpha))
    ends = np.array([np.sqrt(2.0), np.sqrt(0.5) * np.exp(1j * scale * 0.9)])
    path = (1 - t) * ends[0] + t * ends[1]
    mass, place = np.abs(path) ** 2, np.angle(path) / scale
    middle = (mass[1:] + mass[:-1]) / 2
    v, g = np.diff(place) / np.diff(t), np.diff(np.log(mass)) / np.diff(t)
    action = np.sum(middle * (v**2 / alpha + g**2 / beta) * np.diff(t))
    found = fm.hellinger_kantorovich(atoms([[0.0]], [2.0]), atoms([[0.9]], [0.5]), alpha, beta)
    np.testing.assert_allclose(found**2, action, rtol=1e-5)


def test_many_atoms_need_no_matrix(monkeypatch):
    """On the host, some out of reach of all others, beside compiled code."""
    x = jr.normal(jr.key(2), (14, 2)).at[2].set(jnp.array([9.0, 9.0]))
    y, w = jr.normal(jr.key(3), (11, 2)) + 0.3, jr.uniform(jr.key(4), (11,)).at[1].set(0.0)

    def distance(x, beta):
        return fm.hellinger_kantorovich(fm.Particles(x), fm.Particles(y, weights=w), 1.0, beta)

    both = jax.value_and_grad(distance, (0, 1))
    known, slopes = jax.jit(both)(x, 6.0)
    monkeypatch.setattr("flowjax_measures.transport._hellinger_kantorovich.LARGEST", 0)
    found, ours = both(x, 6.0)
    np.testing.assert_allclose(found, known, rtol=1e-9)
    for one, two in zip(ours, slopes, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("seed", [1, 3, 12, 18, 29])
def test_atoms_out_of_reach_leave_the_others_their_digits(seed):
    """Moved far away, or with an atom of mass zero, it is the same distance."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(5, 3)) + 0.5
    a, b = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(5))

    def distance(x, y, a):
        return fm.hellinger_kantorovich(
            fm.Particles(jnp.asarray(x), weights=jnp.asarray(a)),
            fm.Particles(jnp.asarray(y), weights=jnp.asarray(b)),
        )

    found = distance(x, y, a)
    np.testing.assert_allclose(distance(x + 1000, y + 1000, a), found, rtol=1e-9)
    more = np.concatenate([x, y[:1]]), y, np.append(a, 0.0)
    np.testing.assert_allclose(distance(*more), found, rtol=1e-9)
