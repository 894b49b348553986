"""Layers, contexts and limits of attention: alignment, heat, pairing, random depth."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import flowjax_measures as fm

X = jr.normal(jr.key(0), (7, 3))
TOKENS = fm.Particles(X, space=fm.Sphere()).retract()


def test_layers_are_euler_steps_and_tend_to_the_flow():
    system = fm.SelfAttention(value=lambda t: (1 + t) * jnp.eye(3), beta=2.0)
    euler = fm.simulate(system, TOKENS, [0.0, 1.0], dt=1 / 16, solver=diffrax.Euler()).final.x
    assert np.allclose(fm.layers(system, 16)(TOKENS).x, euler, atol=1e-14)
    flow = fm.simulate(system, TOKENS, [0.0, 1.0], dt=0.01).final.x
    depths = np.array([16, 32, 64, 128])
    errors = [np.abs(fm.layers(system, t)(TOKENS).x - flow).max() for t in depths.tolist()]
    assert abs(np.polyfit(np.log(depths), np.log(errors), 1)[0] + 1) < 0.1
    # What does not move stays: labels, weights and the length of a torus.
    angles = fm.Particles((X[:, :1], jnp.arange(7)), jnp.zeros(7), space=fm.Euclidean())
    moved = fm.layers(fm.CausalCircle(), 4)(angles)
    assert moved.x[1].tolist() == list(range(7)) and np.all(moved.log_w == 0)
    with pytest.raises(ValueError, match="`T`"):
        fm.layers(system, 0)


def test_normalisation_before_the_layer_slows_down():
    # |x|' = ⟨n, Γ⟩ and n' = PΓ/|x| for n = x/|x|; peri-normalised tokens move at unit speed.
    mu = fm.Particles(X)
    layer = fm.SelfAttention(beta=2.0)(0.0, TOKENS).drift.x
    gamma = fm.SelfAttention(beta=2.0)(0.0, fm.Particles(TOKENS.x)).drift.x
    system = fm.Normalized(fm.SelfAttention(beta=2.0))
    v = system(0.0, mu).drift.x
    assert np.allclose(v, gamma, atol=1e-14)
    norm = lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    _, turning = jax.jvp(norm, (X,), (v,))
    length = jnp.linalg.norm(X, axis=1, keepdims=True)
    assert np.allclose(turning, layer / length, atol=1e-14)
    peri = fm.Normalized(fm.SelfAttention(beta=2.0), "peri")(0.0, mu).drift.x
    assert np.allclose(np.linalg.norm(peri, axis=1), 1, atol=1e-14)
    with pytest.raises(ValueError, match="Gaussian"):
        system(0.0, fm.Gaussian(jnp.zeros(2), jnp.eye(2)))


@pytest.mark.parametrize(("placement", "scaled"), [("pre", True), ("peri", False)])
def test_two_normalised_tokens_against_scipy(placement, scaled):
    # At the angle φ and of length r, reading themselves with 1 − p and each other with p:
    # φ' = −2 p s sin φ / r, r' = s (1 − p + p cos φ); s/|Γ| in place of s for "peri".
    beta, ts = 2.0, np.array([0.0, 1.0, 3.0])
    scale = (lambda t: (1 + t) ** -0.5) if scaled else 1.0

    def angular(t, state):
        angle, r = state
        s = scale(t) if scaled else 1.0
        p = 1 / (1 + np.exp(beta * s**2 * (1 - np.cos(angle))))
        along, across = 1 - p + p * np.cos(angle), p * np.sin(angle)
        if placement == "peri":
            along, across = np.array([along, across]) / np.hypot(along, across)
        return [-2 * s * across / r, s * along]

    exact = solve_ivp(
        angular, (0, 3), [2.0, 1.0], method="DOP853", rtol=1e-12, atol=1e-13, t_eval=ts
    ).y
    x = jnp.array([[1.0, 0.0], [np.cos(2.0), np.sin(2.0)]])
    system = fm.Normalized(fm.SelfAttention(beta=beta), placement, scale)
    x = np.asarray(fm.simulate(system, fm.Particles(x), ts, dt=0.01).ys.x)
    length = np.linalg.norm(x, axis=2)
    angle = np.arccos(np.sum(x[:, 0] * x[:, 1], axis=1) / length.prod(1))
    assert np.allclose(angle, exact[0], atol=1e-10) and np.allclose(length.T, exact[1], atol=1e-10)


def test_queries_do_not_act_on_their_context():
    system = fm.SelfAttention(beta=2.0)
    queries = jnp.concatenate([TOKENS.x[:2], -TOKENS.x[:3]])
    run = fm.in_context(system, TOKENS, queries, [0.0, 1.0], dt=0.1)
    alone = fm.simulate(system, TOKENS, [0.0, 1.0], dt=0.1).final.x
    assert np.allclose(run.final["context"].x, alone, atol=1e-15)
    # A query that starts at a token stays with it: tokens do not split.
    assert np.allclose(run.final["queries"].x[:2], alone[:2], atol=1e-14)
    # In the context of a Gaussian, queries move affinely.
    closure = fm.Gaussian(jnp.zeros(3), 0.3 * jnp.eye(3))
    x = jnp.concatenate([jnp.zeros((1, 3)), jnp.eye(3), jnp.ones((1, 3))])
    y = fm.in_context(system, closure, x, [0.0, 0.5], dt=0.05).final["queries"].x
    assert np.allclose(y[4] - y[0], (y[1:4] - y[0]).sum(0), atol=1e-13)


@pytest.mark.slow
def test_alignment_is_the_limit_of_large_beta():
    # On the circle, from the density (1 + ½ cos θ)/2π: the error of the drift falls like 1/β.
    n = 4096
    theta = jnp.linspace(0, 2 * jnp.pi, n, endpoint=False)
    circle = jnp.stack([jnp.cos(theta), jnp.sin(theta)], axis=1)
    mu = fm.Particles(circle, jnp.log((1 + jnp.cos(theta) / 2) / n), space=fm.Sphere())
    v = jnp.array([[1.0, 0.3], [-0.2, 0.5]])
    queries = fm.Particles(circle[::512], space=fm.Sphere())

    def drift(system):
        law = fm.Reading(system)
        both = fm.Species({"context": law, "queries": law})
        return both(0.0, {"context": mu, "queries": queries}).drift["queries"].x

    limit = drift(fm.alignment_flow(value=v))
    betas = np.array([50.0, 100.0, 200.0, 400.0])
    errors = [
        np.abs(drift(fm.SelfAttention(value=v, beta=b)) - limit).max() for b in betas.tolist()
    ]
    assert abs(np.polyfit(np.log(betas), np.log(errors), 1)[0] + 1) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["alignment", "heat"])
def test_phases_of_a_run_are_its_limits(phase):
    # 400 tokens of density 1/(1 + 0.3 cos u): the first Fourier mode of the run beside that of
    # alignment at time 1, or of heat at time β s, s = 0.3: off by O(1/β).
    n, s = 400, 0.3
    u = 2 * jnp.pi * (jnp.arange(float(n)) + 0.5) / n
    angle = u + 0.3 * jnp.sin(u)
    x = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    mu = fm.Particles(x, space=fm.Sphere())
    v = jnp.array([[1.0, 0.3], [-0.2, 0.5]]) if phase == "alignment" else -jnp.eye(2)
    mean = lambda system, time: fm.simulate(system, mu, [0.0, time], dt=0.1).final.x.mean(0)  # noqa: E731
    betas, errors = np.array([10.0, 20.0, 40.0, 80.0]), []
    limit = (
        mean(fm.alignment_flow(value=v), 1.0) if phase == "alignment" else x.mean(0) * np.exp(-s)
    )
    for beta in betas.tolist():
        time = 1.0 if phase == "alignment" else beta * s
        errors.append(np.abs(mean(fm.SelfAttention(value=v, beta=beta), time) - limit).max())
    assert abs(np.polyfit(np.log(betas), np.log(errors), 1)[0] + 1) < 0.15


def test_heat_on_the_circle():
    # E cos(k(θ − θ₀)) = e^{−|γ|k²s}.
    start = jnp.tile(jnp.array([[1.0, 0.0]]), (20_000, 1))
    mu = fm.Particles(start, space=fm.Sphere())
    run = fm.simulate(fm.HeatFlow(-0.5), mu, [0.0, 0.5], dt=0.01, key=jr.key(0))
    cosine = np.asarray(run.final.x[:, 0])
    assert abs(cosine.mean() - np.exp(-0.25)) < 4 * cosine.std() / np.sqrt(20_000)


def test_pairing_against_the_full_flow():
    # Three clusters on a circle at β = 20: the times of both merges, to the leading correction.
    angles, beta = np.array([0.0, 0.9, 2.1]), 20.0
    mass = np.array([0.5, 0.3, 0.2])
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    mu = fm.Particles(jnp.asarray(circle), jnp.log(jnp.asarray(mass)), space=fm.Sphere())
    merges = fm.pairing_dynamics(mu, beta, radius=0.02)
    assert merges.pairs.tolist() == [[0, 1], [0, 2]]

    def full(t, theta):
        away = theta - theta[:, None]
        p = mass * np.exp(beta * (np.cos(away) - 1))
        return (p * np.sin(away)).sum(1) / p.sum(1)

    def meet(i, j):
        event = lambda t, theta: abs(theta[i] - theta[j]) - 0.02  # noqa: E731
        event.terminal = False
        return event

    run = solve_ivp(
        full, (0, 5 * merges.times[-1]), angles, method="LSODA", rtol=1e-9, atol=1e-12,
        events=[meet(0, 1), meet(0, 2)],
    )  # fmt: skip
    exact = np.array([run.t_events[0][0], run.t_events[1][0]])
    assert np.all(np.abs(np.log(exact) - merges.log_times) < 0.05)


@pytest.mark.slow
def test_deep_wide_random_networks_tend_to_the_common_noise():
    # Two tokens: the law of their product after unit time, network against SDE.
    start, replicas = TOKENS.x[:2], 4000
    mu = fm.Particles(start, space=fm.Sphere())
    system = fm.SelfAttention(beta=1.0)
    noisy = system + fm.RandomMLPNoise("relu", 1.0)

    def sde(key):
        x = fm.simulate(noisy, mu, [0.0, 1.0], dt=0.02, key=key).final.x
        return jnp.vdot(x[0], x[1])

    def network(key):
        x = fm.random_layers(system, "relu", start, key, width=256, depth=64)
        return jnp.vdot(x[0], x[1])

    a = np.asarray(jax.lax.map(sde, jr.split(jr.key(0), replicas), batch_size=500))
    b = np.asarray(jax.lax.map(network, jr.split(jr.key(1), replicas), batch_size=500))
    error = np.sqrt((a.var() + b.var()) / replicas)
    assert abs(a.mean() - b.mean()) < 4 * error + 0.01
    assert abs((a**2).mean() - (b**2).mean()) < 4 * error + 0.01
