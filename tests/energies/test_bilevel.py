"""Hypergradients against differences; instruments against two-stage least squares."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

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


def _smooth_on_a_circle(size):
    """u is a function on a circle: ℓ = ½|u − θ g|² + |Du|²/2·scale + Σ u⁴/4, L = ½|u − t|²."""
    x = 2 * np.pi * np.arange(size) / size
    source, target = jnp.sin(x), jnp.cos(3 * x) / 2

    def inner(theta, u, mu):
        bend = jnp.sum((jnp.roll(u, -1) - u) ** 2) * 0.5
        forms = theta[0] * source + theta[1] * source**2
        return jnp.sum((u - forms) ** 2) / 2 + bend + jnp.sum(u**4) / 4

    outer = lambda theta, u, mu: jnp.sum((u - target) ** 2) / (2 * size)  # noqa: E731
    return outer, inner, jnp.zeros(size)


@pytest.mark.slow
def test_products_with_the_hessian_solve_as_matrices_do():
    theta, parts = jnp.array([0.7, 1.2]), _smooth_on_a_circle(20)
    dense, free = fm.Bilevel(*parts), fm.Bilevel(*parts, matrix_free=True)
    here, there = (jax.jit(jax.value_and_grad(p))(theta) for p in (free, dense))
    np.testing.assert_allclose(here[0], there[0], rtol=1e-10)
    np.testing.assert_allclose(here[1], there[1], rtol=1e-8)
    concave = fm.Bilevel(parts[0], lambda t, u, mu: -jnp.sum(u**2) + t[0] * u[0], parts[2],
                         matrix_free=True)  # fmt: skip
    assert jnp.isnan(concave(theta))


def test_a_predictor_of_ten_thousand_numbers():
    theta = jnp.array([0.7, 1.2])
    large = fm.Bilevel(*_smooth_on_a_circle(10_000), matrix_free=True)
    value = jax.jit(lambda theta: large(theta))
    slope = jax.jit(jax.grad(value))(theta)
    step = jnp.array([1e-4, 0.0])
    central = (value(theta + step) - value(theta - step)) / 2e-4
    np.testing.assert_allclose(slope[0], central, rtol=1e-6)


@pytest.mark.slow
def test_predictor_and_adjoint_in_one_space_give_the_hypergradient_of_coefficients():
    """h and a as least squares on the same features: the implicit derivative, exactly."""
    data, theta = confounded(60), jnp.array([0.7, 1.2])
    respond = lambda theta, x: theta[0] * jnp.tanh(theta[1] * x)  # noqa: E731
    features, whole = instrumental(respond, 0.0)
    problem = fm.FunctionalBilevel(
        lambda theta, v, d: (d["y"] - v) ** 2 / 2,
        lambda theta, v, d: (v - respond(theta, d["x"])) ** 2 / 2,
    )
    psi = jax.vmap(features)(data.x["z"])
    fit = lambda values: jnp.linalg.lstsq(psi, values)[0]  # noqa: E731
    u = fit(respond(theta, data.x["x"]))
    h = lambda d: u @ features(d["z"])  # noqa: E731
    dual = lambda w: lambda d: w @ features(d["z"])  # noqa: E731
    adjoint = jax.jit(lambda w: problem.adjoint_loss(dual(w), h, theta, data))
    # The adjoint's problem is quadratic.
    w = -jnp.linalg.solve(jax.hessian(adjoint)(jnp.zeros(3)), jax.grad(adjoint)(jnp.zeros(3)))
    np.testing.assert_allclose(w, fit(data.x["y"] - psi @ u), rtol=1e-9)
    found = problem.gradient(theta, h, dual(w), data)
    np.testing.assert_allclose(found, jax.grad(whole)(theta, data), rtol=1e-8)
    inner = jax.grad(lambda u: problem.inner_loss(lambda d: u @ features(d["z"]), theta, data))(u)
    np.testing.assert_allclose(inner, 0, atol=1e-12)


@pytest.mark.slow
def test_networks_as_predictor_and_adjoint():
    """A cubic first stage, ten thousand data, both functions learned: the slope of the response."""
    z, e = jr.normal(jr.key(5), (2, 10_000))
    x = z + 0.5 * jnp.sin(2 * z) + 0.5 * e
    data = dict(z=z, x=x, y=1.5 * x - 2 * e)
    problem = fm.FunctionalBilevel(
        lambda theta, v, d: (d["y"] - v) ** 2 / 2,
        lambda theta, v, d: (v - theta * d["x"]) ** 2 / 2,
    )

    def batch(key):
        index = jr.randint(key, (256,), 0, 10_000)
        return fm.Particles(jax.tree.map(lambda a: a[index], data))

    def network(net):
        return lambda d: net(0.0, d["z"][None])

    def slope(theta):
        blank = fm.MLP(1, width=32, depth=2, out="scalar", time=0, key=jr.key(0))
        h = fm.learn(
            lambda net, key: problem.inner_loss(network(net), theta, batch(key)),
            blank, key=jr.key(1), steps=2000,
        ).network  # fmt: skip
        a = fm.learn(
            lambda net, key: problem.adjoint_loss(network(net), network(h), theta, batch(key)),
            blank, key=jr.key(2), steps=2000,
        ).network  # fmt: skip
        return problem.gradient(theta, network(h), network(a), fm.Particles(data))

    # J is quadratic in θ.
    at = [float(slope(jnp.asarray(theta))) for theta in (0.0, 3.0)]
    assert abs(-3 * at[0] / (at[1] - at[0]) - 1.5) < 0.1
    biased = float(x @ data["y"] / (x @ x))
    assert abs(biased - 1.5) > 0.2


@pytest.mark.slow
def test_a_model_of_a_decision_process_is_learned_for_the_values_that_it_gives():
    """Model-based learning: Q_θ rests under the model's moves, J is its error under the true ones.

    Four states on a ring, two actions that try to turn left and right. The model believes in one
    chance to succeed everywhere; the true one differs from state to state.
    """
    gamma, tau, states = 0.6, 0.5, np.arange(4)
    reward = jnp.array([[0.0, 1.0], [0.3, 0.0], [0.0, 0.0], [2.0, 0.5]])
    chances = jnp.array([0.9, 0.4, 0.7, 0.6])
    soft = lambda q: tau * jax.nn.logsumexp(q / tau, axis=1)  # noqa: E731
    left, right = (states - 1) % 4, (states + 1) % 4

    def backup(q, chance):
        """r + γ E V(s′): the turn that was meant, with a chance, else a stay."""
        v = soft(q)
        moved = jnp.stack([v[left], v[right]], 1)
        chance = jnp.broadcast_to(chance, (4,))[:, None]
        return reward + gamma * (chance * moved + (1 - chance) * v[:, None])

    visits = fm.Particles(jnp.arange(8.0)[:, None], weights=jnp.arange(1.0, 9.0) / 36)

    def outer(theta, q, mu):
        error = (q.reshape(4, 2) - backup(q.reshape(4, 2), chances)).ravel() ** 2
        return mu.mean(lambda x: error[x[0].astype(int)]) / 2

    def inner(theta, q, mu):
        return jnp.sum((q.reshape(4, 2) - backup(q.reshape(4, 2), theta)) ** 2) / 2

    def by_iteration(theta):
        q = jnp.zeros((4, 2))
        for _ in range(80):
            q = backup(q, theta)
        return outer(theta, q.ravel(), visits)

    problem = fm.Bilevel(outer, inner, jnp.zeros(8))
    value = jax.jit(jax.value_and_grad(lambda theta: problem(theta, visits)))
    exact = jax.jit(jax.value_and_grad(by_iteration))
    theta = jnp.asarray(0.3)
    np.testing.assert_allclose(value(theta), exact(theta), rtol=1e-8)
    for _ in range(60):
        theta = theta - 3.0 * value(theta)[1]
    grid = jnp.linspace(0.3, 0.9, 121)
    best = grid[jnp.argmin(jax.vmap(by_iteration)(grid))]
    np.testing.assert_allclose(theta, best, atol=6e-3)
    # The likeliest model of the same visits, the mean chance, is another one.
    likely = jnp.repeat(chances, 2) @ jnp.arange(1.0, 9.0) / 36
    assert by_iteration(theta) < 0.97 * by_iteration(likely) and abs(best - likely) > 0.02
