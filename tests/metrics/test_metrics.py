"""Gradient flows in every metric against closed forms."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

TARGET = fm.Quadratic(jnp.array([[2.0, 0.5], [0.5, 1.0]]), jnp.array([0.4, -0.3]))


def normal():
    return fm.Gaussian(jnp.array([1.0, 0.5]), jnp.array([[0.5, 0.1], [0.1, 0.8]]))


def exact(field, mu, t):
    run = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, _: field(*y)), diffrax.Tsit5(), 0.0, t, None, (mu.m, mu.cov),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
    )  # fmt: skip
    ys: Any = run.ys
    return [a[0] for a in ys]


def assert_agrees(flow, mu, field, t=0.6):
    final = fm.simulate(flow, mu, np.array([0.0, t])).final
    m, cov = exact(field, mu, t)
    np.testing.assert_allclose(final.m, m, atol=1e-7)
    np.testing.assert_allclose(final.cov, cov, atol=1e-7)


@pytest.mark.slow
def test_bures_wasserstein_fisher_rao():
    alpha, beta = 0.7, 1.3
    precision, n = TARGET.stiffness, TARGET.centre

    def field(m, cov):
        pull = precision @ cov
        moved = alpha * (2 * jnp.eye(2) - pull - pull.T) + beta * (cov - cov @ pull)
        return -(alpha * jnp.eye(2) + beta * cov) @ precision @ (m - n), moved

    metric = fm.WassersteinFisherRao(alpha, beta)
    assert_agrees(fm.GradientFlow(fm.KL(TARGET), metric), normal(), field)
    zero = lambda m, cov: (-cov @ precision @ (m - n), cov - cov @ precision @ cov)  # noqa: E731
    assert_agrees(fm.GradientFlow(fm.KL(TARGET), fm.FisherRao()), normal(), zero)


@pytest.mark.slow
def test_fisher_rao_flow_of_a_linear_energy_is_a_tilt():
    # μ_t ∝ e^{−tV} μ_0, from particles and from a grid.
    V = lambda x: jnp.sum((x - 0.3) ** 2)  # noqa: E731
    x = jr.normal(jr.key(0), (6, 2))
    flow = fm.GradientFlow(fm.PotentialEnergy(V), fm.FisherRao())
    final = fm.simulate(flow, fm.Particles(x), np.array([0.0, 0.8])).final
    np.testing.assert_allclose(final.x, x)
    expected = jax.nn.log_softmax(-0.8 * jax.vmap(V)(x))
    np.testing.assert_allclose(final.log_w, expected, atol=1e-7)
    grid = fm.GridDensity(jnp.full(50, 0.25), -2.0, 2.0)
    final = fm.simulate(flow, grid, np.array([0.0, 0.8])).final
    rho = np.exp(-0.8 * np.asarray((grid.centres()[:, 0] - 0.3) ** 2))
    np.testing.assert_allclose(final.rho, rho / rho.sum() / grid.cell, atol=1e-7)


@pytest.mark.slow
def test_stein_with_the_linear_kernel():
    # k = ⟨x, y⟩ + 1: v(x) = x − A (Σ + (m − b) mᵀ) x − A (m − b), affine.
    a, b = TARGET.stiffness, TARGET.centre

    def field(m, cov):
        slope = jnp.eye(2) - a @ (cov + jnp.outer(m - b, m))
        return slope @ m - a @ (m - b), slope @ cov + cov @ slope.T

    flow = fm.GradientFlow(fm.KL(TARGET), fm.Stein(fm.LinearKernel()))
    assert_agrees(flow, normal(), field)
    # Particles have the same closed equation for their own mean and covariance.
    x = jr.normal(jr.key(0), (5, 2))
    x = x - x.mean(0)
    cov = x.T @ x / 5
    final = fm.simulate(flow, fm.Particles(x), np.array([0.0, 0.6])).final
    m, cov = exact(field, fm.Gaussian(jnp.zeros(2), (cov + cov.T) / 2), 0.6)
    np.testing.assert_allclose(final.mean(), m, atol=1e-7)
    np.testing.assert_allclose(final.covariance(), cov, atol=1e-7)


@pytest.mark.slow
def test_regularised_stein_is_stein_at_one():
    mu = fm.Particles(jr.normal(jr.key(0), (6, 2)), jax.nn.log_softmax(jnp.arange(6.0) / 5))
    kernel, energy = fm.GaussianKernel(0.8), fm.KL(TARGET)
    x = mu.x[2]
    stein = fm.Stein(kernel).rates(energy, x, mu).velocity
    one = fm.RegularizedStein(kernel, 1.0).rates(energy, x, mu).velocity
    np.testing.assert_allclose(one, stein, rtol=1e-12)
    # At an atom the extension is the solution of the linear system itself.
    nu = 0.3
    regular = fm.RegularizedStein(kernel, nu)
    v = jax.vmap(lambda y: regular.rates(energy, y, mu).velocity)(mu.x)
    smooth = jax.vmap(lambda y: fm.Stein(kernel).rates(energy, y, mu).velocity)(mu.x)
    gram = np.exp(-np.sum((mu.x[:, None] - mu.x[None]) ** 2, -1) / (2 * 0.8**2))
    residual = (1 - nu) * (gram * np.exp(mu.log_w)) @ v + nu * v - smooth
    np.testing.assert_allclose(residual, 0, atol=1e-12)


@pytest.mark.slow
def test_kalman_wasserstein_gaussian():
    a, b = TARGET.stiffness, TARGET.centre
    field = lambda m, cov: (-cov @ a @ (m - b), 2 * cov - 2 * cov @ a @ cov)  # noqa: E731
    assert_agrees(fm.GradientFlow(fm.KL(TARGET), fm.KalmanWasserstein()), normal(), field)
    c = jnp.array([[0.5, 0.2], [0.2, 0.3]])
    fixed = lambda m, cov: (-c @ a @ (m - b), 2 * c - c @ a @ cov - cov @ a @ c)  # noqa: E731
    assert_agrees(fm.GradientFlow(fm.KL(TARGET), fm.Preconditioned(c)), normal(), fixed)


def test_porous_medium_is_barenblatts():
    # ∂_t ρ = Δρ^m in one dimension: ρ = t^{-k} (C − κ (x t^{-k})²)_+^{1/(m−1)}, k = 1/(m + 1).
    m = 2.0
    k = 1 / (m + 1)

    def barenblatt(t, x):
        z = x * t**-k
        return t**-k * jnp.maximum(0.5 - k * (m - 1) / (2 * m) * z**2, 0) ** (1 / (m - 1))

    errors = []
    for n in (60, 120):
        blank = fm.GridDensity(jnp.ones(n), -6.0, 6.0)
        x = blank.centres()[:, 0]
        mu = fm.GridDensity(barenblatt(1.0, x), -6.0, 6.0)
        flow = fm.GradientFlow(fm.PowerEnergy(m))
        final = fm.simulate(flow, mu, np.array([1.0, 3.0]), dt=0.25 * (12 / n) ** 2).final
        np.testing.assert_allclose(final.mass(), mu.mass(), rtol=1e-12)
        assert final.rho.min() >= 0
        errors.append(float(jnp.sum(jnp.abs(final.rho - barenblatt(3.0, x))) * mu.cell))
    assert errors[1] < 2e-3
    assert np.log2(errors[0] / errors[1]) > 1


def test_fokker_planck_on_a_grid_decreases_the_relative_entropy():
    V = fm.Quadratic(1.0)
    blank = fm.GridDensity(jnp.ones(80), -5.0, 5.0)
    x = blank.centres()[:, 0]
    mu = fm.GridDensity(
        jnp.exp(-((x - 1.0) ** 2) / (2 * 0.3)) / np.sqrt(2 * np.pi * 0.3), -5.0, 5.0
    )
    ts = np.linspace(0, 1, 5)
    energy = fm.KL(V)
    run = fm.simulate(fm.GradientFlow(energy), mu, ts, observe={"energy": energy})
    var = 1 - 0.7 * np.exp(-2 * ts)
    mean = np.exp(-ts)
    exact = (-np.log(2 * np.pi * np.e * var) + var + mean**2) / 2
    np.testing.assert_allclose(run.ys["energy"], exact, atol=4e-3)
    assert np.all(np.diff(run.ys["energy"]) < 0)


@pytest.mark.slow
def test_matrix_kernel_is_the_flow_in_other_coordinates():
    mu = fm.Particles(jr.normal(jr.key(0), (6, 2)))
    c = jnp.array([[0.5, 0.2], [0.2, 0.3]])
    lower = jnp.linalg.cholesky(c)
    bent = fm.Particles(jnp.linalg.solve(lower, mu.x.T).T)
    for kernel in (fm.GaussianKernel(0.8), fm.InverseMultiquadric(0.7)):
        stein = fm.Stein(fm.MatrixKernel(kernel, c))
        found = fm.GradientFlow(fm.KL(TARGET), stein)(0.0, mu).drift.x
        inside = fm.GradientFlow(fm.KL(lambda z: TARGET(lower @ z)), fm.Stein(kernel))
        np.testing.assert_allclose(found, inside(0.0, bent).drift.x @ lower.T, atol=1e-13)


@pytest.mark.slow
def test_gaussian_stein_velocity_is_the_sum_over_pairs():
    x = jr.normal(jr.key(0), (6, 2))
    mu, h = fm.Particles(x, jax.nn.log_softmax(jnp.arange(6.0) / 5)), 0.8
    found = fm.GradientFlow(fm.KL(TARGET), fm.Stein(fm.GaussianKernel(h)))(0.0, mu).drift.x
    score = -(x - TARGET.centre) @ TARGET.stiffness
    gap = x[:, None] - x[None]
    weight = np.exp(-np.sum(gap**2, -1) / (2 * h**2) + mu.log_w)
    np.testing.assert_allclose(
        found, weight @ score + np.einsum("ij,ijk->ik", weight, gap) / h**2, atol=1e-13
    )
    # Two normals are a Gaussian product: ∫ k dμ is exact from a Gaussian.
    gaussian = normal()
    v = fm.GradientFlow(fm.KL(TARGET), fm.Stein(fm.GaussianKernel(h)))
    found = v.rates(0.0, x[0], gaussian).velocity
    spread = gaussian.cov + h**2 * jnp.eye(2)
    z = x[0] - gaussian.m
    mass = h**2 / jnp.sqrt(jnp.linalg.det(spread)) * jnp.exp(-z @ jnp.linalg.solve(spread, z) / 2)
    place = gaussian.m + gaussian.cov @ jnp.linalg.solve(spread, z)
    pull = -TARGET.stiffness @ (place - TARGET.centre) + (x[0] - place) / h**2
    np.testing.assert_allclose(found, mass * pull, rtol=1e-12)


@pytest.mark.slow
def test_median_kernel_has_the_median_distance():
    for n in (5, 12):
        x = jr.normal(jr.key(n), (n, 3))
        squares = np.sort(np.sum((x[:, None] - x[None]) ** 2, -1)[np.triu_indices(n, 1)])
        exact = squares[(len(squares) - 1) // 2]
        kernel = fm.MedianKernel().of(fm.Particles(x))
        np.testing.assert_allclose(kernel.bandwidth**2, exact / (2 * np.log(n)), rtol=1e-12)
    # Of 42 atoms the pairs with the neighbours 1, 10 and 20 places on.
    x = jr.normal(jr.key(42), (42, 3))
    pairs = [np.sum((x - np.roll(x, -s, 0)) ** 2, 1) for s in (1, 10, 20)]
    squares = np.sort(np.concatenate(pairs))
    exact = squares[(len(squares) - 1) // 2]
    kernel = fm.MedianKernel(atoms=16).of(fm.Particles(x))
    np.testing.assert_allclose(kernel.bandwidth**2, exact / (2 * np.log(42)), rtol=1e-12)
    with pytest.raises(ValueError, match="nan"):
        fm.MedianKernel().of(fm.Particles(x.at[3, 1].set(jnp.nan)))
    many = fm.Particles(jr.normal(jr.key(1), (1500, 2)))
    few, all_pairs = fm.MedianKernel().of(many), fm.MedianKernel(atoms=1500).of(many)
    np.testing.assert_allclose(few.bandwidth, all_pairs.bandwidth, rtol=0.02)
    flow = fm.GradientFlow(fm.KL(TARGET), fm.Stein(fm.MedianKernel()))
    mu = fm.Particles(jr.normal(jr.key(0), (5, 2)))
    same = fm.GradientFlow(fm.KL(TARGET), fm.Stein(fm.MedianKernel().of(mu)))
    np.testing.assert_allclose(flow(0.0, mu).drift.x, same(0.0, mu).drift.x, rtol=1e-13)


@pytest.mark.slow
def test_masses_on_a_finite_set_flow_to_the_gibbs_law():
    # log w(t) = e^{−t} log w(0) − (1 − e^{−t}) V, less a constant.
    x, t = jnp.array([[0.0], [1.0], [1.5], [3.0]]), 0.8
    w, values = np.array([0.1, 0.4, 0.3, 0.2]), np.array([1.0, 0.2, 0.5, 0.0])
    potential = lambda z: jnp.interp(z[0], x[:, 0], jnp.asarray(values))  # noqa: E731
    energy = fm.KL(potential, fm.CountingKernel())
    mu = fm.Particles(x, weights=jnp.asarray(w))
    np.testing.assert_allclose(energy(mu), w @ (np.log(w) + values), rtol=1e-14)
    final = fm.simulate(fm.GradientFlow(energy, fm.FisherRao()), mu, [0.0, t]).final
    exact = w ** np.exp(-t) * np.exp(-(1 - np.exp(-t)) * values)
    np.testing.assert_allclose(np.exp(final.log_w), exact / exact.sum(), atol=1e-7)
    # Two halves of an atom are the atom, and what has no mass has none later.
    halves = fm.Particles(
        jnp.concatenate([x, x[:1], jnp.array([[2.0]])]),
        weights=jnp.array([0.05, 0.4, 0.3, 0.2, 0.05, 0.0]),
    )
    np.testing.assert_allclose(energy(halves), energy(mu), rtol=1e-14)


@pytest.mark.slow
def test_the_flow_without_noise_has_the_same_laws():
    mu = normal()
    flows = [fm.GradientFlow(fm.KL(TARGET), fm.Wasserstein(noise=n)) for n in (True, False)]
    noisy, quiet = (fm.simulate(flow, mu, [0.0, 0.6]).final for flow in flows)
    np.testing.assert_allclose(quiet.m, noisy.m, atol=1e-8)
    np.testing.assert_allclose(quiet.cov, noisy.cov, atol=1e-8)
    x = jnp.array([0.3, -0.2])
    law = flows[1].rates(0.0, x, mu)
    score = -np.linalg.solve(mu.cov, x - mu.m)
    np.testing.assert_allclose(law.velocity, -jax.grad(TARGET)(x) - score, atol=1e-13)
    assert law.noise is None


@pytest.mark.slow
def test_flow_of_the_kernel_entropy_is_the_gradient_of_its_variation():
    energy = fm.KernelEntropy(fm.GaussianKernel(0.4))
    mu = fm.Particles(jr.normal(jr.key(0), (5, 3)), weights=jnp.array([0.2, 0.5, 0.1, 0.0, 0.9]))
    x = jnp.array([0.3, 0.1, -0.5])
    slope = jax.grad(lambda x: energy.first_variation(x, mu))(x)
    np.testing.assert_allclose(energy.velocity(x, mu), -slope, rtol=1e-12)


def test_the_mass_of_all_atoms_does_not_change_the_stein_flows():
    x, w = jr.normal(jr.key(0), (5, 2)), jnp.array([0.1, 0.3, 0.2, 0.25, 0.15])
    flow = fm.GradientFlow(fm.KL(TARGET), fm.RegularizedStein(fm.GaussianKernel(0.8), 0.3))
    one, three = (flow(0.0, fm.Particles(x, weights=mass * w)).drift.x for mass in (1.0, 3.0))
    np.testing.assert_allclose(three, one, atol=1e-13)
