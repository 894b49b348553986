"""`compare`: slopes of SGD against its limits, from exact moments and from simulation."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from catalogue import _square, regression

import flowjax_measures as fm

START = jnp.array([1.0, -0.5])
PAIR = fm.Particles(jnp.stack([START, jnp.array([0.2, 0.7])]))


@pytest.mark.parametrize(
    ("initial", "batch", "replacement"),
    [(START, 1, True), (PAIR, 2, False)],
    ids=["one", "pair"],
)
@pytest.mark.slow
def test_slopes_of_exact_moments(initial, batch, replacement):
    """Of a pair, all joint moments under the same minibatches: the modified flow's."""
    found = fm.compare(
        _square, regression(), [1 / 20, 1 / 40, 1 / 80], initial,
        batch=batch, replacement=replacement,
    )  # fmt: skip
    for name, slope, width in (("gradient flow", 1, 0.1), ("SME-1", 1, 0.1), ("SME-2", 2, 0.15)):
        assert abs(found.slopes[name].value - slope) < width
        assert found.slopes[name].lower < found.slopes[name].value < found.slopes[name].upper
    assert abs(found.slopes["fluctuation"].value - 0.5) < 0.05
    assert np.all(np.diff(found.errors["SME-2"].max(1)) < 0)


@pytest.mark.slow
def test_slope_plot_and_interval():
    limits = {"SME-2": lambda eta: fm.StochasticModifiedEquation(_square, regression(), eta, 1, 2)}
    found = fm.compare(_square, regression(), [1 / 20, 1 / 40, 1 / 80], START, limits=limits)
    slope = found.slopes["SME-2"]
    assert abs(slope.value - 2) < 0.15 and slope.lower < 2 < slope.upper
    assert abs(found.slopes["fluctuation"].value - 0.5) < 0.05
    assert np.all(np.diff(found.errors["SME-2"].max(1)) < 0)
    pyplot = pytest.importorskip("matplotlib.pyplot")
    assert len(found.plot().get_legend().get_texts()) == 1
    pyplot.close("all")


@pytest.mark.slow
def test_simulation_agrees_with_exact_moments():
    """Errors of 4000 runs within four standard errors of the exact ones."""
    etas = [1 / 4, 1 / 8]
    exact = fm.compare(_square, regression(), etas, START)
    limits = {"SME-1": lambda eta: fm.StochasticModifiedEquation(_square, regression(), eta, 1, 1)}
    found = fm.compare(_square, regression(), etas, START, limits=limits, runs=4000, key=jr.key(0))
    gap = np.abs(found.errors["SME-1"] - exact.errors["SME-1"])
    assert np.all(gap < 4 * found.standard_errors["SME-1"] + 2e-3)
    np.testing.assert_allclose(found.fluctuation, exact.fluctuation, rtol=0.05)


@pytest.mark.slow
def test_moments_of_curved_losses_are_not_claimed():
    with pytest.raises(ValueError, match="`loss`"):
        fm.compare(lambda p, e: jnp.sum(jnp.cos(p)) * e[1], regression(), [0.1, 0.05], START)
    with pytest.raises(ValueError, match="`etas`"):
        fm.compare(_square, regression(), [0.3, 0.1], START)
    with pytest.raises(ValueError, match="`key`"):
        fm.compare(_square, regression(), [0.2, 0.1], START, runs=10)


def test_the_old_order_of_arguments_is_understood():
    options: dict = dict(time=0.5, limits={})
    new = fm.compare(_square, regression(), [0.5, 0.25], START, **options)
    with pytest.warns(DeprecationWarning, match="`etas` before `initial`"):
        old = fm.compare(_square, regression(), START, [0.5, 0.25], **options)
    np.testing.assert_array_equal(old.fluctuation, new.fluctuation)
    with pytest.raises(ValueError, match="`etas`"):
        fm.compare(_square, regression(), 0.1, START)


@pytest.mark.slow
def test_two_points_under_the_same_minibatches():
    """E⟨θ, θ'⟩: the simulated flow has the error of its exact moments, the root's is another."""
    z, y = regression()
    best = jnp.linalg.lstsq(z, y)[0]
    # Opposite residuals: the noise of one is that of the other reversed, which no root sees.
    pair = fm.Particles(best + jnp.array([[2.0, -1.5], [-2.0, 1.5]]))
    options = dict(observe=lambda mu: jnp.vdot(mu.x[0], mu.x[1]), time=0.5)
    arguments = _square, (z, y), [0.1, 0.05], pair
    exact = fm.compare(*arguments, **options).errors["SME-2"][:, 0]
    found = fm.compare(*arguments, **options, runs=40_000, key=jr.key(0))
    gap = np.abs(found.errors["SMF"][:, 0] - exact)
    # Steps of η/8 leave an eighth or so of the error, which is O(η²) as well.
    assert np.all(gap < 4 * found.standard_errors["SMF"][:, 0] + exact / 4)
    root = "SME-2 with the root"
    assert np.all(found.errors[root][:, 0] > exact + 10 * found.standard_errors[root][:, 0])


@pytest.mark.slow
def test_a_schedule_is_fitted_by_optax():
    """Rates at knots, by the gradient of a final loss through the modified flow."""

    def final_loss(knots):
        schedule = lambda t: jnp.interp(t, jnp.linspace(0.0, 2.0, 5), jnp.exp(knots))  # noqa: E731
        flow = fm.StochasticModifiedFlow(_square, regression(), 0.2, 1, schedule=schedule)
        cloud = fm.Particles(jr.normal(jr.key(1), (16, 2)))
        runs = jax.vmap(
            lambda k: fm.simulate(flow, cloud, [0, 2], dt=0.1, key=k, throw=False).final.x
        )(jr.split(jr.key(2), 32))
        risk = lambda x: jnp.mean(jax.vmap(lambda e: _square(x, e))(regression()))  # noqa: E731
        return jnp.mean(jax.vmap(jax.vmap(risk))(runs))

    knots, optimizer = jnp.zeros(5), optax.adam(0.1)
    state, values = optimizer.init(knots), []
    step = jax.jit(jax.value_and_grad(final_loss))
    for _ in range(40):
        value, gradient = step(knots)
        values.append(float(value))
        with jax.numpy_dtype_promotion("standard"):
            update, state = optimizer.update(gradient, state)
        knots = knots + update
    assert values[-1] < 0.9 * values[0]
    # Large steps first, small ones at the end.
    assert knots[0] > knots[-1]
