"""Self-attention against sums written out with NumPy, scalar equations, and closed forms."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import ive

import flowjax_measures as fm

X = jr.normal(jr.key(0), (6, 3))
BIAS = jr.normal(jr.key(1), (6, 6))
MASK = jr.bernoulli(jr.key(2), 0.6, (6, 6))


def written_out(x, beta, causal=False, exclude_self=False, bias=0.0, mask=True, mean=False):
    x = np.asarray(x)
    i = np.arange(len(x))
    allowed = np.ones((len(x), len(x)), bool) & np.asarray(mask)
    if causal:
        allowed &= i <= i[:, None]
    if exclude_self:
        allowed &= i != i[:, None]
    weights = np.where(allowed, np.exp(beta * x @ x.T + np.asarray(bias)), 0)
    total = np.full(len(x), float(len(x))) if mean else weights.sum(1)
    return weights @ x / np.where(total == 0, 1, total)[:, None]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {}),
        ({"causal": True}, {"causal": True}),
        ({"causal": True, "exclude_self": True}, {"causal": True, "exclude_self": True}),
        ({"exclude_self": True, "normalization": "mean"}, {"exclude_self": True, "mean": True}),
        ({"mask": MASK, "bias": BIAS}, {"mask": MASK, "bias": BIAS}),
        (
            {"causal": True, "bias": lambda i, j: 0.3 * (j - i).astype(float)},
            {"causal": True, "bias": 0.3 * (np.arange(6) - np.arange(6)[:, None])},
        ),
    ],
)
def test_velocity_is_the_sum_written_out(fields, options):
    system = fm.SelfAttention(beta=1.7, **fields)
    expected = written_out(X, 1.7, **options)
    assert np.allclose(system(0.0, fm.Particles(X)).drift.x, expected, atol=1e-13)
    # Labels in place of positions, and tiles, give the same.
    labelled = fm.Particles((X, jnp.arange(6)), block=4)
    assert np.allclose(system(0.0, labelled).drift.x[0], expected, atol=1e-13)


def test_order_follows_labels_and_composes():
    flip = jnp.arange(6)[::-1]
    system = fm.SelfAttention(beta=1.7, causal=True)
    velocity = system(0.0, fm.Particles((X[::-1], flip))).drift.x[0]
    assert np.allclose(velocity[::-1], written_out(X, 1.7, causal=True), atol=1e-13)
    both = system + fm.SelfAttention(beta=-1.0)
    expected = written_out(X, 1.7, causal=True) + written_out(X, -1.0)
    assert np.allclose(both(0.0, fm.Particles(X)).drift.x, expected, atol=1e-13)


def heads():
    shapes = {"query": (2, 4, 3), "key": (2, 4, 3), "value": (2, 5, 3), "output": (2, 3, 5)}
    keys = jr.split(jr.key(3), 4)
    return {n: jr.normal(k, s) / 2 for k, (n, s) in zip(keys, shapes.items(), strict=True)}


def test_heads_add():
    m = heads()
    beta = jnp.array([0.3, 0.6])
    velocity = fm.SelfAttention(beta=beta, **m)(0.0, fm.Particles(X)).drift.x
    expected = 0
    for h in range(2):
        scores = beta[h] * (X @ m["query"][h].T) @ (X @ m["key"][h].T).T
        reads = jax.nn.softmax(scores, axis=1) @ X
        expected = expected + reads @ (m["output"][h] @ m["value"][h]).T
    assert np.allclose(velocity, expected, atol=1e-13)
    of_time = fm.SelfAttention(
        lambda t: t * m["query"], m["key"], m["value"], beta, output=m["output"]
    )
    assert np.allclose(of_time(1.0, fm.Particles(X)).drift.x, expected, atol=1e-13)


def test_wrong_fields_are_refused():
    with pytest.raises(ValueError, match=r"'query': 2, 'key': 3"):
        fm.SelfAttention(jnp.ones((2, 4, 3)), jnp.ones((3, 4, 3)))(0.0, fm.Particles(X))
    with pytest.raises(ValueError, match="tells its points apart"):
        fm.SelfAttention(causal=True)(0.0, fm.Gaussian(jnp.zeros(2), jnp.eye(2)))


def test_gaussian_closure_is_the_covariance_equation():
    m, cov = jnp.array([0.2, -0.1, 0.3]), jnp.diag(jnp.array([0.5, 0.3, 0.4])) + 0.05
    fields = heads()
    drift = fm.SelfAttention(beta=0.3, **fields)(0.0, fm.Gaussian(m, cov)).drift
    m_dot, cov_dot = 0, 0
    for h in range(2):
        value = fields["output"][h] @ fields["value"][h]
        tilt = 0.3 * cov @ fields["key"][h].T @ fields["query"][h]
        m_dot = m_dot + value @ (m + tilt @ m)
        cov_dot = cov_dot + value @ tilt @ cov
    assert np.allclose(drift.m, m_dot, atol=1e-13)
    assert np.allclose(drift.cov, cov_dot + cov_dot.T, atol=1e-13)


def test_blow_up_ends_the_run_at_its_time():
    # σ' = 2βσ², so σ = σ₀/(1 − 2βσ₀t) is infinite at t = 1/(2βσ₀).
    beta, sigma = 0.7, 0.9
    run = fm.simulate(
        fm.SelfAttention(beta=beta), fm.Gaussian(jnp.zeros(1), sigma * jnp.eye(1)), [0.0, 2.0],
        event=lambda t, mu: mu.cov[0, 0] - 1e9,
    )  # fmt: skip
    assert run.result == fm.Results.event_occurred
    assert np.isclose(run.stats["t_final"], 1 / (2 * beta * sigma), rtol=1e-6)


def test_two_and_three_tokens_against_scipy():
    # On the circle θ_i' = Σ_j e^{β cos(θ_j − θ_i)} sin(θ_j − θ_i) / Σ_j e^{β cos(θ_j − θ_i)}.
    beta = 2.0

    def angular(t, angle):
        away = angle - angle[:, None]
        p = np.exp(beta * np.cos(away))
        return (p * np.sin(away)).sum(1) / p.sum(1)

    for start in (np.array([0.0, 2.5]), np.array([0.0, 1.0, 2.9])):
        exact = solve_ivp(angular, (0, 3), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        x = jnp.stack([jnp.cos(start), jnp.sin(start)], axis=1)
        mu = fm.Particles(x, space=fm.Sphere())
        run = fm.simulate(fm.SelfAttention(beta=beta), mu, [0.0, 3.0], dt=0.01)
        expected = np.stack([np.cos(exact), np.sin(exact)], axis=1)
        assert np.allclose(run.final.x, expected, atol=1e-9)


@pytest.mark.parametrize("normalization", ["softmax", "mean"])
def test_energy_identity(normalization):
    # dE/dt = Σ‖v_i‖²/n where the normaliser is fixed, Σ Z_i ‖v_i‖²/n with Z_i = ∫ e^{β⟨x_i, y⟩} dμ.
    beta = 1.5
    mu = fm.Particles(X, space=fm.Sphere()).retract()
    system = fm.SelfAttention(beta=beta, normalization=normalization)
    v = system(0.0, mu).drift.x
    energy = lambda x: fm.interaction_energy(fm.Particles(x), beta)  # noqa: E731
    _, rate = jax.jvp(energy, (mu.x,), (v,))
    z = np.exp(beta * mu.x @ mu.x.T).mean(1) if normalization == "softmax" else np.ones(6)
    assert np.isclose(rate, (z * (v**2).sum(1)).mean(), rtol=1e-12)


@pytest.mark.parametrize(
    ("normalization", "dt"),
    [("softmax", 0.1), pytest.param("mean", 0.005, marks=pytest.mark.slow)],
)
def test_energy_never_decreases(normalization, dt):
    # Q = K, V = QᵀQ: the flow climbs (1/2β) ∬ e^{β⟨Qx, Qy⟩} for any such matrix, singular ones too.
    def climb(q):
        system = fm.SelfAttention(q, q, q.T @ q, 2.0, normalization)
        mu = fm.Particles(jr.normal(jr.key(6), (8, 3)), space=fm.Sphere()).retract()
        energy = lambda mu: fm.interaction_energy(fm.Particles(mu.x @ q.T), 2.0)  # noqa: E731
        return fm.simulate(system, mu, dt * np.arange(10001), dt=dt, observe=energy).ys

    q = jnp.eye(3) + 0.3 * jr.normal(jr.key(5), (4, 3, 3))
    q = q.at[3, 2].set(0.0) / jnp.linalg.norm(q, axis=(1, 2), keepdims=True)
    energies = jax.vmap(climb)(q)
    assert (np.diff(energies) / energies[:, -1:]).min() > -1e-12


@pytest.mark.parametrize("normalization", ["softmax", "mean"])
@pytest.mark.parametrize("mode", [1, 2, 3])
def test_growth_rates_of_the_uniform_state_on_the_circle(normalization, mode):
    # k² I_k(β)/β, divided by I_0(β) for softmax; aliasing of 64 points is below 1e-15.
    beta, n = 3.0, 64
    angle = 2 * jnp.pi * jnp.linspace(0, 1, n, endpoint=False)
    system = fm.SelfAttention(beta=beta, normalization=normalization)

    def angular(angle):
        x = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
        v = system(0.0, fm.Particles(x, space=fm.Sphere())).drift.x
        return v[:, 1] * jnp.cos(angle) - v[:, 0] * jnp.sin(angle)

    wave = jnp.cos(mode * angle)
    _, growth = jax.jvp(angular, (angle,), (wave,))
    rate = mode**2 * ive(mode, beta) / beta
    rate = rate / ive(0, beta) if normalization == "softmax" else rate * np.exp(beta)
    assert np.allclose(growth, rate * wave, atol=1e-12)


def test_the_network_tends_to_the_flow_at_first_order():
    mu = fm.Particles(X, space=fm.Sphere()).retract()
    system = fm.SelfAttention(beta=2.0)
    exact = fm.simulate(system, mu, [0.0, 1.0], dt=0.005).final.x
    errors = []
    depths = np.array([16, 32, 64, 128])
    for depth in depths:
        run = fm.simulate(system, mu, [0.0, 1.0], dt=float(1 / depth), solver=diffrax.Euler())
        errors.append(np.abs(run.final.x - exact).max())
    slope = np.polyfit(np.log(depths), np.log(errors), 1)[0]
    assert abs(slope + 1) < 0.1


def test_repulsion_stays_on_the_sphere():
    # V = −I leaves the sphere exponentially fast without retraction.
    mu = fm.Particles(X, space=fm.Sphere()).retract()
    run = fm.simulate(fm.SelfAttention(value=-jnp.eye(3), beta=2.0), mu, [0.0, 50.0], dt=0.1)
    assert np.allclose(np.linalg.norm(run.final.x, axis=1), 1, atol=1e-14)
    assert fm.order_parameter(run.final) < 1e-6
