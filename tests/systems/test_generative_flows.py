"""Flows with one velocity, Kac's noise, blind denoisers, drifts and controls."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize
from scipy.special import gammainc, iv
from scipy.stats import f as f_law

import flowjax_measures as fm

X = jnp.array([0.4, 0.7])
ATOMS = fm.Particles(
    jnp.array([[2.0, 0.0], [-1.0, 1.0], [0.0, -2.0]]), jnp.log(jnp.array([0.5, 0.3, 0.2]))
)
NORMAL = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
TARGET = fm.Gaussian(jnp.array([1.0, 0.5]), jnp.array([[0.5, -0.3], [-0.3, 1.7]]))


def shares(points, atoms=ATOMS.x):
    """The share of points at each atom, and the largest distance to one."""
    away = np.linalg.norm(np.asarray(points)[:, None] - atoms, axis=-1)
    return np.bincount(away.argmin(1), minlength=len(atoms)) / len(points), away.min(1).max()


def test_equilibrium_velocity_has_the_divergence():
    flow = fm.EquilibriumMatching(fm.StochasticInterpolant(NORMAL, TARGET))
    charge = lambda x: jnp.exp(flow.log_weight(x)) * flow.velocity(x)  # noqa: E731
    divergence = jnp.trace(jax.jit(jax.jacfwd(charge))(X))
    gap = jnp.exp(NORMAL.log_density(X)) - jnp.exp(TARGET.log_density(X))
    np.testing.assert_allclose(divergence, gap, rtol=1e-8)


@pytest.mark.slow
def test_equilibrium_flow_reaches_the_atoms():
    flow = fm.EquilibriumMatching(fm.StochasticInterpolant(NORMAL, ATOMS))
    start = fm.Particles(NORMAL.sample(jr.key(0), 1000))
    final = fm.simulate(flow, start, [0.0, 8.0], dt=0.02, solver=diffrax.Euler()).final.x
    found, away = shares(final)
    # Three standard errors of a share are 0.047; the last steps jump back and forth over the atom.
    np.testing.assert_allclose(found, [0.5, 0.3, 0.2], atol=0.047)
    assert away < 0.05


@pytest.mark.slow
def test_hitting_the_support_on_the_line_is_no_transport():
    # Codimension 1: between atoms at ±1 the velocity stays bounded across them.
    pair = fm.Particles(jnp.array([[-1.0], [1.0]]), jnp.log(jnp.array([0.2, 0.8])))
    source = fm.Gaussian(jnp.array([-4.0]), jnp.array([[0.04]]))
    flow = fm.PoissonFlow(source, pair)
    # All points start left of both atoms, and 0.8 of the charge pulls them through the first.
    np.testing.assert_allclose(flow.rates(0.0, jnp.array([-0.9]), None).velocity, [0.8], atol=1e-9)
    np.testing.assert_allclose(flow.rates(0.0, jnp.array([-1.1]), None).velocity, [1.0], atol=1e-9)


def test_poisson_field():
    flow = fm.PoissonFlow(NORMAL, TARGET)
    b = lambda x: flow.rates(0.0, x, None).velocity  # noqa: E731
    jacobian = jax.jacfwd(b)(X)
    gap = jnp.exp(NORMAL.log_density(X)) - jnp.exp(TARGET.log_density(X))
    np.testing.assert_allclose(jnp.trace(jacobian), gap, rtol=1e-10)
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-12)
    # Of an isotropic Gaussian the field is that of the charge inside of a sphere.
    for d, area in ((1, 2.0), (3, 4 * np.pi)):
        x = jnp.arange(1.0, d + 1) / 2
        cloud = fm.Gaussian(jnp.zeros(d), 0.3 * jnp.eye(d))
        away = fm.Particles(jnp.full((1, d), 1e9))
        r = np.linalg.norm(x)
        inside = gammainc(d / 2, r**2 / 0.6) * np.asarray(x) / r**d / area
        far = 0.5 if d == 1 else 0.0
        found = fm.PoissonFlow(cloud, away).rates(0.0, x, None).velocity
        np.testing.assert_allclose(found - far, inside, rtol=1e-9)


@pytest.mark.slow
def test_poisson_flow_reaches_the_atoms():
    source = fm.Particles(NORMAL.sample(jr.key(1), 300))
    flow = fm.PoissonFlow(source, ATOMS, unit_speed=True)
    start = fm.Particles(NORMAL.sample(jr.key(0), 1000))
    final = fm.simulate(flow, start, [0.0, 25.0], dt=0.01, solver=diffrax.Euler()).final.x
    away = np.linalg.norm(np.asarray(final)[:, None] - ATOMS.x, axis=-1)
    # Lines between opposite charges may take a long way round: 95% have arrived.
    arrived = away.min(1) < 0.02
    assert arrived.mean() > 0.95
    np.testing.assert_allclose(shares(final)[0], [0.5, 0.3, 0.2], atol=0.047 + 0.05)


def test_a_kinked_kernel_sees_a_gaussian_exactly():
    m, cov, x = np.array([0.4, -0.7]), np.array([[0.8, 0.3], [0.3, 0.5]]), np.array([1.0, 0.2])
    # In polar coordinates about x, where the kernel has its kink.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    r, turns = 6 * (nodes + 1), np.arange(200) * np.pi / 100
    y = x + r[:, None, None] * np.stack([np.cos(turns), np.sin(turns)], -1)
    shape = np.exp(-np.einsum("rti,ij,rtj->rt", y - m, np.linalg.inv(cov), y - m) / 2)
    mass = (weights * r * np.exp(-r / 0.7))[:, None] * shape
    exact = np.einsum("rt,rti->i", mass, y) / mass.sum()
    law = fm.DriftingFlow(fm.Gaussian(jnp.asarray(m), jnp.asarray(cov)), fm.LaplaceKernel(0.7))
    found = law.rates(0.0, jnp.asarray(x), fm.Particles(jnp.zeros((1, 2)))).velocity
    np.testing.assert_allclose(found, exact, rtol=1e-10)


def test_drifts():
    mu = fm.Particles(jr.normal(jr.key(0), (6, 2)))
    kernel = fm.GaussianKernel(0.8)
    flow = fm.DriftingFlow(ATOMS, kernel)
    ratio = lambda x: (  # noqa: E731
        ATOMS.logmean(lambda y: kernel.log(x, y)) - mu.logmean(lambda y: kernel.log(x, y))
    )
    v = flow.rates(0.0, X, mu).velocity
    np.testing.assert_allclose(v, 0.64 * jax.grad(ratio)(X), rtol=1e-10)
    laplace = fm.DriftingFlow(ATOMS, fm.LaplaceKernel(0.7)).rates(0.0, X, mu).velocity
    near = lambda y: np.exp(-np.linalg.norm(np.asarray(y) - np.asarray(X), axis=1) / 0.7)  # noqa: E731
    w, u = near(ATOMS.x) * np.array([0.5, 0.3, 0.2]), near(mu.x)
    np.testing.assert_allclose(laplace, w @ ATOMS.x / w.sum() - u @ mu.x / u.sum(), rtol=1e-10)
    np.testing.assert_allclose(flow.rates(0.0, X, ATOMS).velocity, 0, atol=1e-14)
    # The loss descends along the drift: its gradient is −2h/n times v at each point.
    points = lambda shift: fm.drifting_loss(lambda z: z + shift, flow, mu.x, 0.5)  # noqa: E731
    drifts = jax.vmap(lambda x: flow.rates(0.0, x, mu).velocity)(mu.x)
    np.testing.assert_allclose(jax.grad(points)(jnp.zeros(2)), -drifts.mean(0), rtol=1e-9)


def test_blind_denoiser():
    levels, prior = jnp.array([0.3, 0.8, 1.5]), jnp.log(jnp.array([0.2, 0.5, 0.3]))
    blind = fm.BlindDenoising(ATOMS, levels, 0.1, prior)
    # f = y + ∫ σ²∇ log p_σ(y) Π(dσ | y), densities by hand.
    y, x = np.asarray(X), np.asarray(ATOMS.x)
    sigma = np.asarray(levels)[:, None]
    square = np.sum((y - x) ** 2, 1)
    joint = np.array([0.5, 0.3, 0.2]) * np.exp(-square / 2 / sigma**2) / sigma**2
    joint = joint * np.array([0.2, 0.5, 0.3])[:, None]
    expected = np.sum(joint, 0) @ x / joint.sum()
    np.testing.assert_allclose(blind.denoiser(X), expected, rtol=1e-12)
    np.testing.assert_allclose(blind.posterior(X), joint.sum(1) / joint.sum(), rtol=1e-12)
    # At a level that is given: the density of the noised data and its slope.
    density = lambda s: np.array([0.5, 0.3, 0.2]) @ np.exp(  # noqa: E731
        -np.sum((y - x) ** 2, 1) / 2 / s**2
    ) / (2 * np.pi * s**2)  # fmt: skip
    np.testing.assert_allclose(blind.log_density(0.8, X), np.log(density(0.8)), rtol=1e-12)
    slope = jax.grad(lambda y: blind.log_density(0.8, y))(X)
    np.testing.assert_allclose(blind.score(0.8, X), slope, rtol=1e-10)
    with pytest.raises(ValueError, match="noise_level"):
        fm.flow_fields(blind)
    # The level of the noise: σ² solves (σ²)˙ = −2σ² + 2a.
    a = lambda t: 0.3 + 0.2 * jnp.sin(t)  # noqa: E731
    level = fm.BlindDenoising(ATOMS, levels, a).noise_level(1.7, 2.0)
    rate = lambda t, s: -2 * s + 2 * (0.3 + 0.2 * np.sin(t))  # noqa: E731
    square = solve_ivp(rate, (0, 1.7), [4.0], rtol=1e-11, atol=1e-12).y[0, -1]
    np.testing.assert_allclose(level**2, square, rtol=1e-9)
    half = fm.BlindDenoising(ATOMS, levels, lambda t: 2.0 * jnp.exp(-t)).noise_level(1.7, 2.0)
    np.testing.assert_allclose(half**2, 4 * np.exp(-1.7), rtol=1e-12)


def segment(d):
    """Data of one dimension in d."""
    return fm.Particles(jnp.zeros((41, d)).at[:, 0].set(jnp.linspace(-1, 1, 41)))


def test_posterior_of_the_level_is_narrower_in_more_dimensions():
    # Off the data λ = σ⁻² has a gamma law given Y: over both, λ/λ_* is F with d − 1 and d − 1
    # degrees of freedom, and E(F − 1)² is about 4/d.
    levels = jnp.exp(jnp.linspace(np.log(0.05), np.log(5.0), 300))
    for d in (64, 256):
        blind = fm.BlindDenoising(segment(d), levels, 0.1)
        y = segment(d).sample(jr.key(0), 200) + 0.8 * jr.normal(jr.key(1), (200, d))
        masses = jax.jit(jax.vmap(blind.posterior))(y)
        errors = masses @ ((0.8 / levels) ** 2 - 1) ** 2
        exact = f_law.var(d - 1, d - 1) + (f_law.mean(d - 1, d - 1) - 1) ** 2
        error = np.std(errors) / np.sqrt(200)
        np.testing.assert_allclose(np.mean(errors), exact, atol=3 * error)
        assert error < 0.1 * exact


@pytest.mark.slow
def test_blind_denoising_tracks_the_level_of_the_noise():
    # a = ½σ², for which σ² = σ_0² e^{−t}; the points' noise off the segment, squared, a coordinate.
    levels = jnp.exp(jnp.linspace(np.log(0.02), np.log(4.0), 80))
    blind = fm.BlindDenoising(segment(64), levels, lambda t: 2.0 * jnp.exp(-t))
    start = fm.Particles(2.0 * jr.normal(jr.key(0), (200, 64)))
    run = fm.simulate(blind, start, [0.0, 1.0, 2.0, 3.0], dt=0.01, key=jr.key(1))
    found = np.mean(np.asarray(run.ys.x)[:, :, 1:] ** 2, axis=(1, 2))
    # The standard error is 1.3%, that of Euler's steps 1%.
    np.testing.assert_allclose(found, 4 * np.exp(-np.arange(4.0)), rtol=0.05)


def kac(a=1.5, c=1.2, **options):
    return fm.KacFlow(fm.Particles(jnp.zeros((1, 1))), a, c, **options)


def test_kac_density_by_bessel_functions():
    """u = (a/2c) e^{−as} (I₀(ζ) + as I₁(ζ)/ζ), ζ = a √(s² − z²/c²); beyond a front v = ±c."""
    a, c, s = 1.5, 1.2, 0.9
    flow, z = kac(a, c), np.array([0.0, -0.35, 0.9, 1.05])
    zeta = a * np.sqrt(s**2 - z**2 / c**2)
    exact = a / (2 * c) * np.exp(-a * s) * (iv(0, zeta) + a * s * iv(1, zeta) / zeta)
    density = jax.jit(jax.vmap(lambda x: flow.log_density(s, jnp.stack([x]))))
    np.testing.assert_allclose(jnp.exp(density(jnp.asarray(z))), exact, rtol=1e-12)
    speed = jax.jit(jax.vmap(lambda x: flow.velocity(s, jnp.stack([x]))[0]))
    ratio = iv(1, zeta) / zeta / (iv(0, zeta) + a * s * iv(1, zeta) / zeta)
    np.testing.assert_allclose(speed(jnp.asarray(z)), a * z * ratio, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(speed(jnp.array([1.2, -1.3, 2.0, -3.0])), [c, -c, c, -c])
    assert np.all(density(jnp.array([1.2, -1.3, 2.0, -3.0])) < density(jnp.asarray(z)).min() - 50)


@pytest.mark.slow
def test_kac_density_and_velocity():
    flow = kac()
    u = lambda s, x: jnp.exp(flow.log_density(s, jnp.stack([x])))  # noqa: E731
    v = lambda s, x: flow.velocity(s, jnp.stack([x]))[0]  # noqa: E731
    s, x = 0.9, 0.35
    mass = quad(jax.jit(lambda x: u(s, x)), -1.08, 1.08, epsabs=1e-10)[0]
    np.testing.assert_allclose(mass, 1 - np.exp(-1.5 * s), rtol=1e-8)
    # The telegrapher's equation, and the equation of continuity.
    second = jax.grad(jax.grad(u))(s, x) + 3.0 * jax.grad(u)(s, x)
    np.testing.assert_allclose(second, 1.44 * jax.grad(jax.grad(u, 1), 1)(s, x), rtol=1e-8)
    flux = jax.grad(lambda x: u(s, x) * v(s, x))(x)
    np.testing.assert_allclose(jax.grad(u)(s, x), -flux, rtol=1e-9)
    # Bounded by c, up to the fronts and as s → 0; c·as/(2 + as) inside of a front.
    speeds = np.array([v(s, x) for s, x in ((0.9, 1.0799999), (1e-3, 0.0011999), (0.9, 1.2))])
    np.testing.assert_allclose(speeds[0], 1.2 * 1.35 / 3.35, rtol=1e-5)
    assert np.all(np.abs(speeds) <= 1.2) and speeds[2] == 1.2
    # The diffusion limit, c²/a = σ² with σ = 0.8: v → x/2s and u → N(0, σ²s), error of order 1/a.
    gaps = []
    for a in (50.0, 200.0):
        limit = kac(a, 0.8 * a**0.5)
        speed = float(limit.velocity(0.9, jnp.array([0.35]))[0])
        log = float(limit.log_density(0.9, jnp.array([0.35])))
        exact = -(0.35**2) / 2 / 0.576 - np.log(2 * np.pi * 0.576) / 2
        gaps.append([speed - 0.35 / 1.8, log - exact])
    np.testing.assert_allclose(np.divide(*gaps), 4, rtol=0.1)


@pytest.mark.slow
def test_kac_noise():
    # Var K_s = (c²/a)(s − (1 − e^{−2as})/2a), and the fronts hold e^{−as}.
    a, c, s, n = 1.5, 1.2, 0.9, 40_000
    z = np.asarray(kac(a, c, horizon=s).noise(jr.key(0), n, 1))[:, 0]
    exact = c**2 / a * (s - (1 - np.exp(-2 * a * s)) / 2 / a)
    # Standard errors: 0.4% of the variance, 0.0022 of the share.
    np.testing.assert_allclose(np.var(z), exact, rtol=0.02)
    np.testing.assert_allclose(np.mean(np.abs(z) > c * s - 1e-12), np.exp(-a * s), atol=0.007)
    density = jax.jit(lambda x: jnp.exp(kac(a, c).log_density(s, jnp.stack([x]))))
    inner = 2 * quad(density, 0, 0.5)[0]
    np.testing.assert_allclose(np.mean(np.abs(z) < 0.5), inner, atol=0.0075)


@pytest.mark.slow
def test_kac_flow_reaches_the_data():
    data = fm.Particles(jnp.array([[-1.0, 0.0], [1.0, 0.5]]), jnp.log(jnp.array([0.3, 0.7])))
    flow = fm.KacFlow(data, damping=16.0, speed=4.0, schedule=lambda s: (1 - s, s**2))
    start = fm.Particles(flow.noise(jr.key(0), 2000, 2))
    run = fm.simulate(flow, start, [0.0, 1.0], dt=0.002)
    found, away = shares(run.final.x, data.x)
    np.testing.assert_allclose(found, [0.3, 0.7], atol=0.031)
    assert away < 0.02


def test_only_the_span_of_potentials_counts():
    # A geodesic on the line from N(0, 1) to N(1, 4): v = (1 + x)/(1 + t), action 2.
    start, end = fm.Gaussian(jnp.zeros(1), jnp.eye(1)), fm.Gaussian(jnp.ones(1), 4 * jnp.eye(1))
    path = lambda t: fm.mccann(start, end, t)  # noqa: E731
    span = lambda x: jnp.stack([x[0], x[0] ** 2, 2 * x[0] - x[0] ** 2, 1 + 0 * x[0]])  # noqa: E731
    flow = fm.LeastSquaresFlow(path, span)
    x = jnp.array([0.7])
    np.testing.assert_allclose(flow.rates(0.3, x, None).velocity, (1 + x) / 1.3, rtol=1e-9)
    np.testing.assert_allclose(flow.action(0.6), 2.0, rtol=1e-9)
    slope = jax.grad(lambda x: flow.rates(0.3, x, None).velocity[0])(x)
    np.testing.assert_allclose(slope, 1 / 1.3, rtol=1e-8)
    # N(0.3, 1.3²) at t = 0.3.
    fields = fm.flow_fields(flow)
    np.testing.assert_allclose(fields.velocity(0.3, x), (1 + x) / 1.3, rtol=1e-9)
    np.testing.assert_allclose(fields.score(0.3, x), -(x - 0.3) / 1.69, rtol=1e-9)
    exact = -0.5 * (0.4 / 1.3) ** 2 - np.log(1.3) - np.log(2 * np.pi) / 2
    np.testing.assert_allclose(fields.log_density(0.3, x), exact, rtol=1e-9)
    along = fm.LeastSquaresFlow(lambda t: fm.Particles(jnp.zeros((2, 1)) + t), span)
    with pytest.raises(ValueError, match="`path`"):
        along.log_density(0.3, x)


@pytest.mark.slow
def test_least_squares_flow_on_a_geodesic():
    potentials = lambda x: jnp.concatenate([x, jnp.outer(x, x)[jnp.triu_indices(2)]])  # noqa: E731
    flow = fm.LeastSquaresFlow(lambda t: fm.mccann(NORMAL, TARGET, t), potentials)
    squared = float(fm.bures(NORMAL, TARGET))
    np.testing.assert_allclose([flow.action(0.2), flow.action(0.9)], squared, rtol=1e-8)
    # From NORMAL the flow of the independent interpolant has the same map, but more energy.
    other = fm.LeastSquaresFlow(
        lambda t: fm.measures._base.replace(
            NORMAL, m=t * TARGET.m, cov=(1 - t) ** 2 * NORMAL.cov + t**2 * TARGET.cov
        ),
        potentials,
    )
    actions = [float(other.action(t)) for t in np.polynomial.legendre.leggauss(12)[0] / 2 + 0.5]
    total = np.dot(actions, np.polynomial.legendre.leggauss(12)[1]) / 2
    assert total > 1.02 * squared
    free = fm.StochasticInterpolant(NORMAL, TARGET)
    x = free.velocity(0.4, X)
    np.testing.assert_allclose(other.rates(0.4, X, None).velocity, x, rtol=1e-9)


@pytest.mark.slow
def test_control_linear_flows_approximate_the_optimal_map():
    # Affine fields reach the affine optimal map of Gaussians; the error falls with N and with β.
    target = fm.Gaussian(jnp.array([0.8, -0.3]), jnp.array([[0.5, 0.2], [0.2, 1.4]]))
    matrix = fm.bures_map(NORMAL, target)
    test = NORMAL.sample(jr.key(9), 500)
    fields = lambda x: jnp.concatenate(  # noqa: E731
        [jnp.eye(2), jnp.kron(x[:, None], jnp.eye(2))]
    )
    field = fm.ControlLinear(fields)

    def fit(n, beta):
        x, y = NORMAL.sample(jr.key(1), n), target.sample(jr.key(2), n)
        j = jnp.argmax(fm.coupling(fm.Particles(x), fm.Particles(y)), axis=1)
        pairs = fm.Particles((x, y[j]))

        @jax.jit
        def value(u):
            flow = fm.ControlledFlow(field, u.reshape(4, 6))
            cost = lambda z: jnp.sum((z[0] - z[1]) ** 2)  # noqa: E731
            running = lambda u: beta / 2 * jnp.sum(u**2)  # noqa: E731
            found = fm.pontryagin(flow, pairs, cost, running, dt=0.05)
            return found.value, found.gradient.ravel()

        found = minimize(value, np.zeros(24), jac=True, method="L-BFGS-B")
        flow = fm.ControlledFlow(field, jnp.asarray(found.x).reshape(4, 6))
        final = fm.simulate(flow, fm.Particles(test), [0.0, 1.0], dt=0.05).final.x
        return float(jnp.mean(jnp.sum((final - target.m - test @ matrix.T) ** 2, axis=1)))

    by_number = [fit(n, 1e-4) for n in (20, 80, 320)]
    by_weight = [fit(320, beta) for beta in (1.0, 0.1)]
    assert by_number[0] > by_number[1] > by_number[2]
    assert by_weight[0] > by_weight[1] > by_number[2] and by_number[2] < 0.02


def test_controls_of_fields_that_are_not_affine():
    """x₂ + sin x₁ is the flow of (0, sin x₁) for controls of integral 1."""
    field = fm.ControlLinear(lambda x: jnp.stack([0 * x, x]).at[0, 1].set(jnp.sin(x[0])))
    x = jr.normal(jr.key(0), (30, 2))
    pairs = fm.Particles((x, x.at[:, 1].add(jnp.sin(x[:, 0]))))
    cost = lambda z: jnp.sum((z[0] - z[1]) ** 2)  # noqa: E731

    @jax.jit
    def value(u):
        flow = fm.ControlledFlow(field, u)
        found = fm.pontryagin(flow, pairs, cost, lambda u: 0.0 * jnp.sum(u), dt=0.25)
        return found.value, found.gradient

    u = jnp.array([[0.3, 0.1], [0.4, -0.2]])
    move = jnp.array([[1.0, -0.5], [0.2, 0.7]])
    ahead, behind = (value(u + h * move)[0] for h in (1e-5, -1e-5))
    slope = jnp.vdot(value(u)[1], move)
    np.testing.assert_allclose((ahead - behind) / 2e-5, slope, rtol=1e-7)
    np.testing.assert_allclose(value(jnp.array([[0.6, 0.0], [1.4, 0.0]]))[0], 0, atol=1e-24)

    def flat(u):
        cost, slope = value(jnp.asarray(u.reshape(2, 2)))
        return float(cost), np.ravel(slope)

    best = minimize(flat, np.ravel(u), jac=True, method="BFGS", options=dict(gtol=1e-9)).x
    np.testing.assert_allclose(best.reshape(2, 2).mean(0), [1, 0], atol=1e-6)


@pytest.mark.slow
def test_function_noise_costs_the_same_on_every_grid():
    # The stiffness of the drift: constant with the process' own noise, growing under white noise.
    stiffness = []
    for n in (8, 16, 32):
        grid = jnp.linspace(0, 1, n)[:, None]
        noise = fm.gaussian_process(fm.LaplaceKernel(0.3), grid)
        gap = np.abs(np.asarray(grid) - np.asarray(grid).T)
        np.testing.assert_allclose(noise.cov, np.exp(-gap / 0.3), rtol=1e-12)
        data = fm.Particles(jnp.stack([jnp.sin(3 * grid[:, 0]), jnp.cos(2 * grid[:, 0])]))
        x = jnp.sin(5 * grid[:, 0])
        found = []
        for condition in (noise.cov, None):
            flow = fm.StochasticInterpolant(noise, data, diffusion=0.5, preconditioner=condition)
            law = flow.rates(0.3, x, None)
            jacobian = jax.jacfwd(lambda x, f=flow: f.rates(0.3, x, None).velocity)(x)
            found.append(float(np.abs(np.linalg.eigvals(jacobian)).max()))
            if condition is not None:
                np.testing.assert_allclose(law.noise.squared(x), noise.cov, rtol=1e-12)
        stiffness.append(found)
    stiffness = np.array(stiffness)
    np.testing.assert_allclose(stiffness[:, 0], stiffness[0, 0], rtol=0.1)
    assert np.all(stiffness[1:, 1] > 1.7 * stiffness[:-1, 1])
