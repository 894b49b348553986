"""McKean–Pontryagin beyond Gaussian bridges: drift, multiplicative noise, covariances, any ψ."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import flowjax_measures as fm

ONE = jnp.eye(1)


def ode(f, y0):
    return solve_ivp(f, (0, 1), y0, rtol=1e-10, atol=1e-12).y[:, -1]


def phases(q, p):
    return fm.Particles(fm.Phase(jnp.asarray(q)[:, None], jnp.asarray(p)[:, None]))


def test_a_quadratic_potential_under_drift_and_multiplicative_noise():
    """ψ = ½ a x², b = κx, Σ = σ₀ + σ₁x²: a′ = −2κa − Ra² − 2σ₁a, whatever the law of x."""
    kappa, control, still, spread = 0.3, 0.8, 0.1, 0.2
    q = np.array([-1.2, -0.3, 0.4, 1.1])
    system = fm.McKeanPontryagin(
        lambda x: still + spread * x[:, None] ** 2, control * ONE, lambda x: kappa * x
    )
    final = fm.simulate(system, phases(q, 0.5 * q), [0.0, 1.0]).final.x
    a = ode(lambda t, a: -2 * kappa * a - control * a**2 - 2 * spread * a, [0.5])
    np.testing.assert_allclose(final.p, a * final.q, atol=1e-6)


@pytest.mark.slow
def test_the_covariance_as_noise_and_cost():
    """From centred points ψ = ½ a x²: a′ = −2Ca² − 2a, C′ = 2aC² + 2C."""
    q = np.array([-1.0, -0.5, 0.5, 1.0])
    system = fm.McKeanPontryagin("covariance", "covariance")
    run = fm.simulate(system, phases(q, -0.4 * q), [0.0, 0.5, 1.0], observe=system.hamiltonian)
    a, c = ode(
        lambda t, y: [-2 * y[1] * y[0] ** 2 - 2 * y[0], 2 * y[0] * y[1] ** 2 + 2 * y[1]],
        [-0.4, 0.625],
    )
    np.testing.assert_allclose(run.final.x.p, a * run.final.x.q, atol=1e-6)
    np.testing.assert_allclose(jnp.mean(run.final.x.q**2), c, rtol=1e-6)
    np.testing.assert_allclose(run.ys, run.ys[0], rtol=1e-6)


@pytest.mark.slow
def test_a_bridge_between_two_and_three_wells_reaches_its_target():
    """Given ∇ψ and the score costates stay ∇ψ; the moments alone miss the three wells."""
    sigma, first, last = 1.0, 0.02, 0.98
    wells = lambda key, places: jnp.concatenate(  # noqa: E731
        [c + 0.25 * jr.normal(jr.fold_in(key, k), (60, 1)) for k, c in enumerate(places)]
    )
    mu, nu = (
        fm.Particles(wells(jr.key(k), places))
        for k, places in enumerate(((-1.5, 1.5), (-2.0, 0.0, 2.0)))
    )
    bridge = fm.schroedinger_bridge(mu, nu, sigma)
    u = lambda t, x: bridge.rates(t, x, None).velocity  # noqa: E731
    x, y = bridge.sample(jr.key(3), 120)
    shake = sigma * (first * (1 - first)) ** 0.5 * jr.normal(jr.key(4), x.shape)
    q = (1 - first) * x + first * y + shake
    start = fm.Particles(fm.Phase(q, jax.vmap(lambda x: u(first, x))(q)))
    control = diffrax.PIDController(1e-6, 1e-8)
    ends = []
    for fields in (dict(slope=u, score=bridge.score), {}):
        system = fm.McKeanPontryagin(sigma**2 / 2 * ONE, ONE, **fields)
        run = fm.simulate(
            system, start, [first, last], solver=diffrax.Tsit5(), stepsize_controller=control
        )
        ends.append(run.final.x)
    np.testing.assert_allclose(ends[0].p, jax.vmap(lambda x: u(last, x))(ends[0].q), atol=1e-4)
    gaps = [float(fm.energy_distance(fm.Particles(end.q), nu)) for end in ends]
    # Of 120 points of the law itself the energy distance is E|X − X′|/120 = 0.016.
    assert gaps[0] < 0.03 < 0.06 < gaps[1]


@pytest.mark.parametrize("sigma", [0.6, pytest.param(1e-3, marks=pytest.mark.slow)])
def test_cost_and_hamiltonian_of_a_gaussian_bridge(sigma):
    mu = fm.Gaussian(jnp.array([0.2, -0.4]), jnp.array([[0.8, 0.2], [0.2, 0.5]]))
    nu = fm.Gaussian(jnp.array([1.0, 0.3]), jnp.array([[0.4, -0.1], [-0.1, 1.2]]))
    bridge = fm.schroedinger_bridge(mu, nu, sigma)
    cross = np.asarray(bridge.coupling.cross)

    def energies(t):
        """E ½|u|² and ½σ²∇·u, by the law at time t."""
        u = lambda x: bridge.rates(t, x, None).velocity  # noqa: E731
        m = (1 - t) * mu.m + t * nu.m
        slope = jax.jacfwd(u)(m)
        cov = (1 - t) ** 2 * mu.cov + t**2 * nu.cov
        cov = cov + t * (1 - t) * (cross + cross.T + sigma**2 * np.eye(2))
        square = jnp.vdot(u(m), u(m)) + jnp.trace(slope @ cov @ slope.T)
        return square / 2, sigma**2 / 2 * jnp.trace(slope)

    nodes, weights = np.polynomial.legendre.leggauss(12)
    work, heat = jax.vmap(energies)(jnp.asarray((nodes + 1) / 2))
    found = fm.bridge_hamiltonian(mu, nu, sigma)
    np.testing.assert_allclose(work + heat, found, rtol=1e-6)
    np.testing.assert_allclose(fm.bridge_cost(mu, nu, sigma), weights @ work / 2, rtol=1e-6)
    if sigma < 0.01:
        np.testing.assert_allclose(2 * found, fm.bures(mu, nu), rtol=1e-4)
    with pytest.raises(ValueError, match="`target`"):
        fm.bridge_cost(mu, fm.Particles(jnp.zeros((3, 2))), sigma)


@pytest.mark.slow
def test_hamiltonian_between_atoms():
    """By sums over the atoms' conditional laws, and by draws of the bridge at another time."""
    x, y = jr.normal(jr.key(0), (5, 2)), jr.normal(jr.key(1), (6, 2)) + 0.5
    mu, nu, sigma = fm.Particles(x), fm.Particles(y), 0.7
    found = fm.bridge_hamiltonian(mu, nu, sigma)
    plan = fm.entropic_coupling(mu, nu, 2 * sigma**2)
    share = plan / plan.sum(1, keepdims=True)
    mean = share @ y
    spread = share @ jnp.sum(y**2, 1) - jnp.sum(mean**2, 1)
    exact = jnp.mean(jnp.sum((mean - x) ** 2, 1) + spread) / 2 - sigma**2
    np.testing.assert_allclose(found, exact, rtol=1e-9)
    bridge, t, n = fm.schroedinger_bridge(mu, nu, sigma), 0.3, 2000
    pair = jr.categorical(jr.key(2), jnp.log(plan.ravel()), shape=(n,))
    here = (1 - t) * x[pair // 6] + t * y[pair % 6]
    here = here + sigma * np.sqrt(t * (1 - t)) * jr.normal(jr.key(3), (n, 2))

    def energy(p):
        u = lambda p: bridge.rates(t, p, None).velocity  # noqa: E731
        return jnp.vdot(u(p), u(p)) / 2 + sigma**2 / 2 * jnp.trace(jax.jacfwd(u)(p))

    energies = jax.vmap(energy)(here)
    assert abs(jnp.mean(energies) - found) < 4 * jnp.std(energies) / np.sqrt(n)
