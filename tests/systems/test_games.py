"""Games: rates, equilibria, and steps that are stable."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import minimize

import flowjax_measures as fm

A, C, B = 1.0, 2.0, 5.0


def payoff(x, y):
    """A|x − 1|²/2 − C|y|²/2 + B⟨x, y⟩: x pays it to y. Saddle at x = A/(A + B²/C), y = B x/C."""
    z = x - 1
    return A * jnp.vdot(z, z) / 2 - C * jnp.vdot(y, y) / 2 + B * jnp.vdot(x, y)


COSTS = {
    "x": lambda mu: fm.PotentialEnergy(lambda x: mu["y"].mean(lambda y: payoff(x, y))),
    "y": lambda mu: fm.PotentialEnergy(lambda y: -mu["x"].mean(lambda x: payoff(x, y))),
}
NASH = A / (A + B**2 / C), B / C * A / (A + B**2 / C)


def players(n=4):
    return {
        "x": fm.Particles(jr.normal(jr.key(0), (n, 1))),
        "y": fm.Particles(jr.normal(jr.key(1), (n + 1, 1))),
    }


def distance(one, two):
    square = lambda name: fm.wasserstein(one[name], two[name], 2) ** 2  # noqa: E731
    return float(jnp.sqrt(square("x") + square("y")))


@pytest.mark.slow
def test_quadratic_game_is_linear_and_contracts():
    # Means follow M = [[−A, −B], [B, −C]] z + (A, 0); what is about them falls by e^{−At}, e^{−Ct}.
    state, t = players(), 0.6
    final = fm.simulate(fm.Game(COSTS), state, [0.0, t]).final
    matrix = np.array([[-A, -B], [B, -C]])
    means = np.array([state[k].mean()[0] for k in "xy"])
    found = np.array([final[k].mean()[0] for k in "xy"])
    np.testing.assert_allclose(found, NASH + expm(matrix * t) @ (means - NASH), atol=1e-7)
    for name, rate in (("x", A), ("y", C)):
        gap = np.exp(-rate * t) * (state[name].x - state[name].mean())
        np.testing.assert_allclose(final[name].x - final[name].mean(), gap, atol=1e-7)
    values = fm.Game(COSTS).values(state)
    np.testing.assert_allclose(values["x"], -values["y"])


@pytest.mark.slow
def test_distances_fall_at_the_rate_of_monotonicity():
    state, t = players(), 0.6
    # λ = min(A, C): distances fall at least so.
    other = {k: fm.Particles(m.x[::-1] ** 2) for k, m in state.items()}
    ends = [fm.simulate(fm.Game(COSTS), s, [0.0, t]).final for s in (state, other)]
    assert distance(*ends) <= np.exp(-A * t) * distance(state, other)


@pytest.mark.slow
def test_variational_movement_is_stable_where_explicit_steps_are_not():
    # M has eigenvalues −3/2 ± 4.97i: |1 + τM| = 2.5 at τ = 1/2. Partners held as they were:
    # B²τ² > (1 + Aτ)(1 + Cτ).
    state, tau = players(), 0.5
    game = fm.Game(COSTS)
    final = fm.simulate(game, state, [0.0, 20.0], solver=fm.VariationalMovement(tau)).final
    for name, value in zip("xy", NASH, strict=True):
        np.testing.assert_allclose(final[name].x, value, atol=1e-6)
    one = fm.simulate(game, state, [0.0, tau], solver=fm.VariationalMovement(tau)).final
    matrix = np.array([[-A, -B], [B, -C]])
    means = np.array([state[k].mean()[0] for k in "xy"])
    step = NASH + np.linalg.solve(np.eye(2) - tau * matrix, means - NASH)
    np.testing.assert_allclose([one[k].mean()[0] for k in "xy"], step, atol=1e-10)
    for solver in (diffrax.Euler(), fm.VariationalMovement(tau, partial=True)):
        gone = fm.simulate(game, state, [0.0, 8.0], dt=tau, solver=solver).final
        assert abs(gone["x"].mean()[0]) > 10


@pytest.mark.slow
def test_each_step_is_a_nash_equilibrium_of_what_is_penalised():
    state, tau = players(3), 0.3
    costs = COSTS | {
        "x": lambda mu: COSTS["x"](mu) + fm.InteractionEnergy(fm.GaussianKernel(0.7)),
    }
    y = fm.Gaussian(jnp.array([0.4]), jnp.array([[0.3]]))
    state = {"x": state["x"], "y": y}
    end = fm.simulate(fm.Game(costs), state, [0.0, tau], solver=fm.VariationalMovement(tau)).final

    def paid(x):
        new = fm.Particles(x)
        moved = jnp.mean(jnp.sum((x - state["x"].x) ** 2, 1))
        return costs["x"](end)(new) + moved / (2 * tau)

    def paid_by_y(z):
        new = fm.Gaussian(z[:1], z[1:, None])
        return costs["y"](end)(new) + fm.bures(new, y) / (2 * tau)

    np.testing.assert_allclose(jax.grad(paid)(end["x"].x), 0, atol=1e-8)
    slope = jax.grad(paid_by_y)(jnp.concatenate([end["y"].m, end["y"].cov[0]]))
    np.testing.assert_allclose(slope, 0, atol=1e-8)
    with pytest.raises(ValueError, match="JKO"):
        fm.simulate(fm.Langevin(fm.Quadratic()), y, [0.0, 1.0], solver=fm.VariationalMovement(0.5))


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1], ids=["aligned", "opposed"])
def test_strategic_population_moves_with_a_learner(sign):
    """A learner x of ½E|x − z|², and a population z at N(0, 1) that helps it or evades it.

    Population: ±(weight/2) ∫|x − z|² dρ + KL(ρ | N(0, 1)). At rest x = E z, and E z = 0.
    """
    weight = 0.4
    loss = lambda x, z: jnp.sum((x - z) ** 2) / 2  # noqa: E731
    costs = {
        "learner": lambda mu: fm.PotentialEnergy(
            lambda x: mu["population"].mean(lambda z: loss(x, z))
        ),
        "population": lambda mu: (
            fm.KL(fm.Quadratic())
            + fm.PotentialEnergy(lambda z: sign * weight * mu["learner"].mean(lambda x: loss(x, z)))
        ),
    }
    state = {
        "learner": fm.Particles(jnp.array([[2.0]])),
        "population": fm.Gaussian(jnp.array([1.0]), jnp.array([[0.5]])),
    }
    t = 1.1
    final = fm.simulate(fm.Game(costs), state, [0.0, t]).final
    pull = 1 + sign * weight
    matrix = np.array([[-1, 1], [sign * weight, -pull]])
    means = expm(matrix * t) @ [2.0, 1.0]
    found = [final["learner"].x[0, 0], final["population"].m[0]]
    np.testing.assert_allclose(found, means, atol=1e-7)
    variance = 1 / pull + (0.5 - 1 / pull) * np.exp(-2 * pull * t)
    np.testing.assert_allclose(final["population"].cov, [[variance]], atol=1e-7)


@pytest.mark.slow
def test_policies_of_a_decision_process():
    """Fisher–Rao flow of policies, one species a state, to those of soft value iteration.

    Costs c(s, a), discount γ, moves P(s′ | s, a), and τ KL(π | uniform). Q is that of the policy.
    """
    tau, gamma = 0.3, 0.8
    cells = fm.GridDensity(jnp.ones(5), 0.0, 1.0)
    actions = cells.centres()[:, 0]
    cost = lambda s, a: jnp.where(s == 0, (a - 0.2) ** 2 + 0.5, (a - 0.9) ** 2)  # noqa: E731
    stay = lambda s, a: jnp.where(s == 0, 1 - 0.8 * a, 0.6 * a)  # noqa: E731

    def q_values(mu):
        pi = jnp.stack([mu[s].rho for s in "01"]) * cells.cell
        table = jnp.stack([jax.vmap(lambda a, s=s: cost(s, a))(actions) for s in (0, 1)])
        to_zero = jnp.stack([jax.vmap(lambda a, s=s: stay(s, a))(actions) for s in (0, 1)])
        entropy = jnp.sum(pi * jnp.log(pi / cells.cell), 1)
        now = jnp.sum(pi * table, 1) + tau * entropy
        move = jnp.sum(pi * to_zero, 1)
        chain = jnp.stack([move, 1 - move], 1)
        value = jnp.linalg.solve(jnp.eye(2) - gamma * chain, now)
        return table + gamma * (to_zero * value[0] + (1 - to_zero) * value[1])

    def policy(s):
        def energy(mu):
            q = q_values(mu)[s]
            choose = lambda a: q[jnp.round((a[0] - 0.1) * 5).astype(int)]  # noqa: E731
            return fm.PotentialEnergy(choose) + tau * fm.Entropy()

        return energy

    game = fm.Game({"0": policy(0), "1": policy(1)}, fm.FisherRao())
    final = fm.simulate(game, {"0": cells, "1": cells}, [0.0, 60.0], dt=0.25).final

    a = np.asarray(actions)
    table = np.stack([(a - 0.2) ** 2 + 0.5, (a - 0.9) ** 2])
    to_zero = np.stack([1 - 0.8 * a, 0.6 * a])
    value = np.zeros(2)
    for _ in range(400):
        q = table + gamma * (to_zero * value[0] + (1 - to_zero) * value[1])
        value = -tau * np.log(np.mean(np.exp(-q / tau), 1))
    best = np.exp(-q / tau) / np.mean(np.exp(-q / tau), 1, keepdims=True)
    np.testing.assert_allclose(jnp.stack([final["0"].rho, final["1"].rho]), best, rtol=1e-6)


@pytest.mark.slow
def test_monotonicity_of_a_quadratic_game_is_its_constant():
    # x descends ½⟨x, Ax⟩ + ⟨x, By⟩, y descends ½⟨y, Cy⟩ − ⟨x, By⟩ + 0.3⟨x, y⟩.
    a, c = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[1.5, 0.0], [0.0, 0.8]])
    b, extra = np.array([[0.5, -1.0], [0.2, 0.4]]), 0.3

    def of_x(mu):
        pull = b @ mu["y"].mean()
        return fm.PotentialEnergy(lambda x: x @ a @ x / 2 + x @ pull)

    def of_y(mu):
        pull = extra * mu["x"].mean() - b.T @ mu["x"].mean()
        return fm.PotentialEnergy(lambda y: y @ c @ y / 2 + y @ pull)

    game = fm.Game({"x": of_x, "y": of_y})
    jacobian = np.block([[a, b], [extra * np.eye(2) - b.T, c]])
    exact = np.linalg.eigvalsh((jacobian + jacobian.T) / 2)[0]
    point = lambda v: fm.Particles(jnp.array([v]))  # noqa: E731
    state = {"x": point([1.0, 2.0]), "y": point([0.0, -1.0])}
    np.testing.assert_allclose(game.monotonicity(state), exact, atol=1e-13)
    # A population instead of a point: its mean plays, and its spread has the constant of its own.
    cloud = fm.Particles(jnp.array([[1.0, 2.0], [0.0, 1.0]]), weights=jnp.array([0.3, 0.7]))
    many = game.monotonicity({"x": cloud, "y": state["y"]})
    np.testing.assert_allclose(many, min(exact, np.linalg.eigvalsh(a)[0]), atol=1e-13)


def test_a_learner_in_space_against_shares_that_change():
    """x pays Σ_k w_k |x − z_k|²/2 + x⁴/4 in Wasserstein; w its negative, in Fisher–Rao."""
    places, tau, start, shares = np.array([-1.0, 0.3, 2.0]), 0.4, 1.0, np.array([0.2, 0.5, 0.3])
    costs = {
        "x": lambda mu: fm.PotentialEnergy(
            lambda x: mu["w"].mean(lambda z: (x - z) @ (x - z) / 2) + x[0] ** 4 / 4
        ),
        "w": lambda mu: (
            fm.PotentialEnergy(lambda z: -mu["x"].mean(lambda x: (x - z) @ (x - z) / 2))
            + 0.5 * fm.KL(lambda z: 0.0 * z[0], fm.CountingKernel())
        ),
    }
    game = fm.Game(costs, {"x": fm.Wasserstein(), "w": fm.FisherRao()})
    state = {
        "x": fm.Particles(jnp.array([[start]])),
        "w": fm.Particles(jnp.asarray(places)[:, None], weights=jnp.asarray(shares)),
    }
    final = fm.simulate(game, state, [0.0, tau], solver=fm.VariationalMovement(tau)).final
    x, w = float(final["x"].x[0, 0]), np.exp(np.asarray(final["w"].log_w))
    np.testing.assert_allclose(final["w"].x[:, 0], places, atol=0)
    np.testing.assert_allclose(np.sum(w), 1, rtol=1e-12)

    def paid(y):
        return w @ (y - places) ** 2 / 2 + y**4 / 4 + (y - start) ** 2 / (2 * tau)

    def earned(logits):
        p = np.exp(logits) / np.sum(np.exp(logits))
        entropies = 0.5 * p @ np.log(p) + p @ np.log(p / shares) / tau
        return -p @ (x - places) ** 2 / 2 + entropies

    np.testing.assert_allclose(minimize(paid, 0.5).x, x, atol=1e-6)
    best = minimize(earned, np.zeros(3), options={"gtol": 1e-9}).x
    np.testing.assert_allclose(np.exp(best) / np.sum(np.exp(best)), w, atol=1e-6)
    with pytest.raises(ValueError, match="`metric`"):
        fm.Game(costs, {"x": fm.Wasserstein()})


@pytest.mark.slow
def test_a_linear_critic_and_points_oscillate():
    # ẋ = −θ, θ̇ = s(m − n) where |θ| < 1: the means turn at the rate √s about those of the target.
    nu = fm.Particles(jnp.array([[0.2], [0.8]]))
    mu = fm.Particles(jnp.array([[0.9], [0.5], [1.3]]))
    speed, t = 4.0, 0.7
    game = fm.critic_game(nu, lambda theta, x: theta @ x, speed=speed)
    state = {"points": mu, "critic": fm.Particles(jnp.array([[0.1]]))}
    final = fm.simulate(game, state, [0.0, t]).final
    w, gap = np.sqrt(speed), 0.9 - 0.5
    exact = gap * np.cos(w * t) - 0.1 / w * np.sin(w * t)
    np.testing.assert_allclose(final["points"].mean()[0] - 0.5, exact, atol=1e-7)
    theta = 0.1 * np.cos(w * t) + gap * w * np.sin(w * t)
    np.testing.assert_allclose(final["critic"].x, [[theta]], atol=1e-7)
    # Beyond slope 1 the penalty γ(θ − 1)² of both measures holds it.
    steep = {"points": mu, "critic": fm.Particles(jnp.array([[1.5]]))}
    pull = game(0.0, steep).drift["critic"].x
    np.testing.assert_allclose(pull, [[speed * (gap - 2 * 10.0 * 0.5)]], rtol=1e-12)


@pytest.mark.slow
def test_a_network_as_a_critic_brings_points_to_samples():
    turn = 2 * np.pi * np.arange(60) / 60
    ring = fm.Particles(jnp.asarray(np.stack([np.cos(turn), np.sin(turn)], 1)))
    network = fm.MLP(2, out="scalar", time=0, width=32, depth=2, key=jr.key(0))
    weights, rest = eqx.partition(network, eqx.is_inexact_array)
    game = fm.critic_game(ring, lambda w, x: eqx.combine(w, rest)(0.0, x), speed=20.0)
    state = {
        "points": fm.Particles(0.3 * jr.normal(jr.key(1), (60, 2))),
        "critic": fm.Particles(jax.tree.map(lambda a: a[None], weights)),
    }
    final = fm.simulate(game, state, [0.0, 4.0], dt=0.01).final
    before, after = (fm.wasserstein(s["points"], ring, 1) for s in (state, final))
    assert after < 0.3 * before, (before, after)
