"""Minimising movements against closed forms."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import brentq

import flowjax_measures as fm


def run(energy, mu, tau, t=1.0, **kwargs):
    flow = fm.GradientFlow(energy)
    return fm.simulate(flow, mu, np.array([0.0, t]), dt=tau, solver=fm.JKO(tau), **kwargs)


def test_gaussian_step_is_the_closed_form():
    # KL to N(0, 1/λ): σ_k = σ(1 + τλ) − τ/σ and m_k = (1 + τλ) m.
    rate, tau = 1.5, 0.4
    mu = fm.Gaussian(jnp.array([1.0, -0.5]), jnp.diag(jnp.array([0.25, 4.0])))
    final = run(fm.KL(fm.Quadratic(rate)), mu, tau, tau).final
    sigma = np.sqrt(np.diag(mu.cov))
    grow = 1 + tau * rate
    expected = (sigma + np.sqrt(sigma**2 + 4 * tau * grow)) / (2 * grow)
    np.testing.assert_allclose(final.cov, np.diag(expected**2), atol=1e-12)
    np.testing.assert_allclose(final.m, mu.m / grow, rtol=1e-12)
    # At rest, with a small step, round-off is no ascent.
    rest = fm.Gaussian(jnp.zeros(2), jnp.array([[0.5, 0.1], [0.1, 0.8]]))
    stiffness = jnp.linalg.inv(rest.cov)
    final = run(fm.KL(fm.Quadratic(stiffness)), rest, 1e-5, 2e-4).final
    np.testing.assert_allclose(final.cov, rest.cov, atol=1e-10)


@pytest.mark.slow
def test_gaussian_step_minimises():
    energy = fm.KL(lambda x: jnp.sum(x**2) + 0.1 * jnp.sum(x**4))
    mu = fm.Gaussian(jnp.array([1.0, -0.5]), jnp.array([[0.6, 0.2], [0.2, 0.3]]))
    tau = 0.3
    final = run(energy, mu, tau, tau).final
    value = lambda nu: fm.bures(nu, mu) / (2 * tau) + energy(nu)  # noqa: E731
    best = value(final)
    assert best < energy(mu)
    for key in range(3):
        a, b = jr.split(jr.key(key))
        bend = 1e-2 * jr.normal(a, (2, 2))
        other = fm.Gaussian(
            final.m + 1e-2 * jr.normal(b, (2,)),
            (jnp.eye(2) + bend + bend.T) @ final.cov @ (jnp.eye(2) + bend + bend.T),
        )
        assert value(other) > best


@pytest.mark.slow
def test_order_one_and_descent():
    target = fm.Particles(jr.normal(jr.key(1), (4, 2)))
    energy = fm.PotentialEnergy(lambda x: jnp.sum(x**4) / 4) + fm.MMD(target, fm.GaussianKernel())
    mu = fm.Particles(jr.normal(jr.key(0), (5, 2)))
    exact = fm.simulate(fm.GradientFlow(energy), mu, np.array([0.0, 1.0])).final.x
    errors = []
    for tau in (0.05, 0.025):
        found = run(energy, mu, tau).final.x
        errors.append(float(jnp.linalg.norm(found - exact)))
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.1
    ts = np.linspace(0, 20, 41)
    path = fm.simulate(
        fm.GradientFlow(energy), mu, ts, dt=0.5, solver=fm.JKO(0.5), observe={"energy": energy}
    )
    assert np.all(np.diff(path.ys["energy"]) <= 1e-12)


@pytest.mark.slow
def test_a_thousand_steps_descend():
    target = fm.Particles(jr.normal(jr.key(1), (4, 2)))
    energy = fm.PotentialEnergy(fm.Quadratic(0.1)) + fm.MMD(target, fm.GaussianKernel())
    mu = fm.Particles(jr.normal(jr.key(0), (4, 2)), jax.nn.log_softmax(jnp.arange(4.0) / 4))
    flow, ts = fm.GradientFlow(energy), np.linspace(0, 500, 1001)
    path = fm.simulate(flow, mu, ts, solver=fm.JKO(0.5), observe=energy)
    assert np.all(np.diff(path.ys) <= 1e-13)
    slope = jax.vmap(lambda x: energy.velocity(x, path.final))(path.final.x)
    np.testing.assert_allclose(slope, 0, atol=1e-7)


def test_a_step_that_does_not_descend_fails():
    # V = −x²/2: beyond τ = 1 the step is a maximum and not a minimum.
    energy = fm.PotentialEnergy(fm.Quadratic(-1.0))
    mu = fm.Particles(jnp.ones((2, 1)))
    run(energy, mu, 0.5, 0.5)
    with pytest.raises(RuntimeError, match="stopped at t = 3"):
        run(energy, mu, 3.0, 3.0)
    with pytest.raises(RuntimeError, match="stopped at t = 3"):
        run(energy, fm.Gaussian(jnp.ones(1), 0.1 * jnp.eye(1)), 3.0, 3.0)


def barenblatt(t, x):
    """∂_t ρ = Δρ² on the line from a ball."""
    return t ** (-1 / 3) * jnp.maximum(0.5 - (x * t ** (-1 / 3)) ** 2 / 12, 0)


def test_porous_medium_on_a_grid():
    energy = fm.PowerEnergy(2.0)
    blank = fm.GridDensity(jnp.ones(60), -6.0, 6.0)
    x = blank.centres()[:, 0]
    mu = fm.GridDensity(barenblatt(1.0, x), -6.0, 6.0)
    exact = fm.simulate(fm.GradientFlow(energy), mu, [1.0, 2.0], dt=0.005).final
    errors = []
    for tau in (0.1, 0.05):
        path = fm.simulate(
            fm.GradientFlow(energy), mu, [1.0, 1.5, 2.0], solver=fm.JKO(tau), observe=energy
        )
        assert np.all(np.diff(path.ys) < 0)
        np.testing.assert_allclose(path.final.mass(), mu.mass(), rtol=1e-12)
        assert path.final.rho.min() > -1e-12
        errors.append(float(jnp.sum(jnp.abs(path.final.rho - exact.rho))))
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.1
    truth = barenblatt(2.0, x)
    assert jnp.sum(jnp.abs(path.final.rho - truth)) * mu.cell < 0.01 * mu.mass()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "solver", "error"),
    [
        (24, fm.JKO(0.1), 0.02),
        (32, fm.JKO(0.1, fm.EntropicScaling(0.04)), 0.02),
    ],
    ids=["newton", "entropic"],
)
def test_porous_medium_in_the_plane(n, solver, error):
    # ρ = t^{−1/2} (C − |z|²/16)_+ with z = x t^{−1/4}: second moments grow like √t.
    points = fm.GridDensity(jnp.ones((n, n)), -3.0, 3.0).centres()

    def exact(t):
        return t**-0.5 * jnp.maximum(0.25 - jnp.sum(points**2, -1) * t**-0.5 / 16, 0)

    energy, mu = fm.PowerEnergy(2.0), fm.GridDensity(exact(1.0), -3.0, 3.0)
    watch = {"energy": energy, "second": lambda m: m.mean(lambda x: jnp.sum(x**2))}
    run = fm.simulate(fm.GradientFlow(energy), mu, [1.0, 1.5, 2.0], solver=solver, observe=watch)
    assert np.all(np.diff(run.ys["energy"]) < 0)
    np.testing.assert_allclose(run.ys["second"][2] / run.ys["second"][0], np.sqrt(2), rtol=0.01)
    np.testing.assert_allclose(run.final.mass(), mu.mass(), rtol=1e-9)
    assert run.final.rho.min() >= 0
    assert jnp.sum(jnp.abs(run.final.rho - exact(2.0))) * mu.cell < error * mu.mass()


def on_grid(gaussian, n, wall=4.0):
    blank = fm.GridDensity(jnp.ones((n,) * gaussian.m.size), -wall, wall)
    points = blank.centres().reshape(-1, gaussian.m.size)
    rho = jnp.exp(jax.vmap(gaussian.log_density)(points)).reshape(blank.rho.shape)
    return fm.GridDensity(rho, -wall, wall)


@pytest.mark.slow
def test_entropic_step_is_that_of_gaussians():
    energy, tau = fm.KL(fm.Quadratic(1.5, 0.3)), 0.2
    start = fm.Gaussian(jnp.array([0.8]), jnp.array([[0.3]]))
    exact = run(energy, start, tau, 2 * tau).final
    errors = []
    for epsilon in (0.08, 0.04):
        solver = fm.JKO(tau, fm.EntropicScaling(epsilon))
        flow, ts = fm.GradientFlow(energy), [0.0, 2 * tau]
        final = fm.simulate(flow, on_grid(start, 80), ts, solver=solver).final
        np.testing.assert_allclose(final.mean(), exact.m, atol=1e-4)
        errors.append(float(jnp.abs(final.covariance() - exact.cov)[0, 0]))
        np.testing.assert_allclose(final.mass(), 1, atol=1e-6)
    # What half of the entropy leaves is of second order in ε.
    assert errors[1] < 2e-3 and errors[0] / errors[1] > 3


def test_a_crowd_keeps_its_ceiling():
    crowd = fm.PotentialEnergy(lambda x: jnp.sum(jnp.abs(x - 0.5))) + fm.Congestion(1.0)
    grid = fm.GridDensity(jnp.full(60, 0.25), -2.0, 2.0)
    solver = fm.JKO(0.1, fm.EntropicScaling(0.02))
    path = fm.simulate(
        fm.GradientFlow(crowd), grid, np.linspace(0, 2.5, 6), solver=solver,
        observe={"top": lambda mu: jnp.max(mu.rho), "energy": crowd, "mass": lambda mu: mu.mass()},
    )  # fmt: skip
    assert np.all(path.ys["top"] <= 1 + 1e-9)
    assert np.all(np.diff(path.ys["energy"]) < 1e-9)
    np.testing.assert_allclose(path.ys["mass"], 1, atol=1e-6)
    # All ends packed around the exit: ∫ |x − ½| over an interval of length one is ¼.
    np.testing.assert_allclose(path.ys["energy"][-1], 0.25, atol=5e-3)


def test_noise_and_other_systems_are_refused():
    with pytest.raises(ValueError, match="noise"):
        run(fm.KL(fm.Quadratic()), fm.Particles(jnp.ones((2, 1))), 0.1, key=jr.key(0))
    with pytest.raises(ValueError, match="`inner`"):
        solver = fm.JKO(0.1, fm.EntropicScaling(0.1))
        flow = fm.GradientFlow(fm.PotentialEnergy(fm.Quadratic()))
        fm.simulate(flow, fm.Particles(jnp.ones((2, 1))), [0.0, 0.1], solver=solver)


@pytest.mark.parametrize("tau", [0.01, 0.3])
def test_energy_distance_on_the_line_minimises(tau):
    # Steps end at kinks: that they are minima is seen from values nearby.
    keys = jr.split(jr.key(0), 3)
    target = fm.Particles(jr.normal(keys[0], (12, 1)), weights=jr.uniform(keys[1], (12,)))
    mu = fm.Particles(3 * jr.normal(keys[2], (6, 1)), weights=jnp.arange(1.0, 7.0) / 21)
    flow = fm.GradientFlow(fm.MMD(target))
    end = fm.simulate(flow, mu, [0.0, tau], dt=tau, solver=fm.JKO(tau)).final

    @jax.jit
    def movement(x):
        moved = jnp.sum(jnp.arange(1.0, 7.0) / 21 * (x - mu.x[:, 0]) ** 2)
        return moved / (2 * tau) + flow.energy(fm.Particles(x[:, None], log_w=mu.log_w))

    best = movement(end.x[:, 0])
    others = end.x[:, 0] + 10 ** jr.uniform(keys[0], (200, 1), minval=-7.0) * jr.normal(
        keys[1], (200, 6)
    )
    assert jnp.all(jax.vmap(movement)(others) >= best - 1e-13)


@pytest.mark.parametrize("variances", [(0.5, 0.0), (0.0, 0.0)])
def test_a_singular_gaussian_has_no_step_of_the_entropy(variances):
    start = fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.array(variances)))
    flow = fm.GradientFlow(fm.Entropy())
    run = fm.simulate(flow, start, [0.0, 0.2], dt=0.1, solver=fm.JKO(0.1), throw=False)
    assert run.result == fm.Results.nonfinite and not np.any(np.isfinite(run.final.cov))


@pytest.mark.parametrize("kind", ["particles", "grid"])
def test_steps_of_many_unknowns_need_no_matrix(kind, monkeypatch):
    """Newton's equation by products with its derivative, beside its matrix."""
    if kind == "particles":
        energy = fm.PotentialEnergy(lambda x: jnp.sum(x**4)) + fm.InteractionEnergy(
            fm.GaussianKernel(1.0)
        )
        mu, tau = fm.Particles(jr.normal(jr.key(0), (12, 2))), 0.05
    else:
        wave = jnp.cos(2 * jnp.pi * (jnp.arange(6.0) + 0.5) / 6)
        energy, mu = fm.PowerEnergy(2.0), fm.GridDensity(1 + 0.5 * jnp.outer(wave, wave), 0.0, 1.0)
        tau = 2e-3

    def step():
        law = fm.GradientFlow(energy)
        return fm.simulate(law, mu, jnp.array([0.0, tau]), dt=tau, solver=fm.JKO(tau)).final

    known = step()
    monkeypatch.setattr("flowjax_measures.solvers._proximal._DENSE", 0)
    jax.clear_caches()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), step(), known)
    assert energy(known) < energy(mu)


def test_a_step_on_a_product_of_spaces_is_along_geodesics():
    # One step of each factor in closed form: θ_k = θ + τ sin θ, x_k = x + τ sin x, x_k = x + τ.
    tau = 0.5
    potential = lambda x: -x[0][0] - jnp.cos(x[1][0]) + x[2][0]  # noqa: E731
    space = fm.Product((fm.Sphere(), fm.Torus(2 * np.pi), fm.Box(0.0, 1.0)))
    angle, turn = np.array([1.2, 2.9]), np.array([6.0, 0.2])
    points = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1), turn[:, None]
    walled = np.array([[0.75], [0.25]])
    mu = fm.Particles((*map(jnp.asarray, points), jnp.asarray(walled)), space=space)
    found = run(fm.PotentialEnergy(potential), mu, tau, tau).final.x
    back = lambda s: brentq(lambda r: r + tau * np.sin(r) - s, -4, 4, xtol=1e-15)  # noqa: E731
    np.testing.assert_allclose(
        np.arctan2(found[0][:, 1], found[0][:, 0]), [back(a) for a in angle], rtol=1e-13
    )
    ends = np.array([back(6.0 - 2 * np.pi) + 2 * np.pi, back(0.2)])
    np.testing.assert_allclose(found[1][:, 0], ends, rtol=1e-13)
    np.testing.assert_allclose(found[2], [[0.25], [0.0]], atol=1e-14)


def test_a_space_without_geodesics_is_refused():
    points = jax.vmap(fm.Gaussian)(jnp.zeros((2, 1)), jnp.ones((2, 1, 1)))
    with pytest.raises(ValueError, match=r"Bures.*geodesics"):
        run(fm.PotentialEnergy(lambda x: x.m[0]), fm.Particles(points, space=fm.Bures()), 0.1, 0.1)
