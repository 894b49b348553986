"""Maps of flows from one time to another: exact ones, and what a network distils."""

import diffrax
import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.linalg import sqrtm

import flowjax_measures as fm

PLANE = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
FLOW = fm.StochasticInterpolant(PLANE, fm.Gaussian(jnp.array([1.0, -0.5]), 0.25 * jnp.eye(2)))


def average(t, x, c):
    """Of FLOW: deviations go from σ_s to σ_t, about the mean."""
    s = c[0]
    size = lambda t: jnp.sqrt((1 - t) ** 2 + t**2 / 4)  # noqa: E731
    # The mean of σ' between the times, over σ_s, without a quotient that is 0/0.
    speed = (1.25 * (t + s) - 2) / (size(t) + size(s))
    return FLOW.target.m + (x - s * FLOW.target.m) * speed / size(s)


def test_the_loss_is_zero_at_the_map_alone():
    loss = jax.jit(lambda a: fm.distillation_loss(
        lambda *at: average(*at) + a * jnp.sin(at[1]), FLOW.velocity, FLOW, jr.key(0), 20
    ))  # fmt: skip
    assert loss(0.0) < 1e-24 and loss(0.1) > 1e-4
    law = fm.FlowMap(average, 0.25)
    x = jnp.array([0.3, -1.2])
    there = law.to(0.2, 0.9, x)
    run = fm.simulate(FLOW, fm.Particles(x[None]), [0.2, 0.9], dt=0.05, solver=diffrax.Dopri8())
    np.testing.assert_allclose(there, run.final.x[0], rtol=1e-9)
    np.testing.assert_allclose(law.to(0.5, 0.9, law.to(0.2, 0.5, x)), there, rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 4])
def test_any_number_of_steps_is_the_flow(steps):
    start = fm.Particles(PLANE.sample(jr.key(0), 5))
    law = fm.FlowMap(average, 1 / steps)
    ends = fm.simulate(law, start, [0.0, 1.0], dt=1 / steps, solver=diffrax.Euler()).final.x
    np.testing.assert_allclose(ends, FLOW.target.m + start.x / 2, rtol=1e-12)


def test_gradient_is_the_difference():
    network = fm.MLP(2, width=8, depth=1, condition=1, key=jr.key(0))
    arrays, rest = eqx.partition(network, eqx.is_inexact_array)
    flat, back = jax.flatten_util.ravel_pytree(arrays)
    direction = jr.normal(jr.key(1), flat.shape)

    def loss(size):
        bent = eqx.combine(back(flat + size * direction), rest)
        return fm.distillation_loss(bent, FLOW.velocity, FLOW, jr.key(2), 8)

    both = jax.jit(lambda size: jax.value_and_grad(loss)(size))
    slope, (ahead, _), (behind, _) = both(0.0)[1], both(1e-5), both(-1e-5)
    np.testing.assert_allclose((ahead - behind) / 2e-5, slope, rtol=1e-6)


def test_wrong_networks_are_named():
    def call(u, v):
        jax.eval_shape(lambda key: fm.distillation_loss(u, v, FLOW, key, 4), jr.key(0))

    with pytest.raises(ValueError, match="`average`"):
        call(lambda t, x, c: x[0], FLOW.velocity)
    with pytest.raises(ValueError, match="`velocity`"):
        call(average, lambda t, x: x[0])
    with pytest.raises(ValueError, match="`c` is given"):
        call(fm.MLP(2, width=4, key=jr.key(0)), FLOW.velocity)
    with pytest.raises(ValueError, match="`step`"):
        fm.FlowMap(average, -0.5)


@pytest.mark.slow
def test_a_few_steps_distilled_from_a_kac_flow():
    """Two hundred steps of Euler on the exact velocity, and four of either."""
    atoms = fm.Particles(jnp.array([[2.0, 2.0], [-2.0, 2.0], [0.0, -2.0]]))
    flow = fm.KacFlow(atoms, damping=9.0, speed=3.0)
    velocity = lambda t, x: flow.rates(t, x, None).velocity  # noqa: E731
    loss = lambda u, key: fm.distillation_loss(u, velocity, flow, key, 256)  # noqa: E731
    network = fm.MLP(2, width=64, condition=1, key=jr.key(0))
    learned = fm.learn(loss, network, key=jr.key(1), steps=3000, learning_rate=3e-3).network
    start = fm.Particles(atoms.sample(jr.key(2), 2000) + flow.noise(jr.key(3), 2000, 2))
    cases = (flow, 200), (flow, 4), (fm.FlowMap(learned, 0.25), 4)
    fine, coarse, few = (
        float(fm.energy_distance(
            fm.simulate(law, start, [0.0, 1.0], dt=1 / n, solver=diffrax.Euler()).final, atoms
        ))
        for law, n in cases
    )  # fmt: skip
    # Measured: 0.0036, 0.0555 and 0.0192.
    assert fine < 1e-2 and few < coarse / 2


def cross_covariance(a, b, sigma):
    """Cov(X_0, X_1) of the Schrödinger bridge of σW between N(0, a) and N(0, b)."""
    root = np.real(sqrtm(a))
    middle = np.real(sqrtm(4 * root @ b @ root + sigma**4 * np.eye(len(a))))
    return (root @ middle @ np.linalg.inv(root) - sigma**2 * np.eye(len(a))) / 2


def test_bridge_matching_again_and_again_is_the_schroedinger_bridge():
    """Each time the ends of the diffusion are the pairs of the next one."""
    sigma, a = 1.0, np.array([[1.2, 0.3], [0.3, 0.5]])
    b = np.array([[0.4, -0.2], [-0.2, 1.1]])
    mu, nu = (fm.Gaussian(jnp.zeros(2), jnp.asarray(c)) for c in (a, b))
    both = fm.Gaussian(jnp.zeros(4), jnp.asarray(np.block([[a, a], [a, a]])))
    noise = fm.Dense(jnp.concatenate([jnp.zeros((2, 2)), sigma * jnp.eye(2)]))

    @jax.jit
    def again(cross):
        flow = fm.StochasticInterpolant(mu, nu, fm.LinearSchedule(sigma), cross)
        drift = lambda t, x: flow.drift(t, x, sigma**2 / 2)[0]  # noqa: E731
        law = fm.Custom(
            lambda t, z, m: fm.Rates(jnp.concatenate([jnp.zeros(2), drift(t, z[2:])]), noise)
        )
        return fm.simulate(law, both, [0.0, 1.0], dt=0.02, solver=diffrax.Heun()).final.cov

    wanted, cross, gaps = cross_covariance(a, b, sigma), jnp.zeros((2, 2)), []
    for _ in range(6):
        cov = again(cross)
        np.testing.assert_allclose(cov[2:, 2:], b, atol=5e-3)
        cross = cov[:2, 2:]
        gaps.append(float(jnp.max(jnp.abs(cross - wanted))))
    assert gaps[0] > 0.04 and gaps[-1] < 2e-3 and np.all(np.diff(gaps[:4]) < 0)


@pytest.mark.slow
def test_learned_drifts_come_to_the_schroedinger_bridge():
    sigma, n = 0.8, 8000
    mu, nu = (fm.Gaussian(jnp.array([m]), jnp.array([[c]])) for m, c in ((-1.0, 0.3), (1.0, 0.6)))
    flow = fm.StochasticInterpolant(mu, nu, fm.LinearSchedule(sigma))
    network, found = fm.MLP(1, width=32, depth=2, key=jr.key(0)), []
    for k in range(3):
        network = fm.learn(
            lambda u, key, flow=flow: fm.bridge_matching_loss(u, flow, key, 256), network,
            key=jr.key(k), steps=1500, learning_rate=4e-3,
        ).network  # fmt: skip
        start = fm.Particles(mu.sample(jr.key(10 + k), n))
        law = fm.ProbabilityFlow(network, lambda t, x: 0 * x, sigma**2 / 2)
        ends = fm.simulate(law, start, [0.0, 1.0], dt=0.01, key=jr.key(20 + k)).final
        found.append(float(jnp.cov(start.x[:, 0], ends.x[:, 0])[0, 1]))
        assert abs(float(jnp.var(ends.x)) - 0.6) < 0.05
        flow = fm.StochasticInterpolant(start, ends, fm.LinearSchedule(sigma), "pairs")
    wanted = cross_covariance(np.array([[0.3]]), np.array([[0.6]]), sigma)[0, 0]
    # A covariance of n pairs has a standard error of 0.006; one round alone is further off.
    gaps = np.abs(np.array(found) - wanted)
    assert gaps[-1] < 0.03 and gaps[0] > gaps[-1]
