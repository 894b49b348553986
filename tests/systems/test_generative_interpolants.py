"""Interpolants, bridges and their likelihoods against closed forms and quadrature."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import solve_sylvester, sqrtm
from scipy.stats import multivariate_normal

import flowjax_measures as fm

A0 = np.array([[1.3, 0.4], [0.4, 0.6]])
A1 = np.array([[0.5, -0.3], [-0.3, 1.7]])
M0, M1 = jnp.array([0.3, -0.2]), jnp.array([1.0, 0.5])
SOURCE, TARGET = fm.Gaussian(M0, A0), fm.Gaussian(M1, A1)
X = jnp.array([0.4, 0.7])
ATOMS = fm.Particles(
    jnp.array([[2.0, 0.0], [-1.0, 1.0], [0.0, -2.0]]), jnp.log(jnp.array([0.5, 0.3, 0.2]))
)
NORMAL = fm.Gaussian(jnp.zeros(2), jnp.eye(2))


def test_gaussian_matrices():
    # v = A_t z with A_t = (−(1 − t)Σ_0 + tΣ_1) Σ_t⁻¹ about the mean; not symmetric here.
    t = 0.3
    flow = fm.StochasticInterpolant(SOURCE, TARGET)
    cov = (1 - t) ** 2 * A0 + t**2 * A1
    z = np.asarray(X) - (1 - t) * M0 - t * M1
    matrix = (t * A1 - (1 - t) * A0) @ np.linalg.inv(cov)
    np.testing.assert_allclose(flow.velocity(t, X), M1 - M0 + matrix @ z, rtol=1e-12)
    np.testing.assert_allclose(jax.jacfwd(lambda x: flow.velocity(t, x))(X), matrix, rtol=1e-12)
    assert abs(matrix[0, 1] - matrix[1, 0]) > 0.1
    np.testing.assert_allclose(flow.score(t, X), -np.linalg.solve(cov, z), rtol=1e-12)
    law = multivariate_normal((1 - t) * M0 + t * M1, cov)
    np.testing.assert_allclose(flow.log_density(t, X), law.logpdf(np.asarray(X)), rtol=1e-12)


@pytest.mark.slow
def test_score_gives_the_velocity_with_noise_at_time_zero():
    # Printed in [peyre2025] with 1/(1 − t) and t/(1 − t), which would be data at time 0.
    t = 0.3
    flow = fm.StochasticInterpolant(NORMAL, ATOMS)
    by_score = (X + (1 - t) * flow.score(t, X)) / t
    np.testing.assert_allclose(flow.velocity(t, X), by_score, rtol=1e-12)
    printed = X / (1 - t) + t / (1 - t) * flow.score(t, X)
    assert np.abs(flow.velocity(t, X) - printed).max() > 0.5
    for schedule in (fm.TrigonometricSchedule(0.4), fm.DiffusionSchedule(2.0)):
        flow = fm.StochasticInterpolant(NORMAL, ATOMS, schedule)
        derived = fm.velocity_from_score(schedule, flow.score)(t, X)
        np.testing.assert_allclose(flow.velocity(t, X), derived, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [fm.LinearSchedule(0.8), fm.TrigonometricSchedule()])
def test_conditional_expectation_by_quadrature(schedule):
    # E[İ | I = x] over a mixture target, and the continuity equation of the density.
    parts = [(0.6, -1.0, 0.3), (0.4, 1.5, 0.5)]
    target = fm.Particles(
        (
            jnp.array([[m] for _, m, _ in parts]),
            jnp.array([[[s**2]] for _, _, s in parts]),
        ),
        jnp.log(jnp.array([w for w, _, _ in parts])),
    )
    source = fm.Gaussian(jnp.array([0.2]), jnp.array([[0.7]]))
    flow = fm.StochasticInterpolant(source, target, schedule)
    t, x = 0.4, 0.3
    (alpha, beta, square), (alpha_dot, beta_dot, square_dot) = jax.jvp(schedule, (t,), (1.0,))
    y = np.linspace(-6, 6, 4001)
    law = sum(w * np.exp(-((y - m) ** 2) / 2 / s**2) / s for w, m, s in parts)
    # Given y the rest is Gaussian: X_0 and Z regress on r = x − βy − αm.
    cov = alpha**2 * 0.7 + square
    r = x - beta * y - alpha * 0.2
    weights = law * np.exp(-(r**2) / 2 / cov)
    speed = alpha_dot * (0.2 + alpha * 0.7 * r / cov) + beta_dot * y + square_dot / 2 * r / cov
    expected = np.sum(weights * speed) / np.sum(weights)
    point = jnp.array([x])
    np.testing.assert_allclose(flow.velocity(t, point)[0], expected, rtol=1e-9)
    density = lambda t, x: jnp.exp(flow.log_density(t, jnp.array([x])))  # noqa: E731
    flux = lambda t, x: density(t, x) * flow.velocity(t, jnp.array([x]))[0]  # noqa: E731
    change = jax.grad(density)(t, x)
    np.testing.assert_allclose(change, -jax.grad(flux, 1)(t, x), rtol=1e-9)
    np.testing.assert_allclose(jax.grad(density, 1)(t, x) / density(t, x), flow.score(t, point)[0])


@pytest.mark.slow
def test_flow_and_diffusion_keep_the_law_of_the_interpolant():
    schedule = fm.TrigonometricSchedule(0.7)
    for diffusion in (None, 0.3, lambda t: 1 - t):
        flow = fm.StochasticInterpolant(SOURCE, TARGET, schedule, diffusion=diffusion)
        run = fm.simulate(flow, SOURCE, [0.0, 0.4, 1.0])
        alpha, beta, square = schedule(0.4)
        cov = alpha**2 * A0 + beta**2 * A1 + square * np.eye(2)
        np.testing.assert_allclose(run.ys.cov[1], cov, atol=1e-7)
        np.testing.assert_allclose(run.final.m, M1, atol=1e-7)
        np.testing.assert_allclose(run.final.cov, A1, atol=1e-7)


@pytest.mark.slow
def test_given_covariance_of_gaussians():
    cross = 0.3 * A0 @ np.array([[1.0, 0.5], [0.0, 0.7]])
    flow = fm.StochasticInterpolant(SOURCE, TARGET, coupling=cross)
    cov = 0.36 * A0 + 0.16 * A1 + 0.24 * (cross + cross.T)
    final = fm.simulate(flow, SOURCE, [0.0, 0.4]).final
    np.testing.assert_allclose(final.cov, cov, atol=1e-8)
    x, y = flow.sample(jr.key(0), 40_000)
    # A covariance of 40,000 draws has a standard error of about 0.01.
    np.testing.assert_allclose(np.cov(x.T, y.T)[:2, 2:], cross, atol=0.04)


@pytest.mark.slow
def test_samples_reach_the_atoms_in_their_proportions():
    start = fm.Particles(NORMAL.sample(jr.key(0), 2000))
    flow = fm.StochasticInterpolant(NORMAL, ATOMS)
    for options in ({}, {"dt": 0.02, "solver": diffrax.Euler()}):
        final = fm.simulate(flow, start, [0.0, 1.0], **options).final.x
        away = np.linalg.norm(final[:, None] - ATOMS.x, axis=-1)
        assert away.min(1).max() < 1e-6
        shares = np.bincount(away.argmin(1)) / 2000
        # Three standard errors of a share are 0.034.
        np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.034)
    noisy = fm.StochasticInterpolant(NORMAL, ATOMS, diffusion=lambda t: 1 - t)
    final = fm.simulate(noisy, start, [0.0, 1.0], dt=0.02, key=jr.key(1)).final.x
    away = np.linalg.norm(final[:, None] - ATOMS.x, axis=-1)
    shares = np.bincount(away.argmin(1)) / 2000
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.034)
    assert np.median(away.min(1)) < 0.1


@pytest.mark.slow
def test_couplings_of_atoms():
    x = jr.normal(jr.key(0), (4, 2))
    y = jr.normal(jr.key(1), (4, 2)) + 2
    mu, nu = fm.Particles(x), fm.Particles(y)
    schedule, t = fm.LinearSchedule(0.9), 0.3
    plan = jr.uniform(jr.key(2), (4, 4)) / 16
    plan = plan / plan.sum()
    square = 0.81 * t * (1 - t)
    here = (1 - t) * x[:, None] + t * y
    r = X - here
    weights = np.exp(-np.sum(np.asarray(r) ** 2, -1) / 2 / square)
    slope = 0.81 * (1 - 2 * t) / 2 / square
    speeds = np.asarray(y - x[:, None] + slope * r)
    for masses, given in (
        (np.full((4, 4), 1 / 16), None),
        (np.eye(4) / 4, jnp.eye(4) / 4),
        (plan, plan),
    ):
        flow = fm.StochasticInterpolant(mu, nu, schedule, given)
        w = np.asarray(masses) * weights
        expected = np.tensordot(w, speeds, 2) / w.sum()
        np.testing.assert_allclose(flow.velocity(t, X), expected, rtol=1e-10)
        density = w.sum() / (2 * np.pi * square)
        np.testing.assert_allclose(flow.log_density(t, X), np.log(density), rtol=1e-10)
    traced = jax.jit(lambda p: fm.StochasticInterpolant(mu, nu, schedule, p).velocity(t, X))(plan)
    np.testing.assert_allclose(traced, expected, rtol=1e-10)
    with pytest.raises(ValueError, match="`coupling` has shape"):
        fm.StochasticInterpolant(mu, nu, coupling=plan[:2])
    with pytest.raises(ValueError, match="`coupling` is between"):
        fm.StochasticInterpolant(NORMAL, nu, coupling=plan)


@pytest.mark.slow
def test_likelihood_by_the_divergence():
    flow = fm.StochasticInterpolant(NORMAL, ATOMS, fm.LinearSchedule())
    end = 0.8
    data = jnp.stack([X, -X, jnp.array([1.5, 0.1])])
    state = fm.Particles((data, jnp.zeros(3)))
    back = fm.simulate(fm.LogLikelihood(flow, end), state, [0.0, end])
    latent, change = back.final.x
    found = jax.vmap(NORMAL.log_density)(latent) + change
    exact = jax.vmap(lambda x: flow.log_density(end, x))(data)
    np.testing.assert_allclose(found, exact, atol=1e-6)
    noisy = fm.LogLikelihood(fm.StochasticInterpolant(NORMAL, ATOMS, diffusion=0.1))
    with pytest.raises(ValueError, match="`flow` has noise"):
        fm.simulate(noisy, state, [0.0, 0.1], dt=0.1)


@pytest.mark.slow
def test_rectified_flow_lowers_the_cost_and_straightens():
    # Σ_0 and Σ_1 don't commute: the flow of the independent coupling isn't the optimal map.
    optimum = float(fm.bures(SOURCE, TARGET))
    cost = lambda cross: float(np.sum((M1 - M0) ** 2) + np.trace(A0 + A1 - 2 * cross))  # noqa: E731
    cross, costs, crossings = np.zeros((2, 2)), [], []
    for _ in range(3):
        flow = fm.StochasticInterpolant(SOURCE, TARGET, coupling=cross)
        costs.append(cost(cross))
        crossings.append(float(fm.flow_matching_loss(flow.velocity, flow, jr.key(0), 2000)))
        # Pairs of a point and its start, as one Gaussian.
        law = fm.Custom(
            lambda t, z, mu, flow=flow: jnp.concatenate([jnp.zeros(2), flow.velocity(t, z[2:])])
        )
        both = fm.Gaussian(jnp.concatenate([M0, M0]), jnp.block([[A0, A0], [A0, A0]]))
        final = fm.simulate(law, both, [0.0, 1.0]).final
        np.testing.assert_allclose(final.cov[2:, 2:], A1, atol=1e-6)
        cross = np.asarray(final.cov[:2, 2:])
    assert costs[0] > costs[1] > optimum and crossings[0] > 0.5
    # Straight after one step: paths do not cross, and reflow changes nothing more.
    assert crossings[1] < 1e-8 and abs(costs[1] - costs[2]) < 1e-6
    assert costs[1] - optimum > 1e-3


def test_pairs_that_a_flow_has_made_are_straight_and_cost_less():
    flow = fm.StochasticInterpolant(SOURCE, TARGET)

    def moving(t, phi):
        cov = (1 - t) ** 2 * A0 + t**2 * A1
        return ((t * A1 - (1 - t) * A0) @ np.linalg.solve(cov, phi.reshape(2, 2))).ravel()

    ends = solve_ivp(moving, (0, 1), np.eye(2).ravel(), rtol=1e-11, atol=1e-12).y[:, -1]
    cross = A0 @ ends.reshape(2, 2).T
    again = fm.StochasticInterpolant(SOURCE, TARGET, coupling=cross)
    crossings = [
        float(fm.flow_matching_loss(system.velocity, system, jr.key(0), 500))
        for system in (flow, again)
    ]
    # What is left of the variance of X_1 given X_0 is the error of the ends.
    assert crossings[0] > 0.5 and crossings[1] < 1e-10
    cost = np.sum((M1 - M0) ** 2) + np.trace(A0 + A1)
    assert cost > cost - 2 * np.trace(cross) > float(fm.bures(SOURCE, TARGET)) + 1e-3


@pytest.mark.slow
def test_gradient_restricted_rectification_is_optimal_in_the_end():
    potentials = lambda x: jnp.concatenate([x, jnp.outer(x, x)[jnp.triu_indices(2)]])  # noqa: E731
    cross, costs = np.zeros((2, 2)), []
    for _ in range(4):
        flow = fm.StochasticInterpolant(SOURCE, TARGET, coupling=cross)

        def path(t, cross=cross):
            cov = (1 - t) ** 2 * A0 + t**2 * A1 + t * (1 - t) * (cross + cross.T)
            return fm.measures._base.replace(SOURCE, m=(1 - t) * M0 + t * M1, cov=cov)

        restricted = fm.LeastSquaresFlow(path, potentials)
        t = 0.3
        mean, cov = path(t).m, np.asarray(path(t).cov)
        change = np.asarray(jax.jacfwd(lambda t: path(t).cov)(t))
        # The gradient field S(x − m) + ṁ with SΣ + ΣS = Σ̇.
        slope = solve_sylvester(cov, cov, change)
        found = restricted.rates(t, X, None).velocity
        np.testing.assert_allclose(found, slope @ (X - mean) + M1 - M0, rtol=1e-9)
        law = fm.Custom(
            lambda t, z, mu, f=restricted: jnp.concatenate(
                [jnp.zeros(2), f.rates(t, z[2:], mu).velocity]
            )
        )
        both = fm.Gaussian(jnp.concatenate([M0, M0]), jnp.block([[A0, A0], [A0, A0]]))
        cross = np.asarray(fm.simulate(law, both, [0.0, 1.0]).final.cov[:2, 2:])
        costs.append(float(np.sum((M1 - M0) ** 2) + np.trace(A0 + A1 - 2 * cross)))
        assert flow is not None
    gaps = np.array(costs) - float(fm.bures(SOURCE, TARGET))
    assert np.all(np.diff(gaps) < 1e-9) and gaps[-1] < 0.05 * gaps[0]


@pytest.mark.slow
def test_schroedinger_bridge_of_gaussians():
    sigma = 0.7
    bridge = fm.schroedinger_bridge(SOURCE, TARGET, sigma)
    root = np.real(sqrtm(A0))
    inverse = np.linalg.inv(root)
    d = np.real(sqrtm(4 * root @ A1 @ root + sigma**4 * np.eye(2)))
    cross = (root @ d @ inverse - sigma**2 * np.eye(2)) / 2
    np.testing.assert_allclose(bridge.coupling.cross, cross, rtol=1e-9)
    t = 0.35
    cov = (1 - t) ** 2 * A0 + t**2 * A1 + t * (1 - t) * (cross + cross.T + sigma**2 * np.eye(2))
    run = fm.simulate(bridge, SOURCE, [0.0, t, 1.0])
    np.testing.assert_allclose(run.ys.cov[1], cov, atol=1e-7)
    np.testing.assert_allclose(run.final.cov, A1, atol=1e-6)
    # The drift is E[X_1 − x | x]/(1 − t), a gradient, and solves ∂_t u + ∇(½|u|² + ½σ² ∇·u) = 0.
    drift = lambda t, x: bridge.rates(t, x, None).velocity  # noqa: E731
    end = bridge.posterior(t, X).target
    np.testing.assert_allclose(drift(t, X), (end - X) / (1 - t), rtol=1e-10)
    jacobian = jax.jacfwd(drift, 1)(t, X)
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-10)
    change = jax.jacfwd(drift)(t, X) + jacobian @ drift(t, X)
    np.testing.assert_allclose(change, 0, atol=1e-9)


def test_a_bridge_is_between_gaussians_or_between_atoms():
    with pytest.raises(ValueError, match="Gaussian"):
        fm.schroedinger_bridge(SOURCE, fm.Particles(jnp.zeros((3, SOURCE.m.size))), 0.5)


@pytest.mark.slow
def test_schroedinger_bridge_of_atoms():
    # The drift by its definition, σ²∇ log φ with φ the heat flow of e^{g/2σ²} ν back in time.
    sigma = 0.8
    x = jr.normal(jr.key(0), (5, 2))
    nu = ATOMS
    mu = fm.Particles(x)
    bridge = fm.schroedinger_bridge(mu, nu, sigma)
    plan = np.asarray(fm.entropic_coupling(mu, nu, 2 * sigma**2))
    found = np.zeros((5, 3))
    found[bridge.coupling.i, bridge.coupling.j] = np.exp(bridge.coupling.log_w)
    np.testing.assert_allclose(found, plan, atol=1e-9)
    t = 0.4
    square = np.sum((np.asarray(x)[:, None] - np.asarray(nu.x)) ** 2, -1)
    potential = np.log(plan[0] * 5) + square[0] / 2 / sigma**2

    def log_phi(z):
        gap = jnp.sum((z - nu.x) ** 2, 1)
        return jax.nn.logsumexp(potential - gap / (2 * sigma**2 * (1 - t)))

    drift = sigma**2 * jax.grad(log_phi)(X)
    np.testing.assert_allclose(bridge.rates(t, X, None).velocity, drift, rtol=1e-7)
    # At time 0 on the atoms the drift is regular: it is the barycentric map.
    start = jax.vmap(lambda z: bridge.rates(0.0, z, None).velocity)(x)
    np.testing.assert_allclose(start, 5 * plan @ nu.x - x, atol=1e-6)
    paths = fm.Particles(jnp.repeat(x, 400, axis=0))
    final = fm.simulate(bridge, paths, [0.0, 1.0], dt=0.01, key=jr.key(3)).final.x
    away = np.linalg.norm(final[:, None] - nu.x, axis=-1)
    # Three standard errors of a share of 2000 are 0.034.
    np.testing.assert_allclose(np.bincount(away.argmin(1)) / 2000, [0.5, 0.3, 0.2], atol=0.034)
    assert away.min(1).max() < 0.6


@pytest.mark.slow
def test_mckean_pontryagin_is_the_bridge_without_noise():
    sigma = 0.7
    bridge = fm.schroedinger_bridge(SOURCE, TARGET, sigma)
    drift = lambda t, x: bridge.rates(t, x, None).velocity  # noqa: E731
    slope = np.asarray(jax.jacfwd(drift, 1)(0.0, M0))
    # Costates p = u(0, q) make a singular Gaussian of (q, p).
    lift = np.concatenate([np.eye(2), slope])
    start = fm.Gaussian(jnp.concatenate([M0, drift(0.0, M0)]), lift @ A0 @ lift.T)
    system = fm.McKeanPontryagin(0.5 * sigma**2 * jnp.eye(2), jnp.eye(2))
    run = fm.simulate(system, start, [0.0, 0.35, 1.0])
    t = 0.35
    cross = np.asarray(bridge.coupling.cross)
    cov = (1 - t) ** 2 * A0 + t**2 * A1 + t * (1 - t) * (cross + cross.T + sigma**2 * np.eye(2))
    np.testing.assert_allclose(run.ys.cov[1][:2, :2], cov, atol=1e-6)
    np.testing.assert_allclose(run.final.cov[:2, :2], A1, atol=1e-6)
    np.testing.assert_allclose(run.final.m[:2], M1, atol=1e-7)
    energies = [
        float(system.hamiltonian(fm.measures._base.replace(start, m=m, cov=c)))
        for m, c in zip(run.ys.m, run.ys.cov, strict=True)
    ]
    np.testing.assert_allclose(energies, energies[0], rtol=1e-6)
    # General Σ and R, from an ensemble of phases: constant, too.
    noise = jnp.array([[0.3, 0.1], [0.1, 0.2]])
    control = jnp.array([[1.2, -0.2], [-0.2, 0.8]])
    system = fm.McKeanPontryagin(noise, control)
    q = SOURCE.sample(jr.key(0), 20)
    cloud = fm.Particles(fm.Phase(q, q @ jnp.array([[0.3, 0.1], [0.1, -0.4]]) + 0.2))
    run = fm.simulate(system, cloud, [0.0, 0.5, 1.0], observe=system.hamiltonian)
    np.testing.assert_allclose(run.ys, run.ys[0], rtol=1e-7)


@pytest.mark.slow
def test_hamiltonian_of_a_bridge_between_mixtures():
    # E½|u|² + ½σ² E∇·u is constant; u and the law from the bridge of 2 and 3 smoothed atoms.
    sigma = 0.9
    mu = fm.Particles(jnp.array([[-0.5], [0.8]]))
    nu = fm.Particles(jnp.array([[-2.0], [0.5], [1.5]]))
    bridge = fm.schroedinger_bridge(mu, nu, sigma)
    grid = jnp.linspace(-8, 8, 1601)[:, None]

    @jax.jit
    def energy(t):
        u = lambda x: bridge.rates(t, x, None).velocity[0]  # noqa: E731
        drift = jax.vmap(u)(grid)
        divergence = jax.vmap(jax.grad(u))(grid)[:, 0]
        rho = jnp.exp(jax.vmap(lambda x: bridge.log_density(t, x))(grid))
        return 0.01 * jnp.sum(rho * (drift**2 + sigma**2 * divergence)) / 2

    values = [float(energy(t)) for t in (0.3, 0.5, 0.7)]
    np.testing.assert_allclose(values, values[0], rtol=1e-8)


@pytest.mark.slow
def test_gap_of_flow_and_diffusion_is_the_residual():
    # A score with an error: the laws part, and the residual says so.
    source = fm.Gaussian(jnp.zeros(1), jnp.array([[1.0]]))
    target = fm.Gaussian(jnp.array([0.5]), jnp.array([[0.3]]))
    exact = fm.StochasticInterpolant(source, target)
    wrong = lambda t, x: exact.score(t, x) + 0.1 * x  # noqa: E731
    x = jnp.array([0.7])
    right = fm.fokker_planck_residual(exact.velocity, exact.score, 0.4, x)
    np.testing.assert_allclose(right, 0, atol=1e-10)
    assert abs(fm.fokker_planck_residual(exact.velocity, wrong, 0.4, x)[0]) > 0.05
    finals = [
        fm.simulate(fm.ProbabilityFlow(exact.velocity, s, e), source, [0.0, 0.9]).final.cov[0, 0]
        for s, e in ((wrong, None), (wrong, 0.5), (exact.score, 0.5))
    ]
    np.testing.assert_allclose(finals[0], finals[2], atol=1e-8)

    # The covariance under the diffusion with the wrong score, integrated by itself.
    def rate(t, c):
        cov = (1 - t) ** 2 + 0.3 * t**2
        return 2 * ((0.3 * t - (1 - t)) / cov - 0.5 / cov + 0.05) * c + 1

    expected = solve_ivp(rate, (0, 0.9), [1.0], rtol=1e-10, atol=1e-12).y[0, -1]
    np.testing.assert_allclose(finals[1], expected, rtol=1e-6)
    assert abs(finals[1] - finals[0]) > 0.005
    with pytest.raises(ValueError, match="`score` is None"):
        fm.ProbabilityFlow(exact.velocity, diffusion=0.5)


@pytest.mark.slow
def test_losses_are_least_at_the_exact_fields():
    flow = fm.StochasticInterpolant(NORMAL, TARGET, fm.LinearSchedule(0.5))

    def slopes(loss, field):
        bent = lambda s: loss(lambda t, x: (1 + s) * field(t, x), flow, jr.key(0), 4000)  # noqa: E731
        return jax.value_and_grad(bent)(0.0)[1], bent(0.3) - bent(0.0), bent(-0.3) - bent(0.0)

    for loss, field in (
        (fm.flow_matching_loss, flow.velocity),
        (fm.score_matching_loss, flow.score),
    ):
        slope, up, down = slopes(loss, field)
        # The slope at the minimum is a mean of 4000 draws of standard deviation about 5.
        assert abs(slope) < 0.25 and up > 0.05 and down > 0.05


@pytest.mark.slow
def test_minibatch_couplings():
    x, y = jr.normal(jr.key(0), (12, 2)), jr.normal(jr.key(1), (12, 2))
    mu, nu = fm.Particles(x), fm.Particles(y)
    cost = jnp.sum((x[:, None] - y) ** 2, -1)
    costs = []
    for size in (1, 4, 12):
        plan = fm.minibatch_coupling(jr.key(2), mu, nu, size)
        np.testing.assert_allclose(plan.sum(0), 1 / 12, atol=1e-12)
        np.testing.assert_allclose(plan.sum(1), 1 / 12, atol=1e-12)
        costs.append(float(jnp.vdot(plan, cost)))
    assert costs[0] > costs[1] > costs[2]
    np.testing.assert_allclose(costs[2], float(fm.wasserstein(mu, nu)) ** 2, rtol=1e-10)
    with pytest.raises(ValueError, match="`size`"):
        fm.minibatch_coupling(jr.key(2), mu, nu, 5)


@pytest.mark.slow
def test_derivatives_through_the_sampler():
    # d/dm of the generated mean: 1, whatever the path.
    def final(shift):
        target = fm.measures._base.replace(ATOMS, x=ATOMS.x + shift)
        flow = fm.StochasticInterpolant(NORMAL, target)
        start = fm.Particles(X[None])
        return fm.simulate(flow, start, [0.0, 1.0], dt=0.1, solver=diffrax.Euler()).final.x[0]

    slope = jax.jacfwd(final)(0.3)
    central = (final(0.3 + 1e-5) - final(0.3 - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, central, atol=1e-6)


@pytest.mark.slow
def test_ou_as_a_diffusion_model():
    # The reversed diffusion from its own law at s = T gives the data, dX = (X + 2s) ds + √2 dW.
    horizon = 1.2
    schedule = fm.DiffusionSchedule(horizon)
    flow = fm.StochasticInterpolant(NORMAL, TARGET, schedule, diffusion=horizon)
    t = 0.25
    reverse = horizon * (X + 2 * flow.score(t, X))
    np.testing.assert_allclose(flow.rates(t, X, None).velocity, reverse, rtol=1e-10)
    decay = np.exp(-horizon)
    noised = fm.Gaussian(decay * M1, decay**2 * A1 + (1 - decay**2) * np.eye(2))
    np.testing.assert_allclose(fm.simulate(flow, noised, [0.0, 0.999]).final.cov, A1, atol=2e-2)


@pytest.mark.slow
def test_a_diffusion_chooses_its_steps():
    """SPaRK with a controller: few steps, the law of the target, noise that changes in time."""
    flow = fm.StochasticInterpolant(NORMAL, TARGET, diffusion=lambda t: 1 - t)
    start = fm.Particles(NORMAL.sample(jr.key(1), 3000))
    pid = diffrax.PIDController(1e-2, 1e-2, pcoeff=0.1, icoeff=0.3, dtmin=1e-4)
    run = fm.simulate(
        flow, start, [0.0, 1.0], key=jr.key(2), solver=diffrax.SPaRK(), stepsize_controller=pid
    )
    assert run.stats["num_steps"] < 60
    # Four standard errors of 3000 points.
    x = np.asarray(run.final.x)
    np.testing.assert_allclose(x.mean(0), M1, atol=4 * np.sqrt(1.7 / 3000))
    np.testing.assert_allclose(np.cov(x.T), A1, atol=4 * 1.7 * np.sqrt(2 / 3000))
    with pytest.raises(ValueError, match="`solver`: GeneralShARK has no estimate"):
        fm.simulate(
            flow, start, [0.0, 1.0], key=jr.key(2), solver=diffrax.GeneralShARK(),
            stepsize_controller=pid,
        )  # fmt: skip
