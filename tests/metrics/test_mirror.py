"""Mirror flows against closed forms, the Monge–Ampère equation and Sinkhorn's iterations."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

SLOW = pytest.mark.slow
SOURCE = jnp.array([[2.0, 0.5], [0.5, 1.0]])
REFERENCE = fm.Gaussian(jnp.array([0.2, -0.1]), jnp.array([[0.6, -0.2], [-0.2, 0.9]]))


def normal():
    return fm.Gaussian(jnp.array([1.0, 0.5]), jnp.array([[0.5, 0.1], [0.1, 0.8]]))


@pytest.mark.parametrize(
    ("potential", "exact"),
    [
        pytest.param(lambda x: jnp.sum(x**2) / 2, lambda t: np.exp(-t), marks=SLOW),
        (lambda x: jnp.sum(x**4), lambda t: np.sqrt(1 - t / 6)),
        pytest.param(lambda x: jnp.sum(1 / x), lambda t: (1 + 3 * t / 2) ** (-1 / 3), marks=SLOW),
    ],
)
def test_mirror_flow_of_a_square_is_the_closed_form(potential, exact):
    flow = fm.GradientFlow(fm.PotentialEnergy(fm.Quadratic()), fm.Mirror(potential))
    final = fm.simulate(flow, fm.Particles(jnp.ones((1, 1))), [0.0, 3.0]).final
    np.testing.assert_allclose(final.x[0, 0], exact(3.0), rtol=1e-7)


@SLOW
def test_mirror_langevin_transports_by_its_flux():
    # ∂_t ρ = ∂(ρ A ∂(V + log ρ)) with A = 1/u″, by differentiating closed forms.
    V = lambda x: jnp.sum(x**4) / 4  # noqa: E731
    mirror = lambda x: jnp.sum(jnp.cosh(x) + x**2)  # noqa: E731
    rho = lambda s: jnp.exp(-(s**2)) * (1 + 0.3 * jnp.sin(s))  # noqa: E731
    point = lambda s: jnp.reshape(s, (1,))  # noqa: E731

    def flux(s):
        pull = jax.grad(lambda z: V(point(z)) + jnp.log(rho(z)))(s)
        return rho(s) * pull / (jnp.cosh(s) + 2)

    errors = []
    for n in (200, 400):
        grid = fm.GridDensity(rho(-4 + 8 * (jnp.arange(float(n)) + 0.5) / n), -4.0, 4.0)
        flow = fm.GradientFlow(fm.KL(V), fm.Mirror(mirror))
        drift = flow(jnp.asarray(0.0), grid).drift.rho
        exact = jax.vmap(jax.grad(flux))(grid.centres()[:, 0])
        errors.append(float(jnp.mean(jnp.abs(drift - exact))))
    assert errors[1] < 2e-4 and 3 < errors[0] / errors[1] < 5


@SLOW
def test_preconditioner_of_the_dual():
    # h* = |v|^q/q with q = 4/3: ẋ = −sign(x)|x|^{1/3} for V = x²/2, so |x|^{2/3} falls linearly.
    power = lambda v: jnp.sum(jnp.abs(v) ** (4 / 3)) * 3 / 4  # noqa: E731
    flow = fm.GradientFlow(fm.PotentialEnergy(fm.Quadratic()), fm.DualPreconditioned(power))
    final = fm.simulate(flow, fm.Particles(jnp.array([[1.0], [-2.0]])), [0.0, 0.6]).final
    exact = (np.array([1.0, 2.0]) ** (2 / 3) - 0.4) ** 1.5 * np.array([1, -1])
    np.testing.assert_allclose(final.x[:, 0], exact, rtol=1e-7)
    with pytest.raises(ValueError, match="diffuses"):
        flow = fm.GradientFlow(fm.KL(fm.Quadratic()), fm.DualPreconditioned(power))
        flow(jnp.asarray(0.0), normal())


def run(energy, reference, mu, t):
    return fm.simulate(fm.GradientFlow(energy, fm.WassersteinMirror(reference)), mu, [0.0, t]).final


@SLOW
def test_mirror_flow_of_the_entropy_is_faster_than_heat():
    unit = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    np.testing.assert_allclose(
        run(fm.Entropy(), unit, unit, 1.5).cov, 2.5**2 * np.eye(2), atol=1e-6
    )
    heat = fm.simulate(fm.GradientFlow(fm.Entropy()), unit, [0.0, 1.5]).final
    np.testing.assert_allclose(heat.cov, (1 + 2 * 1.5) * np.eye(2), atol=1e-7)


def test_sinkhorn_flow_of_commuting_gaussians():
    # s² = σ² tanh²(t/σθ + artanh(s_0/σ)) in each direction of N(0, σ²) and N(0, θ²).
    sigma, theta, t = np.array([1.5, 2.0]), np.array([0.4, 0.9]), 0.7
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    rotate = lambda s: jnp.asarray(turn @ np.diag(s**2) @ turn.T)  # noqa: E731
    reference = fm.Gaussian(jnp.zeros(2), rotate(theta))
    energy = fm.KL(fm.Quadratic(jnp.linalg.inv(rotate(sigma))))
    final = run(energy, reference, fm.Gaussian(jnp.zeros(2), jnp.eye(2)), t)
    exact = sigma * np.tanh(t / (sigma * theta) + np.arctanh(1 / sigma))
    np.testing.assert_allclose(final.cov, rotate(exact), atol=1e-7)


@SLOW
def test_the_brenier_map_solves_the_parabolic_monge_ampere_equation():
    # u̇ = f − g(∇u) + log det ∇²u for quadratics: Ȧ = S − A R A, with A = ∇²u from μ to ν.
    energy = fm.KL(fm.Quadratic(SOURCE, jnp.array([0.4, -0.3])))
    before, after = (run(energy, REFERENCE, normal(), t) for t in (0.3, 0.3 + 1e-4))
    one, two = fm.bures_map(before, REFERENCE), fm.bures_map(after, REFERENCE)
    a = (one + two) / 2
    slope = SOURCE - a @ jnp.linalg.inv(REFERENCE.cov) @ a
    np.testing.assert_allclose((two - one) / 1e-4, slope, atol=1e-4)
    # ∇u = n + A (x − m): the gradient at 0 has the derivative −S c − A R (∇u(0) − n).
    shifts = [REFERENCE.m - fm.bures_map(mu, REFERENCE) @ mu.m for mu in (before, after)]
    middle = (shifts[0] + shifts[1]) / 2 - REFERENCE.m
    slope = -SOURCE @ jnp.array([0.4, -0.3]) - a @ jnp.linalg.solve(REFERENCE.cov, middle)
    np.testing.assert_allclose((shifts[1] - shifts[0]) / 1e-4, slope, atol=1e-4)


@SLOW
def test_sinkhorn_iterations_are_the_flow_to_order_epsilon():
    # On quadratics ½xᵀAx an iteration is A ← ((A + εS)⁻¹ + εR)⁻¹, its marginal has the precision
    # S − (A_{k+1} − A_k)/ε.
    mu, t = fm.Gaussian(jnp.zeros(2), normal().cov), 0.5
    nu = fm.Gaussian(jnp.zeros(2), REFERENCE.cov)
    s, r = np.asarray(SOURCE), np.linalg.inv(nu.cov)
    exact = run(fm.KL(fm.Quadratic(SOURCE)), nu, mu, t).cov

    def iterated(epsilon):
        a = np.asarray(fm.bures_map(mu, nu))
        for _ in range(round(t / epsilon) + 1):
            before = a
            a = np.linalg.inv(np.linalg.inv(a + epsilon * s) + epsilon * r)
        return np.linalg.inv(s - (a - before) / epsilon)

    errors = [np.linalg.norm(iterated(e) - exact) for e in (0.01, 0.005, 0.0025)]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[-1] < 0.01 and np.all(abs(slopes - 1) < 0.15)


def test_what_has_no_brenier_map_is_refused():
    flow = fm.GradientFlow(fm.Entropy(), fm.WassersteinMirror(REFERENCE))
    with pytest.raises(ValueError, match="moves Gaussians"):
        flow(jnp.asarray(0.0), fm.Particles(jr.normal(jr.key(0), (3, 2))))
