"""Openings, restarts and polishes: runs in turn within one budget."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.optimize

import flowjax_measures as fm
from flowjax_measures.objectives import rastrigin, sphere
from flowjax_measures.optimization import minimize

KEY = jr.key(0)
BOX = jnp.full(2, -3.0), jnp.full(2, 3.0)
TURN = jnp.array([[0.6, 0.8], [-0.8, 0.6]])


def narrow(x):
    """A turned valley of condition 10⁶, whose floor is at (1, 1)."""
    return jnp.array([1.0, 1e6]) @ (TURN @ (x - 1)) ** 2


def valley(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def same(first, second):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_the_opening_learns_the_shape_of_a_valley():
    solve = lambda method: minimize(narrow, bounds=BOX, key=KEY, budget=2000, method=method)  # noqa: E731
    whole, alone = solve(None), solve("consensus")
    assert whole.fun < 1e-9 < 1e-6 < alone.fun
    assert whole.nfev <= 2000 and whole.population.shape == alone.population.shape
    # Several at once are each the one that its key makes alone.
    both = jax.vmap(lambda key: minimize(narrow, bounds=BOX, key=key, budget=2000))(
        jnp.stack([KEY, jr.key(1)])
    )
    np.testing.assert_allclose(both.x[0], whole.x, rtol=1e-5)
    assert both.nfev[0] == whole.nfev


@pytest.mark.slow
def test_evaluations_of_all_turns_are_counted(tmp_path):
    """On the host, with an opening and a restart: as many calls as are said, from files too."""
    calls = []

    class Killed(BaseException):
        pass

    def bowl(after=-1):
        def function(x):
            if len(calls) == after:
                raise Killed
            calls.append(1)
            return float(np.sum((x - 1) ** 2))

        return function

    options = dict(
        bounds=BOX, key=KEY, budget=900, restarts=1, tol=1e-2,
        observe={"width": lambda mu: jnp.std(mu.x)},
    )  # fmt: skip
    whole = minimize(bowl(), **options)
    # One more finds out what the function is.
    assert whole.nfev <= 900 and whole.nfev <= len(calls) <= whole.nfev + 1
    widths = np.asarray(whole.history["width"])
    assert np.all(widths[: whole.nit] > 0) and np.all(np.isnan(widths[whole.nit :]))
    # Killed in the second of three runs.
    calls.clear()
    with pytest.raises(Killed):
        minimize(bowl(500), folder=tmp_path, **options)
    assert (tmp_path / "opening" / "state").exists() and (tmp_path / "state").exists()
    same(minimize(bowl(), folder=tmp_path, **options), whole)
    same(minimize(bowl(), folder=tmp_path, **options), whole)


@pytest.mark.slow
def test_what_meets_its_target_ends_all_turns():
    found = minimize(sphere, bounds=BOX, key=KEY, budget=2000, target=0.5, restarts=1)
    assert found.status == 2 and found.success and found.fun <= 0.5 and found.nfev <= 60
    # With derivatives it goes on to the target alone.
    found = minimize(sphere, bounds=BOX, key=KEY, budget=200, target=1e-20, polish="bfgs")
    assert found.status == 2 and found.fun <= 1e-20


@pytest.mark.slow
def test_restarts_observe_on_file(tmp_path):
    options = dict(bounds=BOX, key=KEY, particles=10, budget=3000, restarts=2)
    options |= dict(observe={"best": lambda mu: jnp.min(jax.vmap(rastrigin)(mu.x))})
    whole = minimize(rastrigin, **options)
    best = np.asarray(whole.history["best"])
    assert np.sum(np.isfinite(best)) == int(whole.nit) and np.nanmin(best) >= whole.fun
    same(minimize(rastrigin, folder=tmp_path, **options), whole)
    same(minimize(rastrigin, folder=tmp_path, **options), whole)
    with pytest.raises(ValueError, match="`observe`"):
        minimize(rastrigin, **options | {"observe": lambda mu: mu.x})


@pytest.mark.parametrize("d", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_a_polish_descends_to_the_minimum(d):
    """Rosenbrock's valley to round-off; every value and every slope is one evaluation."""
    box, budget = (jnp.full(d, -3.0), jnp.full(d, 3.0)), 400 * d
    options = dict(bounds=box, key=KEY, particles=20, budget=budget)
    found = minimize(valley, polish="bfgs", **options)
    assert found.fun < 1e-18 and found.nfev <= budget
    np.testing.assert_allclose(found.x, 1.0, atol=1e-8)


def test_a_polish_stays_between_walls():
    """The lowest place of a turned bowl in a box, where a wall holds one coordinate."""
    bowl = lambda x: jnp.array([1.0, 30.0]) @ (TURN @ (x - jnp.array([4.0, 1.0]))) ** 2  # noqa: E731
    box = jnp.full(2, -2.0), jnp.full(2, 2.0)
    found = minimize(bowl, bounds=box, key=KEY, particles=20, budget=400, polish="bfgs")
    best = scipy.optimize.minimize(
        lambda x: float(bowl(jnp.asarray(x))), [0, 0], bounds=[(-2, 2)] * 2, options={"ftol": 1e-15}
    )
    np.testing.assert_allclose(found.x, best.x, atol=1e-6)
    assert found.x[0] == 2.0 and found.fun <= best.fun * (1 + 1e-12) and found.nfev <= 400


@pytest.mark.slow
def test_a_polish_of_pytrees_and_of_what_is_not_finite():
    point = {"a": jnp.array([2.0, -1.0]), "kind": jnp.array([3])}
    cost = lambda x: jnp.sum((x["a"] - x["kind"].astype(float)) ** 4) + jnp.sum(x["a"] ** 2)  # noqa: E731
    found = minimize(cost, point, key=KEY, particles=20, budget=1000, polish="bfgs")
    slope = jax.grad(lambda a: cost({"a": a, "kind": jnp.array([3])}))(found.x["a"])
    assert np.max(np.abs(slope)) < 1e-6 and found.x["kind"] == 3
    nowhere = minimize(
        lambda x: jnp.nan * x[0], bounds=BOX, key=KEY, particles=10, budget=400, polish="bfgs"
    )
    assert not nowhere.success and nowhere.fun == jnp.inf and nowhere.status == 5


REFUSED = {
    "`polish` is 'newton'": dict(polish="newton"),
    "`constraints`": dict(polish="bfgs", constraints=fm.EqualityConstraint(lambda x: x[0])),
    "mirror": dict(polish="bfgs", method="mirror"),
    "`restarts`": dict(initial=fm.Particles(jnp.eye(2)), restarts=1),
}


@pytest.mark.parametrize("words", REFUSED)
def test_turns_that_cannot_be_meant_are_refused(words):
    with pytest.raises(ValueError, match=words):
        minimize(sphere, bounds=BOX, key=KEY, **REFUSED[words])


def test_a_black_box_has_no_slope():
    with pytest.raises(ValueError, match="`polish`"):
        minimize(lambda x: float(np.sum(x)), bounds=BOX, key=KEY, polish="bfgs")
