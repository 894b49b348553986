"""Every energy: its first variation against its derivative in the weights, its velocity against
its derivative in the points; exact values of Gaussians and grids."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

NU = fm.Particles(jr.normal(jr.key(1), (5, 2)) + 0.5)
KERNEL = fm.GaussianKernel(0.7)


def potential(x):
    return jnp.sum(x**4) / 4 + x[0] * x[-1]


ENERGIES = {
    "potential": fm.PotentialEnergy(potential),
    "interaction": fm.InteractionEnergy(fm.QuadraticKernel(1.3)),
    "interaction-gaussian": fm.InteractionEnergy(KERNEL),
    "kernel-entropy": fm.KernelEntropy(KERNEL),
    "mmd-gaussian": fm.MMD(NU, KERNEL),
    "mmd-laplace": fm.MMD(NU, fm.LaplaceKernel(0.8)),
    "energy-distance": fm.MMD(NU, fm.EnergyDistance()),
    "riesz": fm.MMD(NU, fm.RieszKernel(1.5)),
    "stein-discrepancy": fm.KernelSteinDiscrepancy(potential, KERNEL),
    "sinkhorn-relative-entropy": fm.SinkhornRelativeEntropy(potential, 0.5),
    "sliced": fm.SlicedWasserstein(NU),
    "critic": fm.AdversarialDivergence(NU, lambda x: jnp.concatenate([x, x**2]) / 3, "KL", 0.1),
    "functional": fm.Functional(
        lambda mu: mu.mean(potential) ** 2 + mu.covariance()[0, 0] * mu.logmean(lambda y: y[0])
    ),
    "sum": 2.0 * fm.PotentialEnergy(potential) + fm.MMD(NU, KERNEL),
}


@pytest.mark.parametrize("name", list(ENERGIES))
def test_first_variation_and_velocity_are_derivatives_of_the_value(name):
    energy = ENERGIES[name]
    x, log_w = jr.normal(jr.key(0), (7, 2)), jax.nn.log_softmax(0.5 * jr.normal(jr.key(2), (7,)))

    @jax.jit
    def everything(x, log_w):
        mu = fm.Particles(x, log_w)
        slopes = jax.grad(lambda x, w: energy(fm.Particles(x, w)), (0, 1))(x, log_w)
        variation = jax.vmap(lambda y: energy.first_variation(y, mu))(x)
        return slopes, variation, jax.vmap(lambda y: energy.velocity(y, mu))(x)

    for mass in (1.0, 2.5):
        (by_points, by_weights), variation, velocity = everything(x, log_w + np.log(mass))
        w = mass * np.exp(log_w)
        # d/dw_i of F is δF(x_i), known up to a constant.
        gap = by_weights / w - variation
        np.testing.assert_allclose(gap, gap[0], atol=1e-12 * (1 + np.abs(variation).max()))
        np.testing.assert_allclose(velocity, -by_points / w[:, None], atol=1e-11)


@pytest.mark.slow
def test_sliced_line_is_the_quantile_distance():
    from scipy.optimize import linprog

    x, y = jr.normal(jr.key(0), (6, 1)), jr.normal(jr.key(1), (4, 1)) + 0.5
    log_a, log_b = (jax.nn.log_softmax(jr.normal(jr.key(k), (n,))) for k, n in ((2, 6), (3, 4)))
    cost = np.asarray((x - y.T) ** 2)
    rows = np.concatenate([np.kron(np.eye(6), np.ones(4)), np.kron(np.ones(6), np.eye(4))])
    masses = np.exp(np.concatenate([log_a, log_b]))
    exact = linprog(cost.ravel(), A_eq=rows, b_eq=masses).fun
    energy = fm.SlicedWasserstein(fm.Particles(y, log_b))
    np.testing.assert_allclose(energy(fm.Particles(x, log_a)), exact / 2, rtol=1e-12)


def test_sliced_gaussian_is_half_of_the_mean_square():
    mu, nu = fm.Gaussian(jnp.zeros(3), jnp.eye(3)), fm.Gaussian(jnp.ones(3), 4 * jnp.eye(3))
    np.testing.assert_allclose(fm.SlicedWasserstein(nu)(mu), (3 / 3 + 1) / 2, rtol=1e-12)


@pytest.fixture
def gaussian():
    return fm.Gaussian(jnp.array([0.3, -0.2]), jnp.array([[0.5, 0.2], [0.2, 0.4]]))


@pytest.fixture
def grid(gaussian):
    # Wide: e^V weighs the tails in the Rényi divergence.
    blank = fm.GridDensity(jnp.ones((120, 120)), -6.0, 6.0)
    rho = jnp.exp(jax.vmap(jax.vmap(gaussian.log_density))(blank.centres()))
    return fm.GridDensity(rho, -6.0, 6.0)


@pytest.mark.slow
def test_internal_energies_are_those_of_a_gaussian(gaussian, grid):
    # log det(2πe Σ)/2 is the entropy; ∫ ρ^m = m^{-d/2} (2π)^{d(1−m)/2} |Σ|^{(1−m)/2}.
    logdet = np.linalg.slogdet(gaussian.cov)[1]
    entropy = -(logdet + 2 * np.log(2 * np.pi * np.e)) / 2
    volume = 2 * np.log(2 * np.pi) + logdet
    m = 1.8
    power = np.exp(-np.log(m) + (1 - m) / 2 * volume) / (m - 1)
    target = fm.Quadratic(jnp.array([[2.0, 0.5], [0.5, 1.0]]), jnp.array([0.1, 0.2]))
    centre = gaussian.m - target.centre
    mean = (np.trace(target.stiffness @ gaussian.cov) + centre @ target.stiffness @ centre) / 2
    # The Rényi divergence of order 2 of Gaussians: ∫ ρ² e^{V}.
    precision = 2 * np.linalg.inv(gaussian.cov) - target.stiffness
    shift = target.stiffness @ centre
    order_two = (
        -volume / 2 * 2
        + (2 * np.log(2 * np.pi) - np.linalg.slogdet(precision)[1]) / 2
        + centre @ shift / 2
        + shift @ np.linalg.solve(precision, shift) / 2
    )
    for mu, rtol in ((gaussian, 1e-10), (grid, 1e-7)):
        np.testing.assert_allclose(fm.Entropy()(mu), entropy, rtol=rtol)
        np.testing.assert_allclose(fm.PowerEnergy(m)(mu), power, rtol=rtol)
        np.testing.assert_allclose(fm.KL(target)(mu), entropy + mean, rtol=rtol)
        np.testing.assert_allclose(fm.Renyi(target, 2.0)(mu), order_two, rtol=rtol)


@pytest.mark.slow
def test_gaussian_kernel_is_exact_between_gaussians(gaussian):
    # ∬ k dμ dν with h² added to the covariance of the difference.
    nu, h = fm.Gaussian(jnp.array([1.0, 0.5]), 0.3 * jnp.eye(2)), 0.6

    def mean_kernel(a, b):
        spread = a.cov + b.cov + h**2 * np.eye(2)
        z = a.m - b.m
        scale = h**2 / np.sqrt(np.linalg.det(spread))
        return scale * np.exp(-z @ np.linalg.solve(spread, z) / 2)

    exact = (mean_kernel(gaussian, gaussian) + mean_kernel(nu, nu)) / 2 - mean_kernel(gaussian, nu)
    np.testing.assert_allclose(fm.MMD(nu, fm.GaussianKernel(h))(gaussian), exact, rtol=1e-10)


def test_kernel_entropy_has_the_stated_bias(gaussian):
    h = 0.1
    exact = gaussian.cov + h**2 * np.eye(2)
    smoothed = (
        -(np.linalg.slogdet(2 * np.pi * exact)[1] + np.trace(np.linalg.solve(exact, gaussian.cov)))
        / 2
    )
    found = fm.KernelEntropy(fm.GaussianKernel(h))(gaussian)
    np.testing.assert_allclose(found, smoothed, rtol=1e-12)
    precision = np.linalg.inv(gaussian.cov)
    bias = -(h**4) * np.trace(precision @ precision) / 4
    np.testing.assert_allclose(found - fm.Entropy()(gaussian), bias, rtol=0.1)


def test_an_internal_energy_of_atoms_says_what_to_do():
    with pytest.raises(ValueError, match="GaussianKernel"):
        fm.KL(potential)(NU)


def test_sinkhorn_relative_entropy_collapses_at_four_over_the_curvature():
    # V = λ|x|²/2: at a Dirac the spread changes at the rate 4/ε − λ.
    for epsilon, grows in ((1.9, True), (2.1, False)):
        energy = fm.SinkhornRelativeEntropy(fm.Quadratic(2.0), epsilon)
        mu = fm.Particles(1e-3 * jnp.array([[1.0], [-1.0], [0.0]]))
        velocity = energy.velocity(mu.x[0], mu)
        assert (velocity[0] > 0) == grows
        np.testing.assert_allclose(velocity[0], (4 / epsilon - 2) * 1e-3, rtol=1e-4)


def test_labels_of_points_stay():
    targets = jnp.array([[1.0, 0.0], [0.0, -2.0]])

    def attraction(point):
        position, label = point
        return jnp.sum((position - targets[label]) ** 2) / 2

    start = jnp.ones((3, 2))
    mu = fm.Particles((start, jnp.array([0, 1, 1])))
    for system in (fm.GradientFlow(fm.PotentialEnergy(attraction)), fm.McKeanVlasov(attraction)):
        velocity = system(0.0, mu).drift.x[0]
        np.testing.assert_allclose(velocity, targets[mu.x[1]] - start)


TARGET = fm.Gaussian(jnp.array([0.2]), jnp.array([[1.3]]))
ON_GRIDS = {
    "potential": fm.PotentialEnergy(potential),
    "interaction": fm.InteractionEnergy(fm.QuadraticKernel(1.3)),
    "entropy": fm.Entropy(),
    "power": fm.PowerEnergy(1.7),
    "exclusion": fm.Exclusion(0.3),
    "kl": fm.KL(fm.Quadratic(1.2)),
    "renyi": fm.Renyi(fm.Quadratic(1.2), 1.5),
    "chi-squared": fm.FDivergence(TARGET.log_density, "chi-squared"),
    "mmd": fm.MMD(TARGET, fm.GaussianKernel(0.7)),
    "stein-discrepancy": fm.KernelSteinDiscrepancy(fm.Quadratic(1.2), KERNEL),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if k % 2 else ()) for k, name in enumerate(ON_GRIDS)
])  # fmt: skip
def test_first_variation_on_a_grid_of_any_mass(name):
    energy = ON_GRIDS[name]
    x = jnp.linspace(-3, 3, 40, endpoint=False) + 0.075
    rho = 0.8 * jnp.exp(-((x - 0.4) ** 2)) + 0.05 * jnp.sin(x) ** 2
    # Of mass 0.6, so that constants count; discrepancies are of laws, and known up to one.
    eta = jnp.sin(2 * x) * jnp.exp(-(x**2))
    eta += 0.1 * jnp.cos(jnp.pi * x / 3) if name in ("mmd", "stein-discrepancy") else 0.1

    def along(s):
        return energy(fm.GridDensity(rho + s * eta, -3.0, 3.0))

    slope = jax.jit(jax.grad(along))(0.0)
    mu = fm.GridDensity(rho, -3.0, 3.0)
    variation = jax.vmap(lambda y: energy.first_variation(y, mu))(x[:, None])
    np.testing.assert_allclose(slope, jnp.sum(variation * eta) * 0.15, rtol=1e-11)


def test_flow_to_a_gaussian_is_called_as_it_is():
    # Around measures that are known, what is compiled must not ask for values.
    nu = fm.Gaussian(jnp.zeros(2), jnp.array([[1.0, 0.3], [0.3, 2.0]]))
    mu = fm.Gaussian(jnp.array([0.3, -0.2]), jnp.array([[0.5, 0.2], [0.2, 0.4]]))
    energy = fm.SquaredWasserstein(nu)
    slope = jax.grad(lambda cov: energy(fm.Gaussian(mu.m, cov)))(mu.cov)
    pull = -(slope + slope.T) @ mu.cov
    drift = fm.GradientFlow(energy)(0.0, mu).drift
    np.testing.assert_allclose(drift.cov, pull + pull.T, atol=1e-12)
    np.testing.assert_allclose(drift.m, -mu.m, atol=1e-12)
