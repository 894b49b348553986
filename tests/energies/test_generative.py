"""f-divergences, critics, and JKO steps as steps of a proximal GAN."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

import flowjax_measures as fm

NU = fm.Gaussian(jnp.array([0.3]), jnp.array([[0.8]]))
MU = fm.Gaussian(jnp.array([-0.2]), jnp.array([[0.5]]))
LINE = np.linspace(-9, 9, 4001)


def quadratics(x):
    return jnp.concatenate([jnp.ones(1, x.dtype), x, x**2])


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("KL", "chi-squared", "hellinger")),
        "jensen-shannon",
    ],
)
def test_f_divergences_by_quadrature(name):
    p = norm.pdf(LINE, -0.2, np.sqrt(0.5))
    q = norm.pdf(LINE, 0.3, np.sqrt(0.8))
    middle = (p + q) / 2
    exact = {
        "KL": p * np.log(p / q),
        "chi-squared": (p - q) ** 2 / q,
        "hellinger": (np.sqrt(p) - np.sqrt(q)) ** 2,
        "jensen-shannon": (p * np.log(p / middle) + q * np.log(q / middle)) / 2,
    }[name]
    energy = fm.FDivergence(NU.log_density, name)
    np.testing.assert_allclose(energy(MU), np.sum(exact) * (LINE[1] - LINE[0]), rtol=1e-5)
    # The flow on a grid is ∂(ρ ∂f′(r)), and ends at π.
    x = np.linspace(-3.975, 3.975, 160)
    grid = fm.GridDensity(jnp.asarray(norm.pdf(x, -0.2, np.sqrt(0.5))), -4.0, 4.0)
    drift = fm.GradientFlow(energy)(jnp.asarray(0.0), grid).drift.rho

    def flux(s):
        rho = lambda z: jnp.exp(MU.log_density(z[None]))  # noqa: E731
        slope = lambda z: energy.first_variation(z[None], MU)  # noqa: E731
        return rho(s) * jax.grad(slope)(s)

    exact = jax.vmap(jax.grad(flux))(grid.centres()[:, 0])
    # In the mean: at its extrema the transport is of first order.
    assert jnp.mean(jnp.abs(drift - exact)) < 0.01 * jnp.mean(jnp.abs(exact))


@pytest.mark.slow
def test_critic_of_quadratics_knows_gaussians():
    # log dμ/dν is quadratic: the variational bound is the divergence.
    exact = fm.FDivergence(NU.log_density, "KL")
    found = fm.AdversarialDivergence(NU, quadratics, "KL", 0.0)
    np.testing.assert_allclose(found(MU), exact(MU), rtol=1e-6)
    gan = fm.AdversarialDivergence(NU, quadratics, "jensen-shannon", 0.0)
    np.testing.assert_allclose(
        gan(MU), fm.FDivergence(NU.log_density, "jensen-shannon")(MU), rtol=1e-4
    )
    point = jnp.array([0.7])
    for one, two in ((found, exact), (gan, fm.FDivergence(NU.log_density, "jensen-shannon"))):
        slope = jax.grad(one.first_variation)(point, MU)
        np.testing.assert_allclose(slope, jax.grad(two.first_variation)(point, MU), rtol=1e-3)


def features(x):
    z = jnp.stack([x[0], x[1], x[0] + x[1], x[0] - x[1]])
    return jnp.concatenate([jnp.cos(z), jnp.sin(z)])


@pytest.mark.slow
def test_critic_of_features_is_the_kernel_distance():
    x, y = (fm.Particles(jr.normal(jr.key(i), (6, 2)) + i) for i in (0, 1))
    lam = 0.4
    found = fm.AdversarialDivergence(y, features, "MMD", lam)
    kernel = fm.MMD(y, lambda a, b: jnp.vdot(features(a), features(b)) / lam)
    np.testing.assert_allclose(found(x), kernel(x), rtol=1e-10)
    tau = 0.3
    ends = [
        fm.simulate(fm.GradientFlow(f), x, [0.0, tau], solver=fm.JKO(tau)).final.x
        for f in (found, kernel)
    ]
    np.testing.assert_allclose(*ends, atol=1e-9)


@pytest.mark.slow
def test_step_is_the_saddle_point_of_a_proximal_gan():
    """min over maps, max over critics of E a(c(T(x))) − E b(c(y)) − λ|φ|²/2 + E|T(x) − x|²/2τ."""
    x, y = (np.asarray(jr.normal(jr.key(i), (5, 2)) + i) for i in (0, 1))
    tau, lam = 0.4, 0.1
    energy = fm.AdversarialDivergence(fm.Particles(y), features, "jensen-shannon", lam)
    run = fm.simulate(fm.GradientFlow(energy), fm.Particles(x), [0.0, tau], solver=fm.JKO(tau))

    def payoff(points, phi):
        scores = jax.vmap(features)(points) @ phi
        real = jax.vmap(features)(jnp.asarray(y)) @ phi
        seen = jnp.mean(jax.nn.log_sigmoid(scores)) + jnp.mean(jax.nn.log_sigmoid(-real))
        return seen / 2 + jnp.log(2.0) - lam * jnp.vdot(phi, phi) / 2

    def generator(flat):
        points = jnp.asarray(flat.reshape(5, 2))
        inner = minimize(
            jax.jit(lambda p: -payoff(points, p)), np.zeros(8), method="BFGS",
            jac=jax.jit(jax.grad(lambda p: -payoff(points, p))), options={"gtol": 1e-10},
        )  # fmt: skip
        return -inner.fun + np.sum((flat.reshape(5, 2) - x) ** 2) / 10 / tau

    found = minimize(generator, x.ravel(), method="BFGS", options={"gtol": 1e-5}).x
    np.testing.assert_allclose(run.final.x, found.reshape(5, 2), atol=1e-4)


def test_the_dual_of_a_step_is_its_critic():
    """min over ρ of W²(μ, ρ)/2τ + KL(ρ | ν) is transport from μ with a free end."""
    tau, start = 0.2, fm.Gaussian(jnp.array([0.8]), jnp.array([[0.3]]))
    flow = fm.GradientFlow(fm.KL(lambda x: jnp.sum(x**2) / 2))
    end = fm.simulate(flow, start, [0.0, tau], solver=fm.JKO(tau)).final
    m, s = float(end.m[0]), float(end.cov[0, 0])
    x = np.linspace(-4, 4, 201)
    cells = fm.Particles(jnp.asarray(x[:, None]), weights=norm.pdf(x, 0.8, np.sqrt(0.3)) * 0.04)
    nu = fm.Particles(jnp.asarray(x[:, None]), weights=norm.pdf(x) * 0.04)
    found = fm.unbalanced_transport(cells, nu, None, fm.KullbackLeibler(2 * tau))
    rho = np.asarray(found.plan).sum(0)
    np.testing.assert_allclose([rho @ x, rho @ (x - m) ** 2], [m, s], atol=1e-3)
    critic = norm.logpdf(x, m, np.sqrt(s)) - norm.logpdf(x)
    seen = (x > -1) & (x < 2)
    assert np.max(np.abs(-found.g / (2 * tau) - critic)[seen]) < 0.01


@pytest.mark.slow
def test_parametric_step_of_affine_generators_is_the_step_of_gaussians():
    """G(z) = A z + b: E|G − G_k|² = |A − A_k|² + |b − b_k|², and the best A has W₂ there."""
    energy = fm.KL(lambda x: jnp.sum(x**2) / 2 + 0.05 * jnp.sum(x**4) + 0.3 * x[0] * x[1])
    start = jnp.array([[0.7, 0.2], [-0.1, 0.5]]), jnp.array([1.0, -0.5])
    law = lambda theta: fm.Gaussian(theta[1], theta[0] @ theta[0].T)  # noqa: E731
    tau = 0.3
    flow = fm.NaturalGradient(
        lambda theta: jnp.concatenate([theta[0].ravel(), theta[1]]), lambda p: energy(law(p))
    )
    solver = fm.MinimizingMovement(tau, flow)
    found = law(fm.simulate(flow, start, [0.0, tau], solver=solver).final)
    exact = fm.simulate(fm.GradientFlow(energy), law(start), [0.0, tau], solver=fm.JKO(tau)).final
    np.testing.assert_allclose(found.m, exact.m, atol=1e-8)
    np.testing.assert_allclose(found.cov, exact.cov, atol=1e-8)


@pytest.mark.slow
def test_points_become_a_ring():
    turn = 2 * np.pi * np.arange(40) / 40
    ring = fm.Particles(1.5 * jnp.stack([jnp.cos(turn), jnp.sin(turn)], 1))
    weights = jr.normal(jr.key(5), (60, 2))

    def random_features(x):
        z = weights @ x
        return jnp.concatenate([jnp.cos(z), jnp.sin(z)]) / jnp.sqrt(60.0)

    energy = fm.AdversarialDivergence(ring, random_features, "jensen-shannon", 1e-2, 12)
    start = fm.Particles(0.3 * jr.normal(jr.key(0), (40, 2)))
    run = fm.simulate(fm.GradientFlow(energy), start, np.linspace(0, 40, 5), dt=0.5, observe=energy)
    assert np.all(np.diff(run.ys) < 0) and run.ys[-1] < 0.02 * run.ys[0]
    assert fm.wasserstein(run.final, ring, 2) < 0.25 * fm.wasserstein(start, ring, 2)


@pytest.mark.slow
def test_wasserstein_critic_of_given_features():
    """max_φ φΔ − γ(φ − 1)₊² − λφ²/2 of the critic φx, and the distance itself for a large γ."""
    x, y = jnp.array([[1.9], [2.5]]), jnp.array([[0.3], [0.5]])
    gap, gamma, lam = 1.8, 7.0, 0.1
    found = fm.AdversarialDivergence(
        fm.Particles(y), lambda x: x, "W1", lam, iterations=8, penalty=gamma
    )
    best = (gap + 2 * gamma) / (2 * gamma + lam)
    value = best * gap - gamma * (best - 1) ** 2 - lam * best**2 / 2
    np.testing.assert_allclose(found(fm.Particles(x)), value, rtol=1e-10)
    slope = jax.grad(lambda x: 2 * found(fm.Particles(x)))(x)
    flow = fm.GradientFlow(found)(0.0, fm.Particles(x)).drift.x
    np.testing.assert_allclose(flow, -slope, rtol=1e-8)
    np.testing.assert_allclose(flow, -best, rtol=1e-8)
    firm = fm.AdversarialDivergence(
        fm.Particles(y), lambda x: x, "W1", 1e-6, iterations=8, penalty=1e5
    )
    exact = fm.wasserstein(fm.Particles(x), fm.Particles(y), 1)
    np.testing.assert_allclose(firm(fm.Particles(x)), exact, rtol=1e-4)
