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
        np.testing.assert_allclose(result.gradient[name], by_run[name], rtol=1e-6, atol=1e-8)
    # A particle has mass 1/5.
    np.testing.assert_allclose(result.costates["x"] / 5, by_start["x"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(result.costates["y"] / 5, by_start["y"], rtol=1e-6, atol=1e-8)


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
