"""`kalman_filter` with gaps, weights, times, smoothing, and from laws."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.optimization import kalman_filter

KEY = jr.key(0)
MODEL = np.array([[0.9, 0.3], [-0.2, 0.8]])
SEES = np.array([[1.0, 0.5], [0.0, 1.0]])
Q, R = 0.1 * np.eye(2), np.array([[0.3, 0.1], [0.1, 0.5]])
DATA = np.random.default_rng(0).normal(size=(6, 2))
GAPS = DATA.copy()
GAPS[1] = np.nan
GAPS[2, 0] = GAPS[4, 1] = np.nan


def kalman(mean, cov, data, q, steps=(1,) * 6):
    """The exact filter and smoother of a linear model, by the entries that are there."""
    means, covs, before = [], [], []
    for y, step in zip(data, steps, strict=True):
        m = np.linalg.matrix_power(MODEL, step)
        mean, cov = m @ mean, m @ cov @ m.T + step * q
        before.append((m, mean, cov))
        there = ~np.isnan(y)
        h, r = SEES[there], R[np.ix_(there, there)]
        gain = cov @ h.T @ np.linalg.inv(h @ cov @ h.T + r)
        mean, cov = mean + gain @ (y[there] - h @ mean), cov - gain @ h @ cov
        means.append(mean)
        covs.append(cov)
    later = [means[-1]]
    for k in reversed(range(len(data) - 1)):
        m, forecast, spread = before[k + 1]
        pull = covs[k] @ m.T @ np.linalg.inv(spread)
        later.insert(0, means[k] + pull @ (later[0] - forecast))
    return np.array(means), np.array(covs), np.array(later)


def run(start, data=GAPS, **kwargs):
    return kalman_filter(
        lambda x: jnp.asarray(MODEL) @ x, lambda x: jnp.asarray(SEES) @ x, start, data, R,
        **{"key": KEY} | kwargs,
    )  # fmt: skip


def ensemble(n=6):
    return fm.Particles(jr.normal(KEY, (n, 2)))


def test_gaps_leave_out_what_is_missing_alone():
    """A square root filter without model noise is Kalman's of its own first moments."""
    start = ensemble()
    x = np.asarray(start.x)
    means, covs, later = kalman(x.mean(0), np.cov(x.T), GAPS, 0.0)
    found = run(start, form="square_root", smoother=True)
    np.testing.assert_allclose(found.mean, means, atol=1e-12)
    np.testing.assert_allclose(found.cov, covs, atol=1e-12)
    np.testing.assert_allclose(found.smoothed_mean, later, atol=1e-10)
    masked = np.ma.masked_invalid(GAPS)
    masked = run(start, masked, form="square_root").mean
    np.testing.assert_allclose(masked, found.mean, rtol=1e-12)


def test_stochastic_gaps_at_the_rate_of_sampling():
    n = 40_000
    means, covs, _ = kalman(np.zeros(2), np.eye(2), GAPS, Q)
    found = run(fm.Particles(jr.normal(KEY, (n, 2))), model_cov=Q)
    np.testing.assert_allclose(found.mean, means, atol=4.5 * 2 / np.sqrt(n))
    np.testing.assert_allclose(found.cov, covs, atol=4.5 * 2 / np.sqrt(n))


def test_a_gaussian_is_kalmans_filter():
    start = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    means, covs, _ = kalman(np.zeros(2), np.eye(2), GAPS, Q)
    found = run(start, model_cov=Q, key=None)
    np.testing.assert_allclose(found.mean, means, atol=1e-12)
    np.testing.assert_allclose(found.cov, covs, atol=1e-12)
    np.testing.assert_allclose(found.final.m, means[-1], atol=1e-12)


def test_times_of_any_spacing():
    steps = (1, 3, 2, 1, 1, 4)
    times = np.concatenate([[0.0], np.cumsum(steps)])

    def march(x, t0, t1):
        one = lambda x, k: (jnp.where(k < t1 - t0, jnp.asarray(MODEL) @ x, x), None)  # noqa: E731
        return jax.lax.scan(one, x, jnp.arange(4.0))[0]

    means, _, _ = kalman(np.zeros(2), np.eye(2), GAPS, 0.0, steps)
    found = kalman_filter(
        march, lambda x: jnp.asarray(SEES) @ x, fm.Gaussian(jnp.zeros(2), jnp.eye(2)), GAPS, R,
        times=times,
    )  # fmt: skip
    np.testing.assert_allclose(found.mean, means, atol=1e-12)
    # Model noise is that of a unit of time.
    still = lambda x, t0, t1: x  # noqa: E731
    gap = kalman_filter(
        still, lambda x: x, fm.Gaussian(jnp.zeros(1), jnp.zeros((1, 1))), np.array([[np.nan]]), 1.0,
        times=[2.0, 5.0], model_cov=0.5,
    )  # fmt: skip
    np.testing.assert_allclose(gap.cov, [[[1.5]]])


def test_weights_count():
    """Members of mass zero change nothing; one of double weight counts twice."""
    start = ensemble()
    equal = run(start, form="square_root")
    padded = fm.Particles(
        jnp.concatenate([start.x, 1e3 * start.x]), weights=jnp.repeat(jnp.array([1.0, 0.0]), 6)
    )
    found = run(padded, form="square_root")
    np.testing.assert_allclose(found.mean, equal.mean, atol=1e-9)
    np.testing.assert_allclose(found.cov, equal.cov, atol=1e-9)
    w = jnp.array([2.0, 1, 1, 1, 1, 1]) / 7
    for form in ("square_root", "stochastic"):
        first = run(fm.Particles(start.x, weights=w), form=form).forecast_mean[0]
        np.testing.assert_allclose(first, MODEL @ (start.x.T @ w), rtol=1e-12)


@pytest.mark.slow
def test_inflation_adapts_to_a_model_that_is_too_sure():
    """Members that stand too near to each other are spread; right ones are left as they are."""
    rng = np.random.default_rng(1)
    walk = np.cumsum(0.3 * rng.normal(size=(200, 2)), axis=0)
    data = walk + 0.5 * rng.normal(size=(200, 2))
    still, start = (lambda x: x), fm.Particles(jr.normal(KEY, (100, 2)))

    def by(q):
        return kalman_filter(
            still, still, start, data, 0.25, key=KEY, inflation="adaptive", model_cov=q
        ).inflation

    sure, right = by(0.09 / 4), by(0.09)
    assert sure[-1] > 1.15 and np.mean(right[50:]) < 1.1


@pytest.mark.slow
def test_near_gaussian_laws_are_filtered_nearly_right():
    """The mean-field filter against the true one: the error grows with the bend of the model."""
    x = (jnp.arange(240.0) + 0.5) / 20 - 6
    rho = jnp.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    start = fm.GridDensity(rho, jnp.array([-6.0]), jnp.array([6.0]))
    data = np.array([[0.8], [-0.3], [0.5]])

    def means(bend, form):
        return kalman_filter(
            lambda x: 0.8 * x + bend * jnp.sin(2 * x), lambda x: x + bend * jnp.cos(x), start, data,
            0.5, model_cov=0.2, form=form,
        ).mean  # fmt: skip

    found = [abs(means(b, "stochastic") - means(b, "exact")).max() for b in (0.0, 0.1, 0.2)]
    # Kalman's own where the model is linear, up to the grid.
    assert found[0] < 2e-3 < found[1] < found[2] < 0.2


def test_thresholds_keep_short_correlations():
    """200 places, correlations over 4 of them, 40 samples, errors in the operator norm."""
    i = np.arange(200)
    cov = np.exp(-(((i[:, None] - i) / 4.0) ** 2))
    root = np.linalg.cholesky(cov + 1e-9 * np.eye(200))
    draws = np.random.default_rng(0).normal(size=(40, 200)) @ root.T
    norm = lambda c: np.linalg.norm(np.asarray(c) - cov, 2) / np.linalg.norm(cov, 2)  # noqa: E731
    cut = fm.thresholded_covariance(jnp.asarray(draws))
    assert norm(cut) < 0.6 * norm(np.cov(draws.T))
    both = fm.thresholded_covariance(jnp.asarray(draws), jnp.asarray(draws))
    np.testing.assert_allclose(both, cut)


@pytest.mark.slow
def test_thresholds_take_logarithmically_many_samples():
    """Correlations over 3 of d places and 8 log(d/3) samples: the relative error stays.

    That of the sample covariance grows as √(d/N). Means of four draws.
    """
    errors = []
    for d in (100, 400):
        i = np.arange(d)
        cov = np.exp(-(((i[:, None] - i) / 3.0) ** 2) / 2)
        root = np.linalg.cholesky(cov + 1e-9 * np.eye(d))
        count = int(np.ceil(8 * np.log(d / 3)))
        norm = lambda c, cov=cov: np.linalg.norm(np.asarray(c) - cov, 2) / np.linalg.norm(cov, 2)  # noqa: E731
        pairs = []
        for seed in range(4):
            x = np.random.default_rng(seed).normal(size=(count, d)) @ root.T
            pairs.append((norm(fm.thresholded_covariance(jnp.asarray(x))), norm(np.cov(x.T))))
        errors.append(np.mean(pairs, axis=0))
    grown = errors[1] / errors[0]
    assert grown[0] < 1.25 and grown[1] > 2.0


REFUSED = {
    "`noise_cov`": lambda: kalman_filter(abs, abs, ensemble(), DATA, 0.0, key=KEY),
    "`observations`": lambda: run(ensemble(), DATA + np.inf),
    "`initial`": lambda: run(fm.Particles(jnp.full((5, 2), jnp.nan))),
    "lives in": lambda: run(fm.Particles(jnp.ones((5, 2)), space=fm.Sphere())),
    "`observe`": lambda: kalman_filter(abs, abs, ensemble(), DATA[:, :1], 1.0, key=KEY),
    "`times`": lambda: run(ensemble(), times=np.arange(6)),
    "`key`": lambda: run(ensemble(), key=None),
    "`inflation`": lambda: run(ensemble(), inflation=float("nan")),
    "`localization`": lambda: run(ensemble(), localization=(jnp.ones((2, 3)), jnp.ones((2, 2)))),
    "`rotate`": lambda: run(fm.Particles(jnp.ones((2, 2)), weights=jnp.ones(2)), rotate=True),
    "`smoother`": lambda: run(fm.Gaussian(jnp.zeros(2), jnp.eye(2)), smoother=True),
    "`model_cov`": lambda: run(ensemble(), model_cov=-1.0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(name):
    with pytest.raises(ValueError, match=name):
        REFUSED[name]()


A = np.array([[1.0, 0.5], [0.0, 1.2], [-0.7, 0.3]])
Y = np.array([0.4, -1.0, 0.8])


def inversion(forward=lambda u: jnp.asarray(A) @ u, form="square_root"):
    return fm.EnsembleKalmanInversion(forward, Y, 0.5, form)


def test_adaptive_inversion_is_at_the_posterior_at_time_one():
    """Euler's error falls with the first step h₀."""
    x = np.asarray(jr.normal(KEY, (20, 2)))
    cov = np.cov(x.T, bias=True)
    exact = np.linalg.inv(np.linalg.inv(cov) + A.T @ A / 0.5)
    mean = exact @ (np.linalg.solve(cov, x.mean(0)) + A.T @ Y / 0.5)
    errors = []
    for dt in (0.1, 0.05):
        found = fm.kalman_inversion(inversion(), fm.Particles(x), dt=dt)
        assert found.status == 1 and found.time == 1.0
        errors.append(abs(found.mean - mean).max() + abs(found.cov - exact).max())
    assert errors[0] < 0.05 and 1.7 < errors[0] / errors[1] < 2.4


def test_failed_members_are_left_out_and_counted():
    """28 of 30 members run: their inversion is that of the 28 alone."""
    x = jr.normal(KEY, (30, 2))
    broken = fm.Particles(jnp.concatenate([x[:28], jnp.full((2, 2), 9.0)]))
    forward = lambda u: jnp.where(u[0] > 8, jnp.nan, jnp.asarray(A) @ u)  # noqa: E731
    found = fm.kalman_inversion(inversion(forward), broken, dt=0.1)
    alone = fm.kalman_inversion(inversion(), fm.Particles(x[:28]), dt=0.1)
    assert found.failed == 2
    np.testing.assert_allclose(found.mean, alone.mean, rtol=1e-10)
    np.testing.assert_allclose(found.cov, alone.cov, rtol=1e-10)
    weights = jnp.where(jnp.arange(30) < 28, 1.0, 0.0)
    massless = fm.kalman_inversion(inversion(forward), fm.Particles(broken.x, weights=weights))
    assert massless.failed == 0 and massless.status == 1


def test_inversion_stops_at_the_discrepancy():
    found = fm.kalman_inversion(
        inversion(form="optimization"), fm.Particles(3 + jr.normal(KEY, (20, 2))), time=1e6, dt=0.1,
        discrepancy=1.2,
    )  # fmt: skip
    assert found.status == 2 and found.time < 1e6
    assert 0.9 * 1.2 * np.sqrt(3) < found.misfit <= 1.2 * np.sqrt(3)
    with pytest.raises(ValueError, match="`dt`"):
        fm.kalman_inversion(inversion(), fm.Particles(jnp.ones((3, 2))), dt=-1.0)


@pytest.mark.slow
def test_sampler_chooses_its_steps():
    """Mean and covariance of the posterior; constant steps of 0.5 leave the finite numbers."""
    system = fm.EnsembleKalmanSampler(
        lambda u: 30 * jnp.asarray(A) @ u, 30 * Y, 0.5, jnp.zeros(2), 10.0
    )
    start = fm.Particles(jr.normal(KEY, (400, 2)))
    found = fm.kalman_inversion(system, start, key=KEY, time=6.0, dt=0.5, steps=5000)
    exact = np.linalg.inv(900 * A.T @ A / 0.5 + np.eye(2) / 10)
    assert found.status == 1
    np.testing.assert_allclose(found.mean, exact @ (900 * A.T @ Y / 0.5), atol=0.02)
    np.testing.assert_allclose(found.cov, exact, atol=0.35 * exact.max())
    constant = fm.kalman_inversion(system, start, key=KEY, time=6.0, dt=0.5, adaptive=False)
    assert constant.status == 4
