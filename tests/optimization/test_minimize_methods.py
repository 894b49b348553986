"""`minimize` by every method, on the host, under constraints, in batches."""

import concurrent.futures
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.optimize
from counting import compilations

import flowjax_measures as fm
from flowjax_measures.objectives import himmelblau, rastrigin, sphere
from flowjax_measures.optimization import minimize

BOX = (jnp.full(2, -5.12), jnp.full(2, 4.8))
KEY = jr.key(0)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("memory", "mirror", "jumps")]


@pytest.mark.parametrize("method", ["swarm", "sampling", "adam", *SLOW])
def test_methods_by_name_find_the_minimum(method):
    result = minimize(lambda x: sphere(x - 1.0), bounds=BOX, key=KEY, method=method, budget=40_000)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)
    assert result.nfev <= 40_000 and result.constr_violation == 0


def test_covariance_solves_what_is_ill_conditioned():
    """A rotated ellipsoid of condition 10⁶, in 3,000 evaluations."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    scales = jnp.array([1.0, 1e3, 1e6])
    box, budget = (jnp.full(3, -5.12), jnp.full(3, 4.8)), 3000
    result = minimize(
        lambda x: scales @ (turn @ (x - 1)) ** 2, bounds=box, key=KEY, method="covariance",
        budget=budget,
    )  # fmt: skip
    assert result.fun < 1e-6 and result.nfev <= budget
    assert result.population.shape[0] == budget // 100


FOUR = [[-3.779310, -3.283186], [-2.805118, 3.131313], [3.0, 2.0], [3.584428, -1.848127]]


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="A few points stay at the maximum, and are told as a fifth.")
def test_polarized_points_find_four_minima_and_nothing_else():
    result = minimize(himmelblau, bounds=BOX, key=KEY, method="polarized", budget=40_000)
    found = result.minima
    order = np.lexsort(found.x.T[::-1])
    np.testing.assert_allclose(found.x[order], FOUR, atol=0.02)
    assert np.all(found.fun < 1e-2) and found.share.sum() > 0.9
    assert np.all(found.fun[found.basin[found.basin >= 0]] <= 1e-2)


@pytest.mark.slow
def test_polarized_points_find_four_minima():
    for key in jr.split(KEY, 3):
        result = minimize(himmelblau, bounds=BOX, key=key, method="polarized", budget=40_000)
        found = result.minima
        # At the maximum between them, which is flat too, a few points may stay: `fun` tells.
        low = found.fun < 1e-2
        places = found.x[low]
        order = np.lexsort(places.T[::-1])
        np.testing.assert_allclose(places[order], FOUR, atol=0.02)
        assert found.share[low].sum() > 0.9 and np.all(found.share[~low] < 0.06)
        held = [np.mean(found.basin == k) for k in range(len(found.fun))]
        np.testing.assert_allclose(held, found.share)


def test_saddle_of_two_players():
    """∇f = 0 of |x − 1|² − |y + 1|² + xy at x = 1.2, y = −0.4."""
    game = lambda x, y: jnp.sum((x - 1) ** 2) - jnp.sum((y + 1) ** 2) + jnp.sum(x * y)  # noqa: E731
    lower, upper = (jnp.full(1, -5.0),) * 2, (jnp.full(1, 5.0),) * 2
    result = minimize(
        game, bounds=(lower, upper), key=KEY, method="saddle", particles=50, budget=20_000
    )
    np.testing.assert_allclose(jnp.concatenate(result.x), [1.2, -0.4], atol=2e-3)
    np.testing.assert_allclose(result.fun, game(*result.x), rtol=1e-12)
    assert result.nfev <= 20_000


def test_front_of_two_objectives():
    """Between the two minimisers of |x|² and |x − 1|² lies the front, on √g₁ + √g₂ = √2."""
    both = lambda x: jnp.stack([jnp.sum(x**2), jnp.sum((x - 1) ** 2)])  # noqa: E731
    result = minimize(both, bounds=BOX, key=KEY, method="pareto", particles=60, budget=30_000)
    front = result.front
    assert front.x.shape[0] > 30
    # √g₁ + √g₂ is |x| + |x − 1|, least on the segment; few points seek its ends.
    excess = np.sqrt(front.fun).sum(1) - np.sqrt(2)
    assert np.all(excess > -1e-6) and np.median(excess) < 0.005 and np.quantile(excess, 0.8) < 0.05
    assert np.ptp(front.fun[:, 0]) > 1.0


@pytest.mark.slow
def test_runs_of_a_method_batch():
    solve = lambda key: minimize(  # noqa: E731
        rastrigin, bounds=BOX, key=key, method="memory", particles=20, budget=2000
    )
    keys = jr.split(KEY, 3)
    runs = eqx.filter_jit(jax.vmap(solve))(keys)
    alone = solve(keys[1])
    np.testing.assert_allclose(runs.x[1], alone.x, rtol=1e-9, atol=1e-12)
    assert runs.nfev[1] == alone.nfev and len(runs.message) == 3


def test_constraints():
    """x + y on the circle of radius 2 with x ≥ −1; and the point of a plane nearest to 0."""
    linear = lambda x: x[0] + x[1]  # noqa: E731
    circle = fm.EqualityConstraint(lambda x: x @ x - 4.0)
    wall = {"type": "ineq", "fun": lambda x: x[0] + 1.0}
    options = dict(bounds=BOX, key=KEY, particles=30, budget=6000)
    result = minimize(linear, constraints=[circle, wall], **options)
    np.testing.assert_allclose(result.x, [-1.0, -np.sqrt(3)], atol=1e-4)
    assert result.constr_violation < 1e-6
    plane = scipy.optimize.LinearConstraint([[1.0, 1.0]], 2.0, np.inf)
    result = minimize(sphere, constraints=plane, **options)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)
    with pytest.raises(ValueError, match="`constraints`"):
        minimize(sphere, constraints=[lambda x: x], **options)


def test_on_a_sphere():
    """The end is on the space too, not the mean inside it."""
    result = minimize(
        lambda x: x[0], jnp.array([0.0, 1.0, 0.0]), space=fm.Sphere(), key=KEY, particles=50,
        budget=10_000,
    )  # fmt: skip
    np.testing.assert_allclose(result.x, [-1.0, 0.0, 0.0], atol=1e-3)
    np.testing.assert_allclose(jnp.linalg.norm(result.x), 1.0, rtol=1e-12)


@pytest.mark.parametrize("moves", ["all", "batch"])
def test_batches(moves):
    result = minimize(
        sphere, bounds=BOX, key=KEY, particles=40, batch=10, batch_moves=moves, budget=8000
    )
    assert result.nfev <= 8000 and (result.nfev - 1) % 10 == 0
    np.testing.assert_allclose(result.x, 0.0, atol=1e-2)


def test_exponential_steps_without_noise():
    """X⁺ = c + (X − c)e^{−λh}, with c the mean for α = 0."""
    x = jr.normal(KEY, (10, 2))
    method = fm.ConsensusBased(sphere, 2.0, 0.0, 0.0)
    kept = {"x": lambda mu: mu.x}
    result = minimize(
        sphere, fm.Particles(x), key=KEY, method=method, budget=20, exponential=True, dt=0.7,
        observe=kept,
    )  # fmt: skip
    mean = x.mean(0)
    np.testing.assert_allclose(result.history["x"][1], mean + (x - mean) * np.exp(-1.4), rtol=1e-12)


def numpy_objective(x):
    x = np.asarray(x)
    if x[0] > 3:
        raise RuntimeError("the simulator crashed")
    return float(np.sum((x - 1) ** 2))


def test_black_boxes_are_called_on_the_host():
    options = dict(bounds=BOX, key=KEY, particles=20, budget=1000)
    one = minimize(numpy_objective, **options)
    np.testing.assert_allclose(one.x, 1.0, atol=0.1)
    many = minimize(lambda x: np.sum((np.asarray(x) - 1) ** 2, axis=1), vectorized=True, **options)
    np.testing.assert_allclose(many.x, 1.0, atol=0.1)
    with concurrent.futures.ThreadPoolExecutor(2) as pool, compilations() as names:
        np.testing.assert_array_equal(minimize(numpy_objective, workers=pool, **options).x, one.x)
        np.testing.assert_array_equal(minimize(numpy_objective, workers=map, **options).x, one.x)
    assert not names
    # Under vmap compiled code calls it.
    runs = jax.vmap(lambda key: minimize(numpy_objective, **options | {"key": key}))(KEY[None])
    np.testing.assert_allclose(runs.x[0], one.x, rtol=1e-9)
    with pytest.raises(ValueError, match="`objective` failed"):
        minimize(lambda x: np.asarray(x) / 0 + np.linalg.inv(np.zeros((2, 2))), **options)


def test_a_killed_run_goes_on_with_the_same_bits(tmp_path):
    class Killed(BaseException):
        pass

    calls = []

    def dies(after):
        def slow(x):
            calls.append(1)
            if len(calls) == after:
                raise Killed
            return numpy_objective(x)

        return slow

    options = dict(bounds=BOX, key=KEY, particles=10, budget=200)
    whole = minimize(dies(-1), **options)
    calls.clear()
    with pytest.raises(Killed):
        minimize(dies(95), folder=tmp_path, **options)
    assert len(calls) == 95
    result = minimize(dies(-1), folder=tmp_path, **options)
    # Two tries of the function, and the points of the step that was lost.
    assert len(calls) <= 95 + 200 - 90 + 2
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(result), strict=True):
        np.testing.assert_array_equal(a, b)
    # The end is on file too; with more evaluations the run goes on, as one that never stopped.
    calls.clear()
    assert minimize(dies(-1), folder=tmp_path, **options).fun == whole.fun and len(calls) <= 2
    longer = options | {"budget": 333}
    result = minimize(dies(-1), folder=tmp_path, **longer)
    assert len(calls) <= 4 + 333 - 190
    for a, b in zip(
        jax.tree.leaves(minimize(dies(-1), **longer)), jax.tree.leaves(result), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"`folder`.*`budget`"):
        minimize(dies(-1), folder=tmp_path, **options | {"budget": 100})
    with pytest.raises(ValueError, match=r"`folder`.*method differs .*dt: 0\.1 → 0\.2"):
        minimize(dies(-1), folder=tmp_path, **options | {"dt": 0.2})
    anew = minimize(dies(-1), folder=tmp_path, overwrite=True, **options | {"dt": 0.2})
    assert anew.fun != whole.fun


@pytest.mark.slow
def test_a_traced_objective_that_was_edited_is_another_run(tmp_path):
    options = dict(bounds=BOX, key=KEY, particles=10, folder=tmp_path)
    options |= dict(budget=50, observe={"width": lambda mu: jnp.std(mu.x)})
    first = minimize(lambda x: jnp.sum(x**2), **options)
    assert minimize(lambda x: jnp.sum(x**2), **options).fun == first.fun
    longer = minimize(lambda x: jnp.sum(x**2), **options | {"budget": 90})
    assert longer.history["width"].shape == (9,) and np.all(longer.history["width"] > 0)
    np.testing.assert_array_equal(longer.history["width"][:5], first.history["width"])
    with pytest.raises(ValueError, match=r"`folder`.*objective differs"):
        minimize(lambda x: jnp.sum((x - 1) ** 2), **options)


@pytest.mark.slow
def test_time_and_restarts():
    start = time.monotonic()
    options = dict(bounds=BOX, key=KEY, particles=10)
    result = minimize(sphere, budget=10**9, tol=0.0, max_time=0.5, **options)
    assert result.status == 6 and not result.success and time.monotonic() - start < 20
    one = minimize(rastrigin, budget=3000, **options)
    again = minimize(rastrigin, budget=3000, restarts=2, **options)
    assert again.fun <= one.fun and one.nfev < again.nfev <= 3000


def test_stops_where_the_lowest_values_deviate_little():
    """The standard deviation over blocks of `patience` steps, against NumPy's."""
    lowest = {"lowest": lambda mu: jnp.min(jax.vmap(sphere)(mu.x))}
    options = dict(bounds=BOX, key=KEY, particles=20, budget=4000, observe=lowest)
    values = minimize(sphere, tol=0.0, **options).history["lowest"]
    spread = np.std(np.reshape(values, (-1, 8)), axis=1)
    level = 1e-6
    assert spread[0] > level > spread[-1]
    result = minimize(sphere, patience=8, deviation=level, **options)
    assert int(result.nit) == 8 * (1 + np.argmax(spread <= level)) and result.status == 3


@pytest.mark.slow
def test_objectives_with_numbers_of_their_own():
    """A module is an objective, under a transformation too; another number compiles nothing."""

    class Shifted(eqx.Module):
        centre: jax.Array

        def __call__(self, x):
            return sphere(x - self.centre)

    options = dict(bounds=BOX, key=KEY, particles=20, budget=1000)
    solve = lambda c: minimize(Shifted(c), **options).x  # noqa: E731
    two = jnp.array([2.0, 2.0])
    np.testing.assert_allclose(solve(jnp.ones(2)), 1.0, atol=0.1)
    with compilations() as names:
        found = solve(two)
    assert not names
    np.testing.assert_allclose(found, 2.0, atol=0.1)
    # It is evaluated as often as is said.
    calls = []

    class Counted(Shifted):
        def __call__(self, x):
            jax.debug.callback(lambda _: calls.append(1), x)
            return sphere(x - self.centre)

    result = minimize(Counted(two), **options)
    jax.effects_barrier()
    assert len(calls) == result.nfev
    objective = Shifted(jnp.ones(2))
    method = fm.ConsensusBased(objective, 1.0, 2.0, 30.0, "anisotropic")
    both = jax.vmap(solve)(jnp.array([[1.0, 1.0], [2.0, 2.0]]))
    np.testing.assert_allclose(both[1], found, rtol=1e-9)
    np.testing.assert_allclose(minimize(objective, method=method, **options).x, 1.0, atol=0.1)


def test_a_constraint_in_a_sum_holds():
    """As one of `constraints`: the lowest place of Rastrigin's function on a circle."""
    circle = lambda x: x @ x - 4.0  # noqa: E731
    free = fm.ConsensusBased(rastrigin, 1.0, 2.0, 30.0, "anisotropic")
    options = dict(bounds=BOX, key=KEY, particles=50, budget=5000)
    result = minimize(rastrigin, method=free + fm.EqualityConstraint(circle), **options)
    assert result.constr_violation < 1e-6
    np.testing.assert_allclose(result.fun, 4.0, atol=1e-6)
    method = fm.RegularizedConsensus(rastrigin, circle, 1.0, 2.0, 30.0, "anisotropic")
    result = minimize(rastrigin, method=method, **options)
    assert result.constr_violation < 1e-6
    np.testing.assert_allclose(result.fun, 4.0, atol=1e-6)


def test_labels_stay_and_weights_count():
    """The best of two kinds is found; a point of mass zero is no answer."""
    x = {"place": jr.normal(KEY, (30, 2)), "kind": jnp.arange(30) % 2}
    objective = lambda p: sphere(p["place"] - 1) + 1.0 - p["kind"].astype(float)  # noqa: E731
    result = minimize(objective, fm.Particles(x), key=KEY, budget=3000)
    assert result.x["kind"] == 1 and result.x["kind"].dtype == x["kind"].dtype
    np.testing.assert_array_equal(result.population["kind"], x["kind"])
    np.testing.assert_allclose(result.x["place"], 1.0, atol=0.1)

    cloud = jr.normal(KEY, (10, 2))
    padded = jnp.concatenate([cloud, jnp.ones((5, 2))])
    weights = jnp.where(jnp.arange(15) < 10, 0.1, 0.0)
    method = fm.ConsensusBased(sphere, 1.0, 0.0, 10.0)
    solve = lambda mu: minimize(  # noqa: E731
        lambda x: sphere(x - 1), mu, key=KEY, method=method, budget=4 * mu.size() + 1, tol=0.0
    )
    alone, beside = solve(fm.Particles(cloud)), solve(fm.Particles(padded, weights=weights))
    for name in ("x", "fun", "spread", "nit"):
        np.testing.assert_allclose(getattr(beside, name), getattr(alone, name), rtol=1e-10)
    assert beside.fun > 0.01


@pytest.mark.slow
def test_walls_that_reflect():
    result = minimize(
        sphere, bounds=(jnp.full(2, 0.5), jnp.full(2, 4.0)), key=KEY, boundary="reflect",
        particles=50, budget=5000,
    )  # fmt: skip
    np.testing.assert_allclose(result.x, 0.5, atol=1e-2)
    assert np.all(result.population >= 0.5)


class Ring(eqx.Module):
    radius: float

    def __call__(self, x):
        return x @ x - self.radius**2


def right_of(x, wall):
    return x[0] - wall


def test_another_value_compiles_nothing():
    method = lambda s: fm.ConsensusBased(sphere, 1.0, s, 30.0, "anisotropic")  # noqa: E731
    start = fm.Particles(jr.normal(KEY, (10, 2)))

    def solve(s, dt, tol, target, budget, radius, wall):
        constraints = [
            fm.EqualityConstraint(Ring(radius)),
            {"type": "ineq", "fun": right_of, "args": (wall,)},
            scipy.optimize.LinearConstraint([[1.0, wall]], -radius, 9.0),
        ]
        return minimize(sphere, start, key=KEY, method=method(s), dt=dt, tol=tol, target=target,
                        budget=budget, constraints=constraints)  # fmt: skip

    solve(0.5, 0.1, 1e-3, 1e-9, 100, 2.0, 0.0)
    with compilations() as names:
        result = solve(0.6, 0.05, 1e-4, 1e-8, 90, 3.0, 0.1)
    assert not names
    np.testing.assert_allclose(result.x @ result.x, 9.0, rtol=1e-6)
    assert result.x[0] >= 0.1 - 1e-6 and result.constr_violation < 1e-6


REFUSED = {
    "bounds": lambda: minimize(sphere, bounds=[(3, -3), (-3, 3)], key=KEY),
    "initial": lambda: minimize(sphere, jnp.full(2, 9.0), bounds=BOX, key=KEY),
    "Particles": lambda: minimize(sphere, jnp.zeros((20, 2)), key=KEY),
    "objective": lambda: minimize(lambda x: x**2, bounds=BOX, key=KEY),
    "`key`": lambda: minimize(sphere, bounds=BOX, key=0),
    "instance": lambda: minimize(sphere, bounds=BOX, key=KEY, method=fm.ConsensusBased),
    "one of": lambda: minimize(sphere, bounds=BOX, key=KEY, method="genetic"),
    "no objective": lambda: minimize(sphere, bounds=BOX, key=KEY, method=fm.SelfAttention()),
    "coincide": lambda: minimize(sphere, fm.Particles(jnp.ones((5, 2))), key=KEY),
    "`dt`": lambda: minimize(sphere, bounds=BOX, key=KEY, dt=float("nan")),
    "`deviation`": lambda: minimize(sphere, bounds=BOX, key=KEY, deviation=0.1),
    "`batch`": lambda: minimize(sphere, bounds=BOX, key=KEY, batch=500),
    "`particles`": lambda: minimize(sphere, bounds=BOX, key=KEY, particles=0),
    "`boundary`": lambda: minimize(sphere, bounds=BOX, key=KEY, boundary="periodic"),
    "`exponential`": lambda: minimize(
        sphere, bounds=BOX, key=KEY, method="swarm", exponential=True
    ),
    "infinite": lambda: minimize(sphere, bounds=(jnp.zeros(2), jnp.full(2, jnp.inf)), key=KEY),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(name):
    with pytest.raises(ValueError, match=name):
        REFUSED[name]()


def test_asking_and_telling_is_minimize():
    """The same places and steps, without the consensus at the end."""
    options = dict(bounds=BOX, particles=20, budget=400)
    opt = fm.AskTell(**options)
    state = opt.init(KEY)
    while not opt.stopped(state):
        state = opt.tell(state, [float(sphere(x)) for x in opt.ask(state)])
    result, whole = opt.result(state), minimize(sphere, key=KEY, **options)
    np.testing.assert_allclose(result.x, whole.x, atol=1e-12)
    assert result.nfev == whole.nfev == 400
    with pytest.raises(ValueError, match="`values`"):
        opt.tell(state, jnp.zeros(3))
    with pytest.raises(ValueError, match="`colour`"):
        fm.AskTell(colour="red")


def test_scipy_calls_it_as_a_method():
    found = scipy.optimize.minimize(
        numpy_objective, [0.0, 2.0], method=fm.scipy_method, bounds=[(-3, 4), (-3, 4)],
        options={"maxfev": 4000, "particles": 40},
    )  # fmt: skip
    np.testing.assert_allclose(found.x, 1.0, atol=0.05)
    assert found.nfev <= 4000 and isinstance(found.message, str) and "success" in found
    assert isinstance(found.fun, float)
