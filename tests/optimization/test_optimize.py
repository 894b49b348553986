"""`minimize`, `sample` and `kalman_filter` from outside."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.optimize

import flowjax_measures as fm
from flowjax_measures import objectives
from flowjax_measures.objectives import ackley, rastrigin, sphere
from flowjax_measures.optimization import kalman_filter, minimize, sample
from flowjax_measures.systems.consensus import gaspari_cohn
from flowjax_measures.systems.consensus._analysis import square_root_analysis


def box(d, low=-5.12, high=4.8):
    return jnp.full(d, low), jnp.full(d, high)


@pytest.mark.slow
def test_rastrigin_in_independent_runs():
    """Ten runs at once: each finds the minimum, and each is the run that its key makes alone."""
    keys = jr.split(jr.key(0), 10)
    run = lambda key: minimize(rastrigin, bounds=box(2), key=key, method="consensus")  # noqa: E731
    solve = jax.jit(jax.vmap(run))
    runs = solve(keys)
    assert np.all(runs.fun < 1e-8)
    np.testing.assert_allclose(runs.x, 0, atol=1e-5)
    assert np.all(runs.success) and set(np.asarray(runs.status)) == {1}
    assert len(set(np.asarray(runs.nit))) > 1
    assert runs.message == ["The points are in consensus."] * 10
    alone = run(keys[3])
    np.testing.assert_allclose(alone.x, runs.x[3], atol=1e-7)
    assert alone.nit == runs.nit[3] and alone.nfev == 200 * alone.nit + 1


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "d"), [(rastrigin, 5), (ackley, 20)])
def test_defaults_are_reliable(objective, d):
    """20 of 20 runs: rastrigin d = 5 on [−5.12, 4.8]^d, Ackley d = 20 on [−32, 28]^d."""
    bounds = box(d) if objective is rastrigin else box(d, -32.0, 28.0)
    solve = jax.jit(jax.vmap(lambda key: minimize(objective, bounds=bounds, key=key)))
    assert np.all(solve(jr.split(jr.key(1), 20)).fun < 1e-2)


def test_the_objective_is_evaluated_as_often_as_is_said():
    """What the compiler can't see through, such as a callback or a solver, is not asked again."""
    calls = []

    def objective(x):
        def measured(v):
            calls.append(v)
            return np.sum(v**2)

        value = jax.ShapeDtypeStruct((), x.dtype)
        return jax.pure_callback(measured, value, x, vmap_method="sequential")

    def calls_of(budget, **kwargs):
        calls.clear()
        result = minimize(objective, key=jr.key(0), budget=budget, tol=0.0, **kwargs)
        jax.block_until_ready(result.fun)
        assert len(calls) == result.nfev
        return result.nfev

    start = dict(bounds=box(2), particles=4)
    # One evaluation is of the consensus at the end, where there is room.
    assert calls_of(25, **start) == 25 and calls_of(24, **start) == 24
    heaviside = fm.ConsensusBased(objective, 1.0, 0.7, 30.0, correction="heaviside")
    assert calls_of(24, method=heaviside, **start) == 4 * 5 + 1


def test_points_are_pytrees_in_bounds():
    target = {"a": jnp.array([0.5, 2.0]), "b": jnp.array(-0.25)}

    def objective(p):
        return sphere(p["a"] - target["a"]) + (p["b"] - target["b"]) ** 2

    lower = {"a": jnp.zeros(2), "b": jnp.array(-1.0)}
    upper = {"a": jnp.ones(2), "b": jnp.array(1.0)}
    result = minimize(objective, bounds=(lower, upper), key=jr.key(0), budget=20_000)
    # The second coordinate ends on its wall.
    np.testing.assert_allclose(result.x["a"], [0.5, 1.0], atol=1e-3)
    np.testing.assert_allclose(result.x["b"], -0.25, atol=1e-3)


@pytest.mark.slow
def test_bounds_in_all_forms_are_one():
    pairs = [(-1.0, 2.0), (-3.0, 4.0)]
    forms = [
        pairs, np.array(pairs), scipy.optimize.Bounds([-1, -3], [2, 4]),
        (np.array([-1.0, -3.0]), np.array([2.0, 4.0])), ([-1, -3], [2, 4]),
    ]  # fmt: skip
    results = [minimize(sphere, bounds=b, key=jr.key(0), budget=400).x for b in forms]
    for x in results[1:]:
        np.testing.assert_array_equal(x, results[0])


@pytest.mark.slow
def test_from_one_point_without_bounds():
    result = minimize(lambda x: sphere(x - 30.0), jnp.zeros(2), key=jr.key(0))
    np.testing.assert_allclose(result.x, 30.0, atol=1e-3)
    assert result.success
    listed = minimize(lambda x: sphere(x - 30.0), [0, 0], key=jr.key(0))
    np.testing.assert_array_equal(listed.x, result.x)


@pytest.mark.slow
def test_float32_reaches_consensus_before_its_budget():
    result = minimize(rastrigin, jnp.full(2, 2.0, jnp.float32), key=jr.key(0))
    assert result.success and result.x.dtype == jnp.float32
    np.testing.assert_allclose(result.x, 0.0, atol=1e-3)


@pytest.mark.slow
def test_stops():
    by = lambda **kwargs: minimize(sphere, bounds=box(2), key=jr.key(0), **kwargs)  # noqa: E731
    reached = by(target=0.5)
    assert reached.status == 2 and reached.fun <= 0.5 and reached.success
    spent = by(budget=1000, particles=200, observe={"best": lambda mu: mu.mean(sphere)})
    assert spent.status == 4 and not spent.success and spent.nit == 5 and spent.nfev == 1000
    assert spent.history["best"].shape == (5,) and np.all(np.isfinite(spent.history["best"]))
    flat = minimize(lambda x: jnp.zeros(()), bounds=box(2), key=jr.key(0), patience=7)
    assert flat.status == 3 and flat.nit == 8
    assert "budget" in spent.message


@pytest.mark.slow
def test_forbidden_regions_and_hopeless_ones():
    """NaN for x < 0: the best point is at the edge; NaN everywhere is no success."""
    half = lambda x: jnp.where(x[0] < 0, jnp.nan, jnp.sum((x + 1.0) ** 2))  # noqa: E731
    result = minimize(half, bounds=box(2), key=jr.key(0), budget=40_000)
    np.testing.assert_allclose(result.x, [0.0, -1.0], atol=0.01)
    nowhere = minimize(lambda x: jnp.nan * x[0], bounds=box(2), key=jr.key(0), budget=1000)
    assert not nowhere.success and nowhere.fun == jnp.inf and nowhere.status == 5
    nowhere = minimize(lambda x: jnp.nan * x[0], bounds=box(2), key=jr.key(0), particles=20)
    assert nowhere.nfev <= 201 and "not finite at any point" in nowhere.message


def test_an_own_method_and_a_callback():
    seen = []
    method = fm.ConsensusBased(sphere, 1.0, 0.3, 50.0, "anisotropic")
    start = fm.Particles(jr.normal(jr.key(0), (30, 2)))
    result = minimize(
        sphere, start, key=jr.key(1), method=method, budget=600,
        callback=lambda nit, fun: seen.append((int(nit), float(fun))),
    )  # fmt: skip
    jax.effects_barrier()
    assert sorted(nit for nit, _ in seen) == list(range(20))
    assert result.nfev == 600 and result.fun <= min(fun for _, fun in seen)


def test_step_is_the_one_of_simulate():
    """One step without noise moves the consensus as Euler's does."""
    x = jr.normal(jr.key(0), (10, 2))
    method = fm.ConsensusBased(sphere, 1.0, 0.0, 3.0)
    kept = {"mean": lambda mu: mu.mean()}
    result = minimize(
        sphere, fm.Particles(x), key=jr.key(1), method=method, budget=30, observe=kept
    )
    run = fm.simulate(method, fm.Particles(x), [0.0, 0.1, 0.2], dt=0.1, key=jr.key(0), observe=kept)
    np.testing.assert_allclose(result.history["mean"], run.ys["mean"], rtol=1e-12)


def test_resampling_goes_on_after_consensus():
    """Two wells, 0 at 0 and −1 at 8: from around 0 only what is shaken finds the other."""
    wells = lambda x: jnp.minimum(x[0] ** 2, (x[0] - 8) ** 2 - 1)  # noqa: E731
    method = fm.ConsensusBased(wells, 1.0, 0.2, 100.0)

    def solve(resampling, key):
        return minimize(
            wells, jnp.zeros(1), key=key, method=method, particles=20, spread=0.1, tol=0.01,
            budget=20_000, target=-0.9, resampling=resampling,
        )  # fmt: skip

    keys = jr.split(jr.key(0), 10)
    still = jax.jit(jax.vmap(lambda key: solve(None, key)))(keys)
    shaken = jax.jit(jax.vmap(lambda key: solve(4.0, key)))(keys)
    assert np.all(still.status == 1) and np.all(abs(still.fun) < 1e-3)
    assert np.all(shaken.status == 2) and np.all(shaken.nit > still.nit)
    assert np.all(shaken.fun <= -0.9)


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="start from"):
        minimize(sphere, key=jr.key(0))
    with pytest.raises(ValueError, match="dimension"):
        minimize(sphere, bounds=(-1.0, 1.0), key=jr.key(0))
    with pytest.raises(ValueError, match="budget"):
        minimize(sphere, jnp.zeros(2), key=jr.key(0), budget=10)


def test_sample_of_a_gaussian():
    """Mean and covariance of N(b, A⁻¹) from 2,000 points."""
    hessian, b = jnp.array([[2.0, 0.6], [0.6, 1.0]]), jnp.array([0.7, -0.4])
    mu = sample(
        lambda x: (x - b) @ hessian @ (x - b) / 2, jnp.zeros(2), key=jr.key(0), particles=2000
    )
    cov = np.linalg.inv(hessian)
    error = np.sqrt(np.diag(cov) / 2000)
    # The points' own moments drive them: over many steps errors grow threefold.
    assert np.all(abs(mu.mean() - b) < 4.5 * 3 * error)
    np.testing.assert_allclose(mu.covariance(), cov, atol=4.5 * 3 * cov.max() * np.sqrt(2 / 2000))


MODEL = np.array([[0.9, 0.3], [-0.2, 0.8]])
SEES = np.array([[1.0, 0.5]])


def kalman(mean, cov, data, q, r):
    """The exact filter of a linear model."""
    means, covs = [], []
    for y in data:
        mean, cov = MODEL @ mean, MODEL @ cov @ MODEL.T + q
        gain = cov @ SEES.T @ np.linalg.inv(SEES @ cov @ SEES.T + r)
        mean, cov = mean + gain @ (y - SEES @ mean), cov - gain @ SEES @ cov
        means.append(mean)
        covs.append(cov)
    return np.array(means), np.array(covs)


@pytest.mark.parametrize("form", ["stochastic", "square_root"])
def test_filter_of_a_linear_model(form):
    n, q, r = 40_000, 0.1 * np.eye(2), np.array([[0.3]])
    data = np.random.default_rng(0).normal(size=(6, 1))
    start = fm.Particles(jr.normal(jr.key(0), (n, 2)))
    result = kalman_filter(
        lambda x: jnp.asarray(MODEL) @ x, lambda x: jnp.asarray(SEES) @ x, start, data, r,
        key=jr.key(1), model_cov=q, form=form,
    )  # fmt: skip
    means, covs = kalman(np.zeros(2), np.eye(2), data, q, r)
    np.testing.assert_allclose(result.mean, means, atol=4.5 * 2 / np.sqrt(n))
    np.testing.assert_allclose(result.cov, covs, atol=4.5 * 2 / np.sqrt(n))


@pytest.mark.parametrize("rotate", [False, True])
def test_square_root_filter_is_exact_for_its_ensemble(rotate):
    """Without model noise five members give the Kalman filter of their own first moments."""
    data = np.random.default_rng(0).normal(size=(6, 1))
    start = fm.Particles(jr.normal(jr.key(0), (5, 2)))
    r = np.array([[0.3]])
    result = kalman_filter(
        lambda x: jnp.asarray(MODEL) @ x, lambda x: jnp.asarray(SEES) @ x, start, data, r,
        key=jr.key(1), form="square_root", rotate=rotate,
    )  # fmt: skip
    x = np.asarray(start.x)
    means, covs = kalman(x.mean(0), np.cov(x.T), data, 0.0, r)
    np.testing.assert_allclose(result.mean, means, atol=1e-12)
    np.testing.assert_allclose(result.cov, covs, atol=1e-12)


def test_local_analyses_without_a_taper_are_global():
    x = jr.normal(jr.key(0), (6, 3))
    images, y, cov = x[:, :2], jnp.array([0.3, -0.1]), jnp.diag(jnp.array([0.5, 0.8]))
    one = square_root_analysis(x, images, y, cov)
    np.testing.assert_allclose(
        square_root_analysis(x, images, y, cov, jnp.ones((3, 2))), one, rtol=1e-10
    )
    # A coordinate that no observation reaches stays.
    far = square_root_analysis(x, images, y, cov, jnp.array([[1.0, 1], [1, 1], [0, 0]]))
    np.testing.assert_allclose(far[:, 2], x[:, 2], atol=1e-12)


def test_taper():
    np.testing.assert_allclose(
        gaspari_cohn(jnp.array([0.0, 1.0, 1.5, 2.0, 5.0])), [1, 5 / 24, 19 / 1152, 0, 0], atol=1e-15
    )
    both = gaspari_cohn(jnp.array([1 - 1e-9, 1 + 1e-9]))
    np.testing.assert_allclose(both[0], both[1], atol=1e-8)


@pytest.mark.parametrize(
    ("name", "at"),
    [("sphere", 0), ("rastrigin", 0), ("ackley", 0), ("rosenbrock", 1), ("griewank", 0),
     ("schwefel", 420.968746), ("salomon", 0), ("levy", 1)],
)  # fmt: skip
def test_objectives_at_their_minima(name, at):
    function = getattr(objectives, name)
    x = jnp.full(3, float(at))
    assert abs(function(x)) < 1e-6
    assert np.all(jax.vmap(function)(x + 0.3 * jr.normal(jr.key(0), (50, 3))) > -1e-6)
    assert np.all(np.isfinite(jax.grad(function)(x)))


def test_ripple_keeps_its_digits():
    """1 − cos 2πx with relative error of round-off, where 1 − cos itself is 0 or noise."""
    small = np.array([1e-12, -3e-9, 2e-5, 0.01])
    x = np.concatenate([small, [0.3, 0.5, -0.75, 17.25, 1e6 + 0.125]])
    exact = 2 * np.sin(np.pi * (x - np.round(x))) ** 2
    np.testing.assert_allclose(objectives.ripple(jnp.asarray(x)), exact, rtol=2e-15)
    slope = jax.vmap(jax.grad(objectives.ripple))(jnp.asarray(x))
    reduced = x - np.round(x)
    np.testing.assert_allclose(
        slope, 2 * np.pi * np.sin(2 * np.pi * reduced), rtol=4e-15, atol=1e-13
    )
    single = objectives.ripple(jnp.asarray(x[:-1], jnp.float32))
    assert single.dtype == jnp.float32
    exact = 2 * np.sin(np.pi * (lambda y: y - np.round(y))(np.float32(x[:-1]).astype(float))) ** 2
    np.testing.assert_allclose(single, exact, rtol=1e-6)


def test_scalings_of_rastrigin():
    x = jnp.array([0.3, -1.2, 2.0])
    total = np.sum(np.asarray(x) ** 2 + 10 * (1 - np.cos(2 * np.pi * np.asarray(x))))
    np.testing.assert_allclose(rastrigin(x), total)
    np.testing.assert_allclose(rastrigin(x, "mean"), total / 3)
    np.testing.assert_allclose(rastrigin(x, "ten"), total * 30)
    assert objectives.himmelblau(jnp.array([3.0, 2.0])) == 0
