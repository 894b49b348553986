"""Martingale transport: two and three points by hand, the bounds of a straddle, its dual."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowjax_measures as fm


def atoms(x, w):
    return fm.Particles(jnp.asarray(x, float)[:, None], jnp.log(jnp.asarray(w, float)))


def straddle(x, y):
    return jnp.abs(y - x).sum()


def test_two_atoms_onto_three_by_hand():
    """From ±1 to −2, 0, 2 with halves and quarters: one plan alone is a martingale."""
    mu, nu = atoms([-1, 1], [0.5, 0.5]), atoms([-2, 0, 2], [0.25, 0.5, 0.25])
    found = fm.martingale_transport(mu, nu, straddle)
    np.testing.assert_allclose(found.plan, [[0.25, 0.25, 0], [0, 0.25, 0.25]], atol=1e-12)
    np.testing.assert_allclose(found.value, 1, rtol=1e-12)


def test_the_left_curtain():
    """c = (y − x)³ has c_xyy < 0: of points x < x′ the paths of x′ don't go between those of x."""
    mu, nu = atoms([-0.5, 0.0, 0.5], [1 / 3] * 3), atoms([-2, -1, 0, 1, 2], [0.2] * 5)
    found = fm.martingale_transport(mu, nu, lambda x, y: ((y - x) ** 3).sum())
    plan, y = np.asarray(found.plan), np.array([-2, -1, 0, 1, 2])
    for early in range(3):
        low, high = y[plan[early] > 1e-9][[0, -1]]
        for late in range(early + 1, 3):
            between = (y > low) & (y < high)
            np.testing.assert_allclose(plan[late, between], 0, atol=1e-9)


def test_bounds_of_a_straddle_and_their_hedges():
    mu, nu = (
        atoms([-0.7, 0.1, 0.5], [0.3, 0.3, 0.4]),
        atoms([-2, -0.4, 0.3, 1.9], [0.1, 0.5, 0.2, 0.2]),
    )
    shift = float(nu.mean()[0] - mu.mean()[0])
    nu = atoms(np.asarray(nu.x[:, 0]) - shift, [0.1, 0.5, 0.2, 0.2])
    low = fm.martingale_transport(mu, nu, straddle)
    high = fm.martingale_transport(mu, nu, straddle, maximize=True)
    assert low.value < high.value
    gap = nu.x[None, :, 0] - mu.x[:, None, 0]
    for found, side in ((low, 1), (high, -1)):
        np.testing.assert_allclose(jnp.sum(found.plan * gap, 1), 0, atol=1e-12)
        np.testing.assert_allclose(found.plan.sum(1), jnp.exp(mu.log_w), atol=1e-12)
        price = found.f @ jnp.exp(mu.log_w) + found.g @ jnp.exp(nu.log_w)
        np.testing.assert_allclose(price, found.value, rtol=1e-10)
        hedge = found.f[:, None] + found.g + found.h * gap
        assert np.all(side * (jnp.abs(gap) - hedge) >= -1e-10)
    # The quadratic cost is the same for all martingales.
    square = fm.martingale_transport(mu, nu, lambda x, y: ((y - x) ** 2).sum()).value
    np.testing.assert_allclose(square, (nu.covariance() - mu.covariance())[0, 0], rtol=1e-10)

    def value(e):
        y = nu.x + e * jnp.array([[1.0], [-0.2], [0.0], [0.0]])
        return fm.martingale_transport(mu, fm.Particles(y, nu.log_w), straddle).value

    np.testing.assert_allclose(jax.grad(value)(0.0), (value(1e-6) - value(-1e-6)) / 2e-6, rtol=1e-4)


def test_what_is_no_martingale_is_refused():
    mu, nu = atoms([-1, 1], [0.5, 0.5]), atoms([-0.5, 0.5], [0.5, 0.5])
    with pytest.raises(ValueError, match="convex order"):
        fm.martingale_transport(mu, nu, straddle)
    with pytest.raises(ValueError, match="`jit`"):
        jax.jit(lambda mu: fm.martingale_transport(mu, nu, straddle).value)(nu)
