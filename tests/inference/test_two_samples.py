"""Two-sample tests: statistics against other code, calibrated p-values, power; evaluation."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import kstest, wasserstein_distance

import flowjax_measures as fm

STATISTICS = ["mmd", "energy", "sliced", "classifier"]
X, Y = jr.normal(jr.key(0), (24, 2)), jr.normal(jr.key(1), (36, 2)) + jnp.array([0.3, 0.0])


def test_statistics_are_the_distances():
    mu, nu = fm.Particles(X), fm.Particles(Y)
    mmd = fm.two_sample_test(X, Y, key=jr.key(0), permutations=9, bandwidth=0.8)
    np.testing.assert_allclose(mmd.statistic, fm.mmd(mu, nu, fm.GaussianKernel(0.8)), rtol=1e-10)
    energy = fm.two_sample_test(mu, nu, key=jr.key(0), statistic="energy", permutations=9)
    np.testing.assert_allclose(energy.statistic, fm.energy_distance(mu, nu), rtol=1e-10)
    assert mmd.null.shape == energy.null.shape == (9,)
    # On the line every direction is ±1: W₂ by the quantiles of 24 and 36 points.
    line = fm.two_sample_test(X[:, :1], Y[:, :1], key=jr.key(0), statistic="sliced", permutations=9)
    x, y = (np.repeat(np.sort(a[:, 0]), 72 // len(a)) for a in (X, Y))
    np.testing.assert_allclose(line.statistic, np.sqrt(np.mean((x - y) ** 2)), rtol=1e-10)
    assert line.statistic >= wasserstein_distance(X[:, 0], Y[:, 0])


@pytest.mark.parametrize("statistic", STATISTICS)
def test_p_values_are_calibrated_and_see_a_shift(statistic):
    def p_value(key, shift):
        one, two, three = jr.split(key, 3)
        x, y = jr.normal(one, (20, 2)), shift + jr.normal(two, (30, 2))
        return fm.two_sample_test(
            x, y, key=three, statistic=statistic, permutations=39, directions=8
        ).p_value

    found = jax.jit(lambda keys, shift: jax.lax.map(lambda k: p_value(k, shift), keys))
    same = np.asarray(found(jr.split(jr.key(2), 200), 0.0))
    # Multiples of 1/40: at α the share is at most α, and near it where few values are equal.
    for alpha in (0.05, 0.25, 0.5):
        error = np.sqrt(alpha * (1 - alpha) / 200)
        assert np.mean(same <= alpha + 1e-9) < alpha + 3.5 * error
        if statistic != "classifier":
            assert np.mean(same <= alpha + 1e-9) > alpha - 3.5 * error
    if statistic != "classifier":
        # Uniform on 1/40, …, 1: a distance of 1/40 is that of the steps.
        assert kstest(same - 1 / 80, "uniform").statistic < 1.63 / np.sqrt(200) + 1 / 40
    other = np.asarray(found(jr.split(jr.key(3), 40), 1.2))
    assert np.mean(other <= 0.05 + 1e-9) > 0.8


def test_evaluation_by_hand():
    found = fm.evaluate(X, Y, neighbors=3)
    x, y = np.asarray(X), np.asarray(Y)
    xx, xy, yy = cdist(x, x), cdist(x, y), cdist(y, y)
    reach_x, reach_y = np.sort(xx, 1)[:, 3], np.sort(yy, 1)[:, 3]
    assert found.precision == pytest.approx(np.mean((xy <= reach_y).any(1)))
    assert found.recall == pytest.approx(np.mean((reach_x >= xy.T).any(1)))
    assert found.density == pytest.approx(np.mean((xy <= reach_y).sum(1) / 3))
    assert found.coverage == pytest.approx(np.mean((xy <= reach_y).any(0)))
    energy = fm.energy_distance(fm.Particles(X), fm.Particles(Y))
    assert found.energy_distance == pytest.approx(energy) and found.test is None
    far = fm.evaluate(X, Y + 100.0, key=jr.key(0))
    assert far.precision == far.recall == far.coverage == 0 and far.test.p_value == 1 / 500


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: fm.two_sample_test(X[:, 0], Y, key=jr.key(0)), "`x`"),
        (lambda: fm.two_sample_test(X, Y.at[0, 0].set(jnp.nan), key=jr.key(0)), "`y`"),
        (lambda: fm.two_sample_test(X, Y[:, :1], key=jr.key(0)), "`y`"),
        (lambda: fm.two_sample_test(X, Y, key=jr.key(0), permutations=0), "`permutations`"),
        (lambda: fm.two_sample_test(X, Y, key=jr.key(0), bandwidth=-1.0), "`bandwidth`"),
        (
            lambda: fm.two_sample_test(fm.Particles(X, weights=jnp.arange(24.0)), Y, key=jr.key(0)),
            "`x` has weights",
        ),
        (lambda: fm.evaluate(X[:4], Y), "`neighbors`"),
    ],
)
def test_refused(call, name):
    with pytest.raises(ValueError, match=name):
        call()
