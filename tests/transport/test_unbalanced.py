"""Unbalanced transport against closed forms, duality and the heat equation."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import xlogy

import flowjax_measures as fm


def atoms(x, masses):
    return fm.Particles(jnp.asarray(x, float), jnp.log(jnp.asarray(masses, float)))


def clouds():
    x, y = jr.normal(jr.key(0), (6, 2)), jr.normal(jr.key(1), (4, 2)) + 0.3
    return atoms(x, [0.4, 0.1, 0.9, 0.3, 0.7, 0.2]), atoms(y, [0.8, 0.2, 0.5, 2.0])


def test_two_atoms():
    a, b, cost = 1.3, 0.7, 0.64
    mu, nu = atoms([[0.0]], [a]), atoms([[0.8]], [b])
    strength = 0.5
    square = fm.unbalanced_transport(mu, nu, fm.SquaredError(), fm.SquaredError())
    np.testing.assert_allclose(square.plan, [[(a + b - cost) / 2]], rtol=1e-12)
    law = fm.KullbackLeibler(strength)
    entropic = fm.unbalanced_transport(mu, nu, law, law)
    mass = np.sqrt(a * b) * np.exp(-cost / (2 * strength))
    np.testing.assert_allclose(entropic.plan, [[mass]], rtol=1e-12)
    np.testing.assert_allclose(entropic.value, strength * (a + b - 2 * mass), rtol=1e-12)
    far = fm.unbalanced_transport(mu, atoms([[9.0]], [b]), fm.SquaredError(), fm.SquaredError())
    np.testing.assert_allclose(far.value, (a**2 + b**2) / 2, rtol=1e-12)


LAWS = {
    "kl": (fm.KullbackLeibler(0.6), fm.KullbackLeibler(1.7)),
    "square": (fm.SquaredError(0.6), fm.SquaredError(1.7)),
    "semi-kl": (None, fm.KullbackLeibler(0.6)),
    "semi-square": (fm.SquaredError(0.6), None),
}


@pytest.mark.parametrize("name", LAWS)
def test_optimality_conditions(name):
    one, two = LAWS[name]
    mu, nu = clouds()
    a, b = np.exp(mu.log_w), np.exp(nu.log_w)
    cost = np.sum((np.asarray(mu.x)[:, None] - np.asarray(nu.x)) ** 2, -1)
    value, plan, f, g = map(np.asarray, fm.unbalanced_transport(mu, nu, one, two))
    slack = cost - f[:, None] - g
    assert plan.min() >= 0 and slack.min() > -1e-12
    assert np.max(plan * slack) < 1e-11
    # An acyclic support: no more edges than atoms.
    assert np.sum(plan > 1e-8) <= len(a) + len(b) - 1
    primal = np.vdot(cost, plan)
    for law, potential, s, start in ((one, f, plan.sum(1), a), (two, g, plan.sum(0), b)):
        if law is None:
            np.testing.assert_allclose(s, start, atol=1e-11)
        elif isinstance(law, fm.SquaredError):
            np.testing.assert_allclose(s, start - potential / law.strength, atol=1e-11)
            primal += law.strength / 2 * np.sum((s - start) ** 2)
        else:
            np.testing.assert_allclose(s, start * np.exp(-potential / law.strength), atol=1e-11)
            primal += law.strength * divergence(s, start)
    np.testing.assert_allclose(value, primal, rtol=1e-11)


@pytest.mark.slow
def test_strong_marginals_are_transport_and_derivatives_are_differences():
    mu, nu = clouds()
    nu = atoms(nu.x, np.exp(nu.log_w) / np.exp(nu.log_w).sum() * np.exp(mu.log_w).sum())

    def value(strength, x=mu.x):
        law = fm.KullbackLeibler(strength)
        return fm.unbalanced_transport(fm.Particles(x, mu.log_w), nu, law, law).value

    exact = fm.wasserstein(mu, nu) ** 2 * np.exp(mu.log_w).sum()
    # The first correction is −(‖f‖²_a + ‖g‖²_b)/2λ.
    gaps = [float(exact - value(s)) for s in (1e3, 2e3)]
    np.testing.assert_allclose(gaps[0] / gaps[1], 2, rtol=1e-2)
    h = 1e-5
    slopes = jax.grad(value, (0, 1))(0.7, mu.x)
    np.testing.assert_allclose(slopes[0], (value(0.7 + h) - value(0.7 - h)) / (2 * h), rtol=1e-7)
    step = jr.normal(jr.key(2), mu.x.shape)
    central = (value(0.7, mu.x + h * step) - value(0.7, mu.x - h * step)) / (2 * h)
    np.testing.assert_allclose(jnp.vdot(slopes[1], step), central, rtol=1e-7)


def divergence(s, a):
    return np.sum(np.where(s > 0, s * np.log(np.where(s > 0, s, 1) / a), 0) - s + a)


@pytest.mark.slow
def test_sinkhorn_scaling_is_as_near_as_its_entropy_allows():
    mu, nu = clouds()
    law, epsilon, tau = fm.KullbackLeibler(0.8), 0.1, 0.8 / 0.9
    a, b = np.exp(mu.log_w), np.exp(nu.log_w)
    cost = np.sum((np.asarray(mu.x)[:, None] - np.asarray(nu.x)) ** 2, -1)

    def primal(plan):
        return np.vdot(cost, plan) + 0.8 * (divergence(plan.sum(1), a) + divergence(plan.sum(0), b))

    exact = np.asarray(fm.unbalanced_transport(mu, nu, law, law).plan)
    plan = np.asarray(fm.entropic_coupling(mu, nu, epsilon, tau_mu=tau, tau_nu=tau))
    # Each plan is the best of its own problem.
    room = epsilon * (divergence(exact, np.outer(a, b)) - divergence(plan, np.outer(a, b)))
    assert 0 < primal(plan) - primal(exact) < room


def test_a_semi_unbalanced_step_is_a_jko_step_of_the_entropy():
    grid, tau = fm.GridDensity(jnp.ones(50), -4.0, 4.0), 0.2
    x = grid.centres()[:, 0]
    start = jnp.exp(-(x**2) / (2 * 0.6))
    mu = fm.GridDensity(start / (start.sum() * grid.cell), -4.0, 4.0)
    step = fm.unbalanced_transport(mu, grid, None, fm.KullbackLeibler(2 * tau))
    mass = step.plan.sum(0)
    np.testing.assert_allclose(mass.sum(), 1, rtol=1e-12)
    # N(0, s²) goes to N(0, r²) with r = s + τ/r; mass moves by whole cells.
    exact = ((0.6**0.5 + (0.6 + 4 * tau) ** 0.5) / 2) ** 2
    np.testing.assert_allclose(mass @ x**2, exact, atol=float(grid.cell) ** 2)


@pytest.mark.slow
def test_a_semi_unbalanced_step_in_the_plane():
    """A product of Gaussians stays one, and each axis takes the step of the line."""
    grid, tau = fm.GridDensity(jnp.ones((24, 24)), [-6.0, -6.5], [6.0, 6.5]), 1.2
    x, s = grid.centres().reshape(-1, 2), np.array([0.5, 0.8])
    start = jnp.exp(-jnp.sum(x**2 / (2 * s), 1))
    mu = fm.GridDensity((start / (start.sum() * grid.cell)).reshape(24, 24), grid.lower, grid.upper)
    mass = fm.unbalanced_transport(mu, grid, None, fm.KullbackLeibler(2 * tau)).plan.sum(0)
    np.testing.assert_allclose(mass.sum(), 1, rtol=1e-12)
    exact = ((s**0.5 + (s + 4 * tau) ** 0.5) / 2) ** 2
    # Mass moves by whole cells; the heat equation's variances are farther off than one squared.
    slack, found = (np.array([12, 13]) / 24) ** 2, mass @ x**2
    assert np.all(np.abs(found - exact) < slack) and np.all(np.abs(found - s - 2 * tau) > slack)
    np.testing.assert_allclose(mass @ (x[:, 0] * x[:, 1]), 0, atol=1e-9)


def test_single_precision():
    mu, nu = clouds()
    law = fm.KullbackLeibler(0.6)
    single = [fm.Particles(m.x.astype("float32"), m.log_w.astype("float32")) for m in (mu, nu)]
    found = fm.unbalanced_transport(*single, law, None)
    exact = fm.unbalanced_transport(mu, nu, law, None)
    assert found.plan.dtype == jnp.float32
    np.testing.assert_allclose(found.plan, exact.plan, atol=3e-4)


def test_two_hard_marginals_are_refused():
    with pytest.raises(ValueError, match="`coupling`"):
        fm.unbalanced_transport(*clouds(), None, None)


@pytest.mark.parametrize("name", LAWS)
def test_the_host_solves_what_compiled_code_does(name, monkeypatch):
    """Column generation on the host beside the interior point of all pairs, in jit."""
    one, two = LAWS[name]
    x, y = jr.normal(jr.key(2), (15, 2)), jr.normal(jr.key(3), (12, 2)) + 0.5
    a = jr.uniform(jr.key(4), (15,)).at[3].set(0.0)
    b = jr.uniform(jr.key(5), (12,)).at[7].set(0.0)

    def found(x):
        return fm.unbalanced_transport(
            fm.Particles(x, weights=a), fm.Particles(y, weights=b), one, two
        )

    known, slope = jax.jit(lambda x: (found(x), jax.grad(lambda x: found(x).value)(x)))(x)
    monkeypatch.setattr("flowjax_measures.transport._unbalanced.LARGEST", 0)
    for dense in (300**2, 20):
        monkeypatch.setattr("flowjax_measures.transport._sparse_relaxed._DENSE", dense)
        monkeypatch.setattr("flowjax_measures.transport._sparse_relaxed._NEAR", 3)
        ours = found(x)
        np.testing.assert_allclose(ours.value, known.value, rtol=1e-9)
        np.testing.assert_allclose(ours.plan, known.plan, atol=1e-6)
        np.testing.assert_allclose(ours.f + ours.g[0], known.f + known.g[0], atol=1e-5)
    np.testing.assert_allclose(jax.grad(lambda x: found(x).value)(x), slope, atol=1e-5)
    assert jnp.isnan(found(x.at[0, 0].set(jnp.nan)).value)


@pytest.mark.slow
def test_thousands_of_atoms():
    """Between bounds that the plan and potentials that are feasible give."""
    n, law = 3000, fm.KullbackLeibler(0.5)
    x, y = jr.normal(jr.key(0), (n, 2)), 0.7 * jr.normal(jr.key(1), (n, 2)) + 0.5
    a, b = jr.uniform(jr.key(2), (2, n)) / n
    value, plan, f, g = fm.unbalanced_transport(
        fm.Particles(x, weights=a), fm.Particles(y, weights=b), law, law
    )
    cost = jnp.sum((x[:, None] - y) ** 2, -1)
    assert jnp.min(cost - f[:, None] - g) > -1e-9
    kl = lambda s, a: 0.5 * jnp.sum(s * jnp.log(s / a) - s + a)  # noqa: E731
    high = jnp.vdot(cost, plan) + kl(plan.sum(1), a) + kl(plan.sum(0), b)
    np.testing.assert_allclose(value, high, rtol=1e-8)


@pytest.mark.parametrize(
    ("spread", "mass", "one", "two"),
    [
        (0.1, 2.0, fm.SquaredError(10.0), None),
        (3.0, 0.3, None, fm.KullbackLeibler(0.01)),
    ],
)
def test_steep_prices_beside_a_hard_marginal(spread, mass, one, two):
    """On the host, where plans and potentials have far to go: between its bounds."""
    rng = np.random.default_rng(1)
    x, y = spread * rng.normal(size=(210, 2)), rng.normal(size=(190, 2)) + 0.5
    a, b = rng.dirichlet(np.ones(210)), mass * rng.dirichlet(np.ones(190))
    mu, nu = (fm.Particles(jnp.asarray(z), weights=jnp.asarray(w)) for z, w in ((x, a), (y, b)))
    value, plan, f, g = map(np.asarray, fm.unbalanced_transport(mu, nu, one, two))
    cost = np.sum((x[:, None] - y) ** 2, -1)
    assert np.min(cost - f[:, None] - g) > -1e-8
    if one is None:
        sums, strength = plan.sum(0), 0.01
        high = strength * np.sum(xlogy(sums, sums / b) - sums + b)
        np.testing.assert_allclose(plan.sum(1), a, atol=1e-8)
    else:
        high = 5.0 * np.sum((plan.sum(1) - a) ** 2)
        np.testing.assert_allclose(plan.sum(0), b, atol=1e-8)
    np.testing.assert_allclose(value, np.vdot(cost, plan) + high, rtol=1e-6)


def test_few_steps_of_the_interior_point_suffice(monkeypatch):
    """Where marginals hardly give and where most atoms are given up: 15 and 35 of 1000."""
    x, y = (jr.normal(key, (n, 2)) for key, n in zip(jr.split(jr.key(1)), (12, 9), strict=True))
    a, b = jr.uniform(jr.key(2), (12,)), jr.uniform(jr.key(3), (9,))
    mu, nu = fm.Particles(x, weights=a), fm.Particles(y + 1, weights=b)
    monkeypatch.setattr("flowjax_measures.transport._interior_point._MAX_STEPS", 50)

    @jax.jit
    def solve(strength):
        law = fm.KullbackLeibler(strength)
        return fm.unbalanced_transport(mu, nu, law, law)

    cost = jnp.sum((x[:, None] - y - 1) ** 2, -1)
    for strength in (30.0, 0.01):
        found = solve(strength)
        assert np.isfinite(found.value)
        ends = ((jnp.sum(found.plan, 1), a), (jnp.sum(found.plan, 0), b))
        paid = sum(jnp.sum(jax.scipy.special.kl_div(end, total)) for end, total in ends)
        np.testing.assert_allclose(found.value, jnp.vdot(cost, found.plan) + strength * paid)
        least = sum(
            strength * jnp.vdot(total, -jnp.expm1(-f / strength))
            for f, total in ((found.f, a), (found.g, b))
        )
        np.testing.assert_allclose(found.value, least)
