"""Costates against differentiation of the run, and adversaries against what they can reach."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

POINTS = fm.Particles({"x": jr.normal(jr.key(0), (5, 2)), "y": jr.normal(jr.key(1), (5,))})
CONTROLS = {"w": jr.normal(jr.key(2), (3, 2, 2)), "b": jr.normal(jr.key(3), (3, 2))}


def field(point, theta):
    return {"x": jnp.tanh(theta["w"] @ point["x"] + theta["b"]), "y": jnp.zeros(())}


def terminal(point):
    return (point["x"][0] * point["x"][1] - point["y"]) ** 2


def running(theta):
    return 0.05 * jnp.sum(theta["w"] ** 2)


@pytest.mark.slow
def test_gradient_is_that_of_the_discretised_run():
    def objective(controls, x):
        flow = fm.ControlledFlow(field, controls, 1.5)
        return fm.pontryagin(flow, fm.Particles(x), terminal, running, dt=0.05).value

    @jax.jit
    def by_hand(controls, x):
        """Heun's method in 600 steps."""
        h = 0.5 / 200

        def step(k, x):
            theta = jax.tree.map(lambda a: a[k // 200], controls)
            push = lambda x: jax.vmap(lambda p: field(p, theta)["x"])(x)  # noqa: E731
            first = push(x)
            second = push({"x": x["x"] + h * first, "y": x["y"]})
            return {"x": x["x"] + h * (first + second) / 2, "y": x["y"]}

        x = jax.lax.fori_loop(0, 600, step, x)
        return jnp.mean(jax.vmap(terminal)(x)) + 0.5 * jnp.sum(jax.vmap(running)(controls))

    value, (by_run, by_start) = jax.jit(jax.value_and_grad(objective, (0, 1)))(CONTROLS, POINTS.x)
    np.testing.assert_allclose(value, by_hand(CONTROLS, POINTS.x), rtol=1e-5)
    costates = jax.jit(
        lambda c: fm.pontryagin(
            fm.ControlledFlow(field, c, 1.5), POINTS, terminal, running, dt=0.05
        )
    )
    result = costates(CONTROLS)
    np.testing.assert_allclose(result.value, value, rtol=1e-12)
    for name in CONTROLS:
        np.testing.assert_allclose(result.gradient[name], by_run[name], rtol=1e-9, atol=1e-13)
    # A particle has mass 1/5.
    np.testing.assert_allclose(result.costates["x"] / 5, by_start["x"], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(result.costates["y"] / 5, by_start["y"], rtol=1e-9, atol=1e-13)


@pytest.mark.slow
def test_worst_case_of_a_linear_flow_is_known():
    """x(T) = x + Tb and ψ = |x|²: the worst point of the ball is along x + Tb."""
    flow = fm.ControlledFlow(lambda x, b: b, jnp.array([[0.5, -1.0]]))
    mu = fm.Particles(jnp.array([[1.0, 0.3], [-0.2, 2.0]]))
    worst = fm.worst_case(flow, mu, lambda x: jnp.vdot(x, x), 0.4, steps=30, dt=0.5)
    end = np.asarray(mu.x) + np.array([0.5, -1.0])
    expected = np.asarray(mu.x) + 0.4 * end / np.linalg.norm(end, axis=1, keepdims=True)
    np.testing.assert_allclose(worst.x, expected, atol=2e-3)
    still = fm.worst_case(
        flow, mu, lambda x: jnp.vdot(x, x), 0.4, dt=0.5, moves=lambda p: p.at[1].set(0.0)
    )
    np.testing.assert_allclose(still.x[:, 1], mu.x[:, 1])


def block(x, mu, theta):
    """Attention with a perceptron."""
    read = mu.mean(logits=lambda y: x @ theta["a"] @ y)
    return theta["v"] @ read + jnp.tanh(theta["b"] + x)


BLOCKS = {k: jr.normal(jr.key(i), (2, *s)) / 2 for i, (k, s) in enumerate(
    {"a": (3, 3), "v": (3, 3), "b": (3,)}.items())}  # fmt: skip
WEIGHTS = jnp.array([0.1, 0.3, 0.2, 0.15, 0.25])
STARTS = {
    "weighted": fm.Particles(jr.normal(jr.key(7), (5, 3)), weights=WEIGHTS),
    "sphere": fm.Particles(jr.normal(jr.key(7), (5, 3)), space=fm.Sphere()).retract(),
    "gaussian": fm.Gaussian(jnp.array([0.3, -0.2, 0.1]), 0.2 * jnp.eye(3)),
}


@pytest.mark.parametrize(
    "start",
    ["weighted", *(pytest.param(n, marks=pytest.mark.slow) for n in ("sphere", "gaussian"))],
)
def test_points_that_see_each_other_have_the_gradient_of_their_run(start):
    mu = STARTS[start]
    loss = lambda x: jnp.sum((x - jnp.array([1.0, 0.0, -1.0])) ** 2)  # noqa: E731
    field = block if start != "gaussian" else lambda x, mu, theta: block(x, mu, theta) - x

    def objective(controls, mu):
        for k in range(2):
            part = jax.tree.map(lambda a: a[k : k + 1], controls)  # noqa: B023
            flow = fm.ControlledFlow(field, part, 0.25)
            mu = fm.simulate(flow, mu, [0.0, 0.25], dt=0.0125).final
        return mu.mean(loss)

    by_run, by_start = jax.jit(jax.grad(objective, (0, 1)))(BLOCKS, mu)
    adjoints = {"discrete": 1e-9, "continuous": 2e-6}
    for adjoint, rtol in adjoints.items() if start == "weighted" else [("discrete", 1e-9)]:
        flow = lambda c: fm.ControlledFlow(field, c, 0.5)  # noqa: E731
        found = jax.jit(
            lambda c, mu: fm.pontryagin(flow(c), mu, loss, dt=0.0125, adjoint=adjoint)  # noqa: B023
        )(BLOCKS, mu)
        near = lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 200)  # noqa: B023, E731
        for name in BLOCKS:
            near(found.gradient[name], by_run[name])
        if start == "weighted":
            near(found.costates * WEIGHTS[:, None], by_start.x)
        if start == "gaussian":
            near(found.costates.m, by_start.m)


@pytest.mark.slow
def test_an_adversary_stays_on_the_sphere():
    flow = fm.ControlledFlow(block, BLOCKS, 0.5)
    worst = fm.worst_case(flow, STARTS["sphere"], lambda x: x[0], 0.3, dt=0.125)
    np.testing.assert_allclose(np.linalg.norm(worst.x, axis=1), 1, atol=1e-12)
    away = np.linalg.norm(worst.x - STARTS["sphere"].x, axis=1)
    assert np.all(away < 0.31) and np.mean(away) > 0.2
    before, after = (
        fm.pontryagin(flow, mu, lambda x: x[0], dt=0.125).value for mu in (STARTS["sphere"], worst)
    )
    assert after > before + 0.1


def test_kinds_of_costates_by_name():
    flow = fm.ControlledFlow(field, CONTROLS)
    with pytest.raises(ValueError, match="`adjoint` is 'exact'"):
        fm.pontryagin(flow, POINTS, terminal, adjoint="exact")
