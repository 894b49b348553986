"""Hypergradients against differences; instruments against two-stage least squares."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm


def confounded(n=200):
    """x = 0.8 z + e, y = 1.5 x − 2 e: regression of y on x is biased by the hidden e."""
    z, e = jr.normal(jr.key(0), (2, n))
    x = 0.8 * z + e
    return fm.Particles(dict(z=z, x=x, y=1.5 * x - 2 * e))


def instrumental(response, ridge):
    """First stage: E[f_θ(x) | z] on features of z; second: y against it."""
    features = lambda z: jnp.stack([z, z**2 - 1, jnp.sin(z)])  # noqa: E731

    def inner(theta, u, mu):
        fits = lambda d: (u @ features(d["z"]) - response(theta, d["x"])) ** 2  # noqa: E731
        return mu.mean(fits) / 2 + ridge * jnp.vdot(u, u) / 2

    def outer(theta, u, mu):
        return mu.mean(lambda d: (d["y"] - u @ features(d["z"])) ** 2) / 2

    return features, fm.Bilevel(outer, inner, jnp.zeros(3))


def test_linear_instruments_are_two_stage_least_squares():
    data = confounded()
    features, problem = instrumental(lambda theta, x: theta * x, 0.0)
    z = np.asarray(jax.vmap(features)(data.x["z"]))
    fitted = z @ np.linalg.lstsq(z, np.asarray(data.x["x"]), rcond=None)[0]
    exact = fitted @ data.x["y"] / (fitted @ fitted)
    # J is quadratic in θ: one step of Newton's from two values of its derivative.
    slope = jax.jit(jax.grad(lambda theta, mu: problem(theta, mu)))
    at = [float(slope(t, data)) for t in (0.0, 1.0)]
    found = -at[0] / (at[1] - at[0])
    np.testing.assert_allclose(found, exact, rtol=1e-9)
    biased = data.x["x"] @ data.x["y"] / (data.x["x"] @ data.x["x"])
    assert abs(found - 1.5) < 0.3 < abs(biased - 1.5)


def test_hypergradient_is_that_of_differences():
    data = confounded(50)
    _, problem = instrumental(lambda theta, x: theta[0] * jnp.tanh(theta[1] * x), 0.1)
    # A predictor that is not linear in the data: the inner loss has a quartic term too.
    plain = problem.inner
    inner = lambda theta, u, mu: plain(theta, u, mu) + jnp.sum(u**4) * theta[1] ** 2  # noqa: E731
    problem = fm.Bilevel(problem.outer, inner, problem.start)
    value = jax.jit(lambda theta, mu: problem(theta, mu))
    theta = jnp.array([0.7, 1.2])
    slopes = [jax.jit(d(value))(theta, data) for d in (jax.grad, jax.jacfwd)]
    for axis, step in enumerate(1e-5 * jnp.eye(2)):
        central = (value(theta + step, data) - value(theta - step, data)) / 2e-5
        for slope in slopes:
            np.testing.assert_allclose(slope[axis], central, rtol=1e-7)


def test_a_concave_inner_problem_has_no_predictor():
    inner = lambda theta, u, mu: -jnp.sum(u**2) / 2 + theta * jnp.sum(u)  # noqa: E731
    problem = fm.Bilevel(lambda theta, u, mu: jnp.sum(u**2), inner, jnp.zeros(2))
    assert jnp.isnan(problem(1.0))
