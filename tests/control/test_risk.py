"""Means of the worst, and controls that make them least."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

import flowjax_measures as fm

GAPS = jr.normal(jr.key(0), (7,)) ** 3
MASSES = jnp.array([0.1, 0.2, 0.05, 0.25, 0.15, 0.05, 0.2])


def least(values, masses, level):
    """The minimum over c of Rockafellar and Uryasev."""
    cost = lambda c: c + masses @ np.maximum(values - c, 0) / (1 - level)  # noqa: E731
    return min(cost(c) for c in np.asarray(values))


RISK = jax.jit(fm.conditional_value_at_risk)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_it_is_the_minimum_over_thresholds(level):
    risk = lambda z, w: RISK(z, level, w)  # noqa: E731
    found = risk(GAPS, MASSES)
    wanted = jnp.max(GAPS) if level == 1 else least(GAPS, MASSES, level)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    slope = jax.grad(risk)(GAPS, MASSES)
    np.testing.assert_allclose(jnp.sum(slope), 1, rtol=1e-12)
    move = jnp.sin(jnp.arange(7.0))
    ahead, behind = (risk(GAPS + h * move, MASSES) for h in (1e-6, -1e-6))
    np.testing.assert_allclose((ahead - behind) / 2e-6, slope @ move, rtol=1e-7, atol=1e-9)
    # Half of an atom twice is the atom; what has no mass counts for nothing, what is unknown does.
    split, halves = jnp.append(GAPS, GAPS[1]), jnp.append(MASSES.at[1].set(0.1), 0.1)
    np.testing.assert_allclose(risk(split, halves), found, rtol=1e-12)
    np.testing.assert_allclose(risk(jnp.append(GAPS, jnp.nan), jnp.append(MASSES, 0.0)), found)
    assert jnp.isnan(risk(GAPS.at[2].set(jnp.nan), MASSES))


def test_the_best_shift_of_points_to_their_targets():
    """ẋ = u: the mean of the gaps at level 0, their middle at 1."""
    points = fm.Particles((jnp.zeros(7), GAPS), weights=MASSES)
    field = lambda z, u: (u, jnp.zeros(()))  # noqa: E731

    @jax.jit
    def cost(u, level):
        flow = fm.ControlledFlow(field, jnp.full(2, u))
        ends = lambda z: (z[0] - z[1]) ** 2  # noqa: E731
        return fm.pontryagin(flow, points, ends, dt=0.5, level=level)

    wanted = {0.0: MASSES @ GAPS, 0.6: None, 1.0: (jnp.min(GAPS) + jnp.max(GAPS)) / 2}
    for level, middle in wanted.items():
        value = lambda u, level=level: float(cost(u, level).value)  # noqa: E731
        if middle is not None:
            best = minimize_scalar(value, bounds=(-5, 5), method="bounded").x
            np.testing.assert_allclose(best, middle, atol=1e-4)
        if level < 1:
            np.testing.assert_allclose(value(0.4), least((0.4 - GAPS) ** 2, MASSES, level))
        slope = (value(0.4 + 1e-6) - value(0.4 - 1e-6)) / 2e-6
        np.testing.assert_allclose(jnp.sum(cost(0.4, level).gradient), slope, rtol=1e-7)


def test_wrong_levels_are_named():
    with pytest.raises(ValueError, match="`level`"):
        fm.conditional_value_at_risk(GAPS, 1.5)
    assert jnp.isnan(jax.jit(fm.conditional_value_at_risk)(GAPS, -0.1))
    flow = fm.ControlledFlow(lambda x, c: c - x, jnp.zeros((2, 1)))
    ball = fm.Gaussian(jnp.zeros(1), jnp.eye(1))
    with pytest.raises(ValueError, match="`level`"):
        fm.pontryagin(flow, ball, lambda x: x[0], dt=0.5, level=0.5)


@pytest.mark.slow
def test_maps_that_are_best_in_the_mean_and_at_worst():
    """Fields that are not affine, driven to a bent map: each level has its own best controls."""
    fields = lambda x: jnp.stack(  # noqa: E731
        [jnp.ones(2), x, jnp.sin(x), jnp.roll(jnp.sin(x), 1), jnp.array([x[1], -x[0]])]
    )
    field, x = fm.ControlLinear(fields), jr.normal(jr.key(0), (60, 2))
    pairs = fm.Particles((x, x + 0.5 * jnp.abs(x[:, ::-1])))
    ends = lambda z: jnp.sum((z[0] - z[1]) ** 2)  # noqa: E731

    @jax.jit
    def value(u, level):
        flow = fm.ControlledFlow(field, u.reshape(4, 5))
        running = lambda u: 5e-4 * jnp.sum(u**2)  # noqa: E731
        found = fm.pontryagin(flow, pairs, ends, running, dt=0.125, level=level)
        return found.value, found.gradient.ravel()

    levels, risks, best = (0.0, 0.8), [], np.zeros(20)
    for level in levels:
        best = minimize(lambda u, a=level: value(u, a), best, jac=True, method="L-BFGS-B").x
        risks.append([float(value(best, a)[0]) for a in levels])
    start = [float(value(jnp.zeros(20), a)[0]) for a in levels]
    assert risks[0][0] < risks[1][0] < start[0] and risks[1][1] < risks[0][1] < start[1]
