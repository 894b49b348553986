"""Gradient flows against closed forms: rates, thresholds, stationary points, moments."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import norm

import flowjax_measures as fm


def diagonal(*variances):
    return fm.Gaussian(jnp.zeros(len(variances)), jnp.diag(jnp.array(variances)))


def variances(flow, mu, ts, **kwargs):
    return np.asarray(fm.simulate(flow, mu, ts, observe=lambda m: jnp.diagonal(m.cov), **kwargs).ys)


@pytest.mark.slow
def test_quadratic_kernel_has_its_moments_at_any_number():
    # dX = −κ(X − X̄) dt + √(2/β) dW by Euler: X̄ is a random walk, and the sample's variance S
    # obeys E S′ = (1 − κh)² E S + (2h/β)(1 − 1/N).
    n, kappa, beta, h, steps, repeats = 5, 1.3, 2.0, 0.05, 20, 4000
    system = fm.McKeanVlasov(kernel=fm.QuadraticKernel(kappa), beta=beta)

    def one(key):
        start, run = jr.split(key)
        mu = fm.Particles(jr.normal(start, (n, 1)))
        final = fm.simulate(system, mu, [0.0, steps * h], dt=h, key=run).final
        return final.mean()[0], final.covariance()[0, 0]

    mean, spread = jax.vmap(one)(jr.split(jr.key(0), repeats))
    shrink = (1 - kappa * h) ** 2
    rest = 2 * h / beta * (1 - 1 / n) / (1 - shrink)
    exact = rest + shrink**steps * ((1 - 1 / n) - rest)
    assert abs(np.mean(spread) - exact) < 4 * np.std(spread) / np.sqrt(repeats)
    walk = 1 / n + 2 * steps * h / (beta * n)
    # A variance of normals has the relative standard error √(2/R).
    assert abs(np.var(mean) / walk - 1) < 4 * np.sqrt(2 / repeats)


@pytest.mark.slow
def test_chaos_of_gaussians_propagates_at_one_over_n():
    """The joint law of n particles is itself a Gaussian, run as one point of R^n."""
    stiffness, kappa, t = 0.5, 1.0, 1.5
    limit = fm.simulate(
        fm.McKeanVlasov(fm.Quadratic(stiffness), fm.QuadraticKernel(kappa)), diagonal(0.3), [0.0, t]
    ).final.cov[0, 0]

    def joint(n):
        matrix = (stiffness + kappa) * jnp.eye(n) - kappa / n
        start = fm.Gaussian(jnp.zeros(n), 0.3 * jnp.eye(n))
        return fm.simulate(fm.Langevin(fm.Quadratic(matrix)), start, [0.0, t]).final.cov

    def divergence(cov):
        ratio = cov / limit
        return (np.trace(ratio) - len(cov) - np.linalg.slogdet(ratio)[1]) / 2

    numbers = np.array([16, 64])
    covs = [np.asarray(joint(n)) for n in numbers]
    one = [divergence(c[:1, :1]) for c in covs]
    slope = np.diff(np.log(one))[0] / np.log(4)
    assert abs(slope + 2) < 0.05  # relative entropy of one marginal: 1/n²
    slope = np.diff(np.log([divergence(c) for c in covs]))[0] / np.log(4)
    assert abs(slope) < 0.05  # of the full law: a constant


def sinkhorn_rate(s, b, epsilon):
    """ṡ of Σ = s I under the Sinkhorn flow to b I, cost ‖x − y‖²."""
    k = lambda a, b: 2 * b / (jnp.sqrt(4 * a * b + epsilon**2 / 4) + epsilon / 2)  # noqa: E731
    return 4 * s * (k(s, b) - k(s, s))


def test_sinkhorn_flow_is_exponential_and_slow_off_a_smaller_support():
    epsilon, b = 0.8, 0.5
    flow = fm.GradientFlow(fm.SinkhornDivergence(diagonal(b, 0.0), epsilon))
    ts = np.array([0.0, 6.0, 8.0, 400.0])
    found = variances(flow, diagonal(1.0, 1.0), ts)
    rate = -jax.grad(sinkhorn_rate)(jnp.asarray(b), b, epsilon)
    measured = np.log((found[1, 0] - b) / (found[2, 0] - b)) / 2
    np.testing.assert_allclose(measured, rate, rtol=1e-2)
    # Where the target has no variance ṡ = −8 s²/ε near 0: s ≈ ε/(8t), no exponential.
    np.testing.assert_allclose(found[-1, 1] * 8 * 400.0 / epsilon, 1, rtol=0.02)


def test_sinkhorn_relative_entropy_collapses_direction_by_direction():
    # ṡ = 2s(−λ + (4/ε)(1 − k)), k = k(s, s): s → (ε/2) k/(1 − k²) with k = 1 − λε/4, or 0.
    epsilon, stiffness = 1.5, jnp.array([1.0, 4.0])  # 4/λ = 4 and 1
    energy = fm.SinkhornRelativeEntropy(fm.Quadratic(jnp.diag(stiffness)), epsilon)
    final = variances(fm.GradientFlow(energy), diagonal(0.5, 0.5), [0.0, 40.0])[-1]
    k = 1 - epsilon / 4
    np.testing.assert_allclose(final[0], epsilon / 2 * k / (1 - k**2), rtol=1e-6)
    assert final[1] < 1e-8


def test_sliced_flow_stays_at_two_atoms():
    angle = 2 * np.pi * (np.arange(8000) + 0.5) / 8000
    directions = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    mu = fm.Particles(jnp.array([[-1.0, 0.0], [1.0, 0.0]]))

    def speed(a):
        target = fm.Particles(jnp.array([[0.0, a], [0.0, -a]]))
        energy = fm.SlicedWasserstein(target, directions)
        return fm.GradientFlow(energy)(0.0, mu).drift.x[1]

    # v = (a/π − ½, 0): zero at a = π/2.
    for a in (np.pi / 2, 1.0, 2.0):
        np.testing.assert_allclose(speed(a), [a / np.pi - 0.5, 0.0], atol=1e-6)


GOLDEN = (1 + np.sqrt(5)) / 2
# Equal weights on these axes integrate ⟨θ, x⟩⁴ exactly.
ICOSAHEDRON = jnp.array(
    [[0, 1, s * GOLDEN] for s in (1, -1)]
    + [[1, s * GOLDEN, 0] for s in (1, -1)]
    + [[s * GOLDEN, 0, 1] for s in (1, -1)]
) / np.sqrt(1 + GOLDEN**2)


@pytest.mark.parametrize(
    ("start", "theta"),
    [((2.5, 0.3), None), pytest.param((3.0, 0.5, 0.1), ICOSAHEDRON, marks=pytest.mark.slow)],
)
def test_sliced_flow_dissipates_the_relative_entropy(start, theta):
    nu = diagonal(*np.ones(len(start)))
    theta = fm.SlicedWasserstein(nu)._directions(nu) if theta is None else theta
    flow = fm.GradientFlow(fm.SlicedWasserstein(nu, theta))
    rest = fm.KL(fm.Quadratic(1.0))

    def line_entropy(mu):
        s = jnp.einsum("ki,ij,kj->k", theta, mu.cov, theta)
        return jnp.mean(s - 1 - jnp.log(s)) / 2

    def look(mu):
        rate = jax.jvp(lambda c: rest(fm.Gaussian(mu.m, c)), (mu.cov,), (flow(0.0, mu).drift.cov,))[
            1
        ]
        return rate, line_entropy(mu), flow.energy(mu)

    ts = np.array([0.0, 1.0, 3.0, 24.0, 28.0])
    rate, lines, half_square = fm.simulate(flow, diagonal(*start), ts, observe=look).ys
    # d KL/dt ≤ −∫ KL(ρ_θ | ν_θ) dθ − ½ SW₂².
    assert np.all(rate <= -(lines + half_square) + 1e-12)
    # A traceless error of the covariance ends at the rate 2/(d(d + 2)), its square at twice it.
    d = len(start)
    found = np.log(half_square[-2] / half_square[-1]) / 4
    np.testing.assert_allclose(found, 4 / (d * (d + 2)), rtol=0.02)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("d", "rows"), [(3, 3), pytest.param(3, 1, marks=SLOW), pytest.param(8, 8, marks=SLOW)]
)
def test_slice_matching_contracts_at_its_rate(d, rows):
    count, gamma, size = 4000, 0.7, 1e-4
    bases = fm.orthonormal_bases(jr.key(0), count, d)[:, :rows]
    error = jnp.diag(jnp.where(jnp.arange(d) < 2, jnp.array([1.0, -1.0] + [0.0] * (d - 2)), 0))
    mu = fm.Gaussian(jnp.zeros(d), jnp.eye(d) + size * error)
    nu = diagonal(*np.ones(d))

    def after(basis):
        system = fm.SliceMatching(nu, basis[None])
        pull = jax.jacfwd(lambda x: system.rates(0.0, x, mu).velocity)(mu.m)
        step = jnp.eye(d) + gamma * pull
        return jnp.sum(((step @ mu.cov @ step.T - jnp.eye(d)) / size) ** 2)

    squares = np.asarray(jax.vmap(after)(bases)) / 2
    share = 2 * gamma * (2 - gamma) / (d + 2) * (rows / d)
    assert abs(squares.mean() - (1 - share)) < 4 * squares.std() / np.sqrt(count) + 1e-3


def test_slice_matching_reaches_an_elliptic_target():
    nu = fm.Gaussian(jnp.array([1.0, 0.0, 0.0]), jnp.diag(jnp.array([2.0, 1.0, 0.5])))
    system = fm.SliceMatching(nu, fm.orthonormal_bases(jr.key(0), 400, 3), 0.5)
    mu = diagonal(1.0, 3.0, 0.2)
    final = fm.simulate(system, mu, [0.0, 200.0], dt=0.5, solver=diffrax.Euler()).final
    np.testing.assert_allclose(final.m, nu.m, atol=1e-9)
    np.testing.assert_allclose(final.cov, nu.cov, atol=1e-6)


@pytest.mark.slow
def test_projected_flow_ends_at_twice_its_rate():
    # F = ½(tr B − d − log det B) ~ e²/4 with ė = −(2α/γ + β)e: rate 2(2αλ_min + β).
    alpha, beta, stiffness = 0.2, 0.7, jnp.array([0.5, 2.0])
    metric = fm.WassersteinFisherRao(alpha, beta)
    flow = fm.GradientFlow(fm.KL(fm.Quadratic(jnp.diag(stiffness))), metric)
    found = variances(flow, diagonal(5.0, 0.1), np.array([0.0, 6.0, 7.0]))
    b = found * np.asarray(stiffness)
    values = np.sum(b - 1 - np.log(b), 1) / 2
    np.testing.assert_allclose(
        np.log(values[1] / values[2]), 2 * (2 * alpha * 0.5 + beta), rtol=2e-2
    )


@pytest.mark.slow
def test_renyi_flow_of_a_gaussian_is_the_gradient_of_its_value():
    target = fm.Quadratic(jnp.array([[2.0, 0.5], [0.5, 1.0]]), jnp.array([0.1, 0.2]))
    energy = fm.Renyi(target, 1.5)
    mu = fm.Gaussian(jnp.array([0.3, -0.2]), jnp.array([[0.5, 0.2], [0.2, 0.4]]))
    slope_m, slope_cov = jax.grad(
        lambda m, cov: energy(fm.Gaussian(m, cov)), (0, 1)
    )(mu.m, mu.cov)  # fmt: skip
    drift = fm.GradientFlow(energy)(0.0, mu).drift
    pull = -(slope_cov + slope_cov.T) @ mu.cov
    np.testing.assert_allclose(drift.m, -slope_m, atol=1e-8)
    np.testing.assert_allclose(drift.cov, pull + pull.T, atol=1e-8)


@pytest.mark.slow
def test_stein_discrepancy_of_samples_falls_as_one_over_n():
    # E KSD² = E u(X, X)/n exactly, for independent points of the target: u(x, y) has mean 0.
    potential, kernel = fm.Quadratic(1.0), fm.InverseMultiquadric()
    points = jr.normal(jr.key(1), (20_000, 2))
    own = jax.vmap(lambda x: fm.SteinKernel(potential, kernel)(x, x))(points)
    energy = fm.KernelSteinDiscrepancy(potential, kernel)
    for n in (10, 40):
        squares = 2 * jax.vmap(lambda x: energy(fm.Particles(x)))(
            points[: 400 * n].reshape(400, n, 2)
        )
        scatter = n * np.std(squares) / np.sqrt(400) + np.std(own) / np.sqrt(len(own))
        assert abs(n * np.mean(squares) - np.mean(own)) < 4 * scatter


@pytest.mark.slow
def test_growth_crosses_a_barrier_that_diffusion_does_not():
    """A double well of height b: Wasserstein–Fisher–Rao forgets b, Wasserstein does not."""
    blank = fm.GridDensity(jnp.ones(64), -1.6, 1.6)
    x = blank.centres()[:, 0]
    left = {}
    for height in (4.0, 8.0):
        V = lambda x, b=height: b * jnp.sum((x**2 - 1) ** 2)  # noqa: E731
        rho = jnp.exp(-jax.vmap(V)(x[:, None])) * jnp.where(x < 0, 0.99, 0.01)
        mu = fm.GridDensity(rho / jnp.sum(rho) / blank.cell, -1.6, 1.6)
        for name, metric in (("W", fm.Wasserstein()), ("WFR", fm.WassersteinFisherRao(1.0, 1.0))):
            flow = fm.GradientFlow(fm.KL(V), metric)
            ends = fm.simulate(
                flow, mu, [0.0, 5.0], dt=4e-4, solver=diffrax.Euler(), observe=lambda m: m.mean()[0]
            ).ys
            left[name, height] = float(ends[-1] / ends[0])
    # Weights 0.99 and 0.01 agree at the rate e^{−t} of their logarithms, whatever the barrier.
    assert abs(left["WFR", 4.0] - left["WFR", 8.0]) < 0.01 and left["WFR", 8.0] < 0.05
    assert left["W", 4.0] < 0.8 and left["W", 8.0] > 0.9


def test_birth_and_death_is_the_flow_of_weights():
    V = lambda x: jnp.sum((x - 0.5) ** 2)  # noqa: E731
    flow = fm.GradientFlow(fm.PotentialEnergy(V), fm.FisherRao())
    n, ts = 4000, [0.0, 0.5]
    mu = fm.Particles(jr.normal(jr.key(0), (n, 1)))
    weighted = fm.simulate(flow, mu, ts, dt=0.1, solver=diffrax.Euler()).final
    found = fm.simulate(flow, mu, ts, dt=0.1, solver=fm.BirthDeath(jr.key(1), 1.0)).final
    assert np.ptp(found.log_w) == 0
    # Systematic resampling is at least as good as independent draws: σ/√n a step.
    error = float(np.abs(found.mean() - weighted.mean())[0])
    assert error < 4 * np.sqrt(5 * float(weighted.covariance()[0, 0]) / n)
    with pytest.raises(ValueError, match="growing masses"):
        solver = fm.BirthDeath(jr.key(1))
        fm.simulate(fm.GradientFlow(fm.PotentialEnergy(V)), mu, ts, dt=0.1, solver=solver)


@pytest.mark.slow
def test_porous_medium_in_the_plane_is_barenblatts():
    # ρ = t^{−1/2} (C − |z|²/16)_+ with z = x t^{−1/4} for m = 2, d = 2.
    def exact(t, points):
        return t**-0.5 * jnp.maximum(0.25 - jnp.sum(points**2, -1) * t**-0.5 / 16, 0)

    errors = []
    for n in (24, 48):
        points = fm.GridDensity(jnp.ones((n, n)), -3.0, 3.0).centres()
        mu = fm.GridDensity(exact(1.0, points), -3.0, 3.0)
        final = fm.simulate(
            fm.GradientFlow(fm.PowerEnergy(2.0)), mu, [1.0, 2.0], dt=1.2 * (6 / n) ** 2
        ).final
        np.testing.assert_allclose(final.mass(), mu.mass(), rtol=1e-12)
        assert final.rho.min() >= 0
        second = lambda m: m.mean(lambda x: jnp.sum(x**2))  # noqa: E731
        np.testing.assert_allclose(second(final) / second(mu), np.sqrt(2), rtol=10 / n**2)
        errors.append(float(jnp.sum(jnp.abs(final.rho - exact(2.0, points))) * mu.cell))
    assert np.log2(errors[0] / errors[1]) > 1.3 and errors[1] < 0.02


@pytest.mark.slow
def test_rods_that_cannot_overlap_are_the_heat_equation_without_them():
    # r = N(0, s + 2t) on the line without rods; there ρ = r/(1 + φr) at x = y + φ (R(y) − ½).
    fraction, start, t = 1.5, 0.3, 0.4

    def exact(t, x):
        y = np.linspace(-8, 8, 20001)
        scale = np.sqrt(start + 2 * t)
        r = norm.pdf(y, scale=scale)
        return np.interp(x, y + fraction * (norm.cdf(y, scale=scale) - 0.5), r / (1 + fraction * r))

    energy, errors = fm.Exclusion(fraction), []
    for n in (40, 80):
        blank = fm.GridDensity(jnp.ones(n), -5.0, 5.0)
        x = np.asarray(blank.centres()[:, 0])
        mu = fm.GridDensity(jnp.asarray(exact(0, x)), -5.0, 5.0)
        run = fm.simulate(fm.GradientFlow(energy), mu, [0.0, t / 2, t], observe=energy)
        assert np.all(np.diff(run.ys) < 0)
        errors.append(float(np.sum(np.abs(run.final.rho - exact(t, x))) * 10 / n))
    assert np.log2(errors[0] / errors[1]) > 1.8 and errors[1] < 2e-3
    # δF/δμ = h′(ρ) of h = ρ log(ρ/(1 − φρ)).
    rho = float(mu.rho[n // 2])
    slope = jax.grad(lambda r: r * jnp.log(r / (1 - fraction * r)))(rho)
    found = energy.first_variation(blank.centres()[n // 2], mu)
    np.testing.assert_allclose(found, slope, rtol=1e-10)


@pytest.mark.slow
def test_porous_medium_in_the_plane_by_minimising_movements():
    points = fm.GridDensity(jnp.ones((20, 20)), -3.0, 3.0).centres()
    mu = fm.GridDensity(jnp.maximum(0.25 - jnp.sum(points**2, -1) / 16, 0), -3.0, 3.0)
    energy = fm.PowerEnergy(2.0)
    flow = fm.GradientFlow(energy)
    exact = fm.simulate(flow, mu, [1.0, 2.0], dt=0.02).final

    def error(tau):
        path = fm.simulate(flow, mu, [1.0, 1.5, 2.0], solver=fm.JKO(tau), observe=energy)
        assert np.all(np.diff(path.ys) < 0)
        np.testing.assert_allclose(path.final.mass(), mu.mass(), rtol=1e-12)
        return float(jnp.sum(jnp.abs(path.final.rho - exact.rho)) * mu.cell / mu.mass())

    coarse, fine = error(0.1), error(0.05)
    assert fine < 0.01 and abs(np.log2(coarse / fine) - 1) < 0.1
