"""Langevin's equations, attraction on the circle and swarms against closed forms."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.linalg import expm

import flowjax_measures as fm


def test_langevin_is_the_flow_of_the_relative_entropy():
    mu = fm.Gaussian(jnp.array([1.0]), jnp.array([[0.2]]))
    ts = np.array([0.0, 0.7])
    potential = fm.Quadratic(1.4)
    final = fm.simulate(fm.Langevin(potential, beta=1.0), mu, ts).final
    flow = fm.simulate(fm.GradientFlow(fm.KL(potential)), mu, ts).final
    decay = np.exp(-2 * 1.4 * 0.7)
    np.testing.assert_allclose(final.cov, flow.cov, rtol=1e-12)
    np.testing.assert_allclose(final.cov[0, 0], 0.2 * decay + (1 - decay) / 1.4, rtol=1e-7)


def test_underdamped_gaussian_covariance():
    k, friction, beta, t = 1.7, 0.6, 2.0, 0.9
    drift = np.array([[0.0, 1.0], [-k, -friction]])
    mu = fm.Gaussian(jnp.array([1.0, -0.3]), jnp.array([[0.5, 0.1], [0.1, 0.2]]))
    system = fm.UnderdampedLangevin(fm.Quadratic(k), friction, beta)
    final = fm.simulate(system, mu, np.array([0.0, t])).final
    flow = expm(drift * t)
    rest = np.diag([1 / (beta * k), 1 / beta])
    cov = flow @ (mu.cov - rest) @ flow.T + rest
    np.testing.assert_allclose(final.m, flow @ mu.m, atol=1e-7)
    np.testing.assert_allclose(final.cov, cov, atol=1e-7)


def relative_entropy(mu, rest):
    """KL(N(m, Σ) | N(0, R))."""
    solved = np.linalg.solve(rest, mu.cov)
    logarithm = np.linalg.slogdet(solved)[1]
    return (mu.m @ np.linalg.solve(rest, mu.m) + np.trace(solved) - len(rest) - logarithm) / 2


@pytest.mark.slow
def test_relative_entropy_decays_at_its_rates():
    # In V = ½ k q² the relative entropy falls as e^{−2kt}; with momenta, whatever k, as e^{−2λt},
    # λ = γ/2 − √(γ²/4 − k), which is √k at the best friction 2√k where k itself is small.
    k, friction = 0.04, 0.5
    start = fm.Gaussian(jnp.array([2.0]), jnp.array([[1 / k]]))
    final = fm.simulate(fm.Langevin(fm.Quadratic(k)), start, [0.0, 10.0]).final
    rest = np.array([[1 / k]])
    fall = relative_entropy(final, rest) / relative_entropy(start, rest)
    np.testing.assert_allclose(fall, np.exp(-2 * k * 10), rtol=1e-6)

    system = fm.UnderdampedLangevin(fm.Quadratic(k), friction)
    start = fm.Gaussian(jnp.array([2.0, 0.0]), jnp.diag(jnp.array([1.0, 0.2])))
    run = fm.simulate(system, start, [0.0, 40.0, 60.0])
    laws = [jax.tree.map(lambda a, i=i: a[i], run.ys) for i in (1, 2)]
    late = [relative_entropy(law, np.diag([1 / k, 1.0])) for law in laws]
    rate = friction / 2 - np.sqrt(friction**2 / 4 - k)
    np.testing.assert_allclose(np.log(late[0] / late[1]) / 20, 2 * rate, rtol=0.01)
    assert rate > 2 * k


def test_phase_and_vector_points_have_one_law():
    system = fm.UnderdampedLangevin(lambda q: jnp.sum(q**4), 0.5, 2.0)
    q, p = jr.normal(jr.key(0), (2, 3))
    mu = fm.Particles(fm.Phase(q[None], p[None]))
    split = system.rates(0.0, fm.Phase(q, p), mu)
    flat = system.rates(0.0, jnp.concatenate([q, p]), mu)
    np.testing.assert_allclose(flat.velocity, jnp.concatenate(list(split.velocity)))
    np.testing.assert_allclose(flat.noise.scale, jnp.concatenate(list(split.noise.scale)))


def test_growth_rates_of_modes_on_a_grid():
    system = fm.LocalizedAttraction(strength=30.0, width=0.5)
    n, size, t = 128, 1e-5, 0.01
    x = (np.arange(n) + 0.5) / n
    for k in (1, 2):
        rho = jnp.asarray(1 + size * np.cos(2 * np.pi * k * x))
        mu = fm.GridDensity(rho, 0.0, 1.0, periodic=True)
        final = fm.simulate(system, mu, np.array([0.0, t])).final
        wave = 2 * np.mean(np.asarray(final.rho) * np.cos(2 * np.pi * k * x))
        found = np.log(wave / size) / t
        np.testing.assert_allclose(found, system.growth_rate(k), rtol=5e-3)


@pytest.mark.slow
def test_clustered_state_is_the_fixed_point():
    # ρ = e^{−W∗ρ} / Z.
    system = fm.LocalizedAttraction(strength=25.0, width=0.5)
    x = (np.arange(128) + 0.5) / 128
    rho = np.exp(-((x - 0.5) ** 2) / (2 * 0.1**2))
    mu = fm.GridDensity(jnp.asarray(rho / rho.mean()), 0.0, 1.0, periodic=True)
    final = fm.simulate(system, mu, np.array([0.0, 1.0])).final
    W = jax.vmap(jax.vmap(system.interaction))(jnp.asarray(x[:, None] - x[None]))
    gibbs = np.exp(-np.asarray(W) @ np.asarray(final.rho) / 128)
    gibbs = gibbs / gibbs.mean()
    assert final.rho.max() > 3
    np.testing.assert_allclose(final.rho, gibbs, atol=0.01 * gibbs.max())


def test_swarm_settles_at_its_speed():
    # Far points do not feel each other: |p|² = a/b, and momentum relaxes as a logistic.
    system = fm.Swarming(propulsion=1.2, friction=0.3)
    mu = fm.Particles(fm.Phase(jnp.array([[0.0, 0.0]]), jnp.array([[0.5, 0.0]])))
    final = fm.simulate(system, mu, np.array([0.0, 0.8])).final
    rest = 1.2 / 0.3
    square = rest / (1 + (rest / 0.25 - 1) * np.exp(-2 * 1.2 * 0.8))
    np.testing.assert_allclose(jnp.sum(final.x.p**2), square, rtol=1e-7)


@pytest.mark.slow
def test_friction_that_is_a_matrix():
    k, beta, t = np.array([[1.7, 0.3], [0.3, 0.8]]), 2.0, 0.9
    friction = np.array([[1.0, 0.9], [-0.4, 0.5]])
    mu = fm.Gaussian(jnp.array([1.0, -0.3, 0.2, 0.4]), 0.3 * jnp.eye(4))
    system = fm.UnderdampedLangevin(fm.Quadratic(jnp.asarray(k)), jnp.asarray(friction), beta)
    final = fm.simulate(system, mu, [0.0, t]).final
    drift = np.block([[np.zeros((2, 2)), np.eye(2)], [-k, -friction]])
    # The skew part turns momenta and keeps the Gibbs law.
    rest = np.block([[np.linalg.inv(k), np.zeros((2, 2))], [np.zeros((2, 2)), np.eye(2)]]) / beta
    flow = expm(drift * t)
    np.testing.assert_allclose(final.m, flow @ mu.m, atol=1e-7)
    np.testing.assert_allclose(final.cov, flow @ (mu.cov - rest) @ flow.T + rest, atol=1e-7)
    # A multiple of the identity is a number.
    q = jr.normal(jr.key(0), (4, 2))
    phases = fm.Particles(fm.Phase(q, q + 1))
    one, number = (
        fm.UnderdampedLangevin(fm.Quadratic(1.0), g, beta) for g in (0.7 * jnp.eye(2), 0.7)
    )
    drifts = [law(0.0, phases).drift.x.p for law in (one, number)]
    np.testing.assert_allclose(drifts[0], drifts[1], atol=1e-15)
    options = {"dt": 0.05, "key": jr.key(1)}
    assert np.all(np.isfinite(fm.simulate(one, phases, [0.0, 0.1], **options).final.x.p))
    for wrong in (-jnp.eye(2), jnp.ones(3)):
        with pytest.raises(ValueError, match="`friction`"):
            fm.UnderdampedLangevin(fm.Quadratic(1.0), wrong)
    with pytest.raises(ValueError, match="`friction` is a matrix"):
        fm.simulate(
            one, phases, [0.0, 0.1], dt=0.05, key=jr.key(1), solver=fm.LangevinSplitting(0.7)
        )
