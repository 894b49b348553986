"""Variational inference by flows of Gaussians, mixtures and products, against quadrature."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.linalg import solve_sylvester
from scipy.optimize import minimize
from scipy.stats import norm

import flowjax_measures as fm

LINE = np.linspace(-9.0, 9.0, 1801)
WIDTH = LINE[1] - LINE[0]


def skew(x):
    """A log-concave potential that is not even."""
    return jnp.sum(x**2 / 4 + jnp.logaddexp(0.0, 2 * x - 1))


def wells(x):
    return jnp.sum((x**2 - 2) ** 2 / 3 + 0.2 * x)


def divergence(potential, weights, means, spreads):
    """KL less log Z of a mixture on the line, by the trapezoidal rule."""
    z = (LINE[:, None] - means) / spreads
    p = np.sum(weights * np.exp(-(z**2) / 2) / spreads, 1) / np.sqrt(2 * np.pi)
    values = np.asarray(jax.vmap(potential)(jnp.asarray(LINE)[:, None]))
    return np.sum(p * (np.log(np.maximum(p, 1e-300)) + values)) * WIDTH


@pytest.mark.slow
def test_gaussian_is_the_best_of_all():
    final = fm.simulate(
        fm.Langevin(skew), fm.Gaussian(jnp.array([1.0]), jnp.array([[0.3]])), [0.0, 40.0]
    ).final
    value = lambda z: divergence(skew, 1.0, z[:1], np.exp(z[1:]))  # noqa: E731
    best = minimize(value, np.zeros(2), method="BFGS", options={"gtol": 1e-9}).x
    np.testing.assert_allclose(final.m[0], best[0], atol=1e-6)
    np.testing.assert_allclose(np.sqrt(final.cov[0, 0]), np.exp(best[1]), atol=1e-6)


def mixture(means, spreads, log_w=None):
    points = jax.vmap(fm.Gaussian)(
        jnp.array(means)[:, None], jnp.array(spreads)[:, None, None] ** 2
    )
    return fm.Particles(points, log_w, space=fm.Bures())


@pytest.mark.slow
def test_one_component_is_the_closure():
    mu = fm.Gaussian(jnp.array([1.0, 0.5]), jnp.array([[0.5, 0.1], [0.1, 0.8]]))
    one = fm.Particles(jax.tree.map(lambda a: a[None], mu), space=fm.Bures())
    V = lambda x: jnp.sum(x**4) / 4 + x[0] * x[1]  # noqa: E731
    drift = fm.GradientFlow(fm.GaussianMixtureKL(V))(jnp.asarray(0.0), one).drift.x
    closure = fm.GradientFlow(fm.KL(V))(jnp.asarray(0.0), mu).drift
    np.testing.assert_allclose(drift.m[0], closure.m, atol=1e-10)
    np.testing.assert_allclose(drift.cov[0], closure.cov, atol=1e-10)


@pytest.mark.slow
def test_mixture_ends_at_the_best_of_two():
    start = mixture([1.0, -0.8], [0.5, 0.6])
    energy = fm.GaussianMixtureKL(wells)
    run = fm.simulate(fm.GradientFlow(energy), start, [0.0, 3.0, 20.0], dt=0.05, observe=energy)
    assert np.all(np.diff(run.ys) < 0)
    value = lambda z: divergence(wells, 0.5, z[:2], np.exp(z[2:]))  # noqa: E731
    best = minimize(value, [1.0, -0.8, -0.7, -0.5], method="BFGS", options={"gtol": 1e-8})
    g = run.final.x
    # The 40 nodes of a component's cubature are 4e-4 from the optimum, 100 would be 8e-6.
    np.testing.assert_allclose(g.m[:, 0], best.x[:2], atol=5e-4)
    np.testing.assert_allclose(np.sqrt(g.cov[:, 0, 0]), np.exp(best.x[2:]), atol=5e-4)
    np.testing.assert_allclose(run.ys[-1], best.fun, atol=5e-4)
    # Weights too, with growth.
    flow = fm.GradientFlow(energy, fm.WassersteinFisherRao(1.0, 1.0))
    final = fm.simulate(flow, start, [0.0, 20.0], dt=0.05).final

    def weighed(z):
        w = np.array([1, np.exp(z[4])]) / (1 + np.exp(z[4]))
        return divergence(wells, w, z[:2], np.exp(z[2:4]))

    best = minimize(weighed, [*best.x, 0.0], method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(final.log_w[1] - final.log_w[0], best.x[4], atol=2e-3)
    assert abs(best.x[4]) > 0.1


@pytest.mark.slow
def test_mixture_descends_in_the_metric():
    # dF along Σ̇ = S is the product of S with the gradient: that of Bures–Wasserstein space.
    mu = fm.Particles(
        jax.vmap(fm.Gaussian)(
            jnp.array([[1.0, 0.2], [-0.5, 0.3]]),
            jnp.stack([jnp.array([[0.5, 0.1], [0.1, 0.3]]), 0.4 * jnp.eye(2)]),
        ),
        space=fm.Bures(),
    )
    energy = fm.GaussianMixtureKL(lambda x: skew(x) + 0.3 * x[0] * x[1])
    x, bend = jax.tree.map(lambda a: a[0], mu.x), jnp.array([[0.3, -0.2], [-0.2, 0.5]])
    push = jnp.array([0.7, -0.4])
    v = energy.velocity(x, mu)

    def along(s):
        moved = fm.Gaussian(x.m + s * push, x.cov + s * bend)
        return energy.first_variation(moved, mu)

    half = solve_sylvester(np.asarray(x.cov), np.asarray(x.cov), np.asarray(bend))
    inner = jnp.vdot(push, v.m) + np.trace(half @ np.asarray(v.cov)) / 2
    np.testing.assert_allclose(-inner, (along(1e-5) - along(-1e-5)) / 2e-5, rtol=1e-7)


@pytest.mark.slow
def test_product_of_a_gaussian_target():
    stiffness = jnp.array([[2.0, 0.7], [0.7, 1.0]])
    flow = fm.IndependentProjection(fm.Quadratic(stiffness, jnp.array([0.4, -0.3])))
    mu = fm.Gaussian(jnp.array([1.0, 1.0]), jnp.diag(jnp.array([0.3, 2.0])))
    final = fm.simulate(flow, mu, [0.0, 30.0]).final
    np.testing.assert_allclose(final.m, [0.4, -0.3], atol=1e-7)
    np.testing.assert_allclose(final.cov, np.diag([0.5, 1.0]), atol=1e-7)


@pytest.mark.slow
def test_product_of_coordinate_ascent_is_at_rest():
    # At rest the velocity is ∇ log(μ_1 ⊗ μ_2), here of polynomials of degree 4.
    V = lambda x: jnp.sum(x**4) / 4 + x[0] ** 2 * x[1] / 2 - 0.5 * x[0] + x[1] ** 2 / 2  # noqa: E731
    grid = fm.GridDensity(jnp.ones((40, 40)), -4.0, 4.0)
    s = np.asarray(grid.centres()[0, :, 1])
    a, b = s[:, None], s
    table = (a**4 + b**4) / 4 + a**2 * b / 2 - 0.5 * a + b**2 / 2
    p = q = np.ones(40) / 40
    for _ in range(200):
        p = np.exp(-(table @ q))
        p /= p.sum()
        q = np.exp(-(p @ table))
        q /= q.sum()
    best = fm.GridDensity(jnp.asarray(np.outer(p, q)) / grid.cell, -4.0, 4.0)
    law = fm.IndependentProjection(V)
    points = jnp.asarray(np.stack([s[12:30], s[10:28]], 1))
    found = jax.vmap(lambda x: law.rates(jnp.asarray(0.0), x, best).velocity)(points)
    for i, law_of_one in enumerate((p, q)):
        log_density = np.polyfit(s, np.log(law_of_one), 4)
        exact = np.polyval(np.polyder(log_density), points[:, i])
        np.testing.assert_allclose(found[:, i], exact, atol=1e-8)


STIFF = jnp.array([[2.0, 0.7], [0.7, 1.0]])


def stepped(system, mu, h, steps, **kwargs):
    solver = fm.StochasticBures(jr.key(3), **kwargs)
    return fm.simulate(system, mu, [0.0, steps * h], dt=h, solver=solver).final


def test_stochastic_steps_are_exact_for_a_quadratic():
    """∇V of pairs is without noise: rest at the mean, and at (I − hA)Σ(I − hA) spread by h/β."""
    h, beta = 0.1, 2.0
    law = fm.Langevin(fm.Quadratic(STIFF, jnp.array([0.4, -0.3])), beta)
    final = stepped(law, fm.Gaussian(jnp.ones(2), 3 * jnp.eye(2)), h, 300)
    np.testing.assert_allclose(final.m, [0.4, -0.3], atol=1e-9)
    # (S(S + 4τ))^{1/2} = 2Σ − S − 2τ for S = (I − hA)Σ(I − hA), and Σ = A⁻¹/β solves it exactly.
    np.testing.assert_allclose(final.cov, np.linalg.inv(STIFF) / beta, atol=1e-9)


def test_stochastic_steps_of_products_and_of_batches():
    h, d = 0.02, 2
    law = fm.IndependentProjection(fm.Quadratic(STIFF, jnp.array([0.4, -0.3])))
    final = stepped(law, fm.Gaussian(jnp.zeros(2), jnp.eye(2)), h, 1500)
    np.testing.assert_allclose(final.cov, np.diag([0.5, 1.0]), atol=1e-9)
    rows = jr.normal(jr.key(5), (60, d))

    def estimate(x, key):
        batch = rows[jr.randint(key, (12,), 0, 60)]
        return 60 / 12 * jnp.sum((batch @ x - 1) ** 2) / 2

    whole = fm.KL(lambda x: jnp.sum((rows @ x - 1) ** 2) / 2)
    h = 5e-4
    start = fm.Gaussian(jnp.zeros(d), jnp.eye(d) / 40)
    run = fm.simulate(
        fm.GradientFlow(whole), start, h * np.arange(400, 2001, 50), dt=h,
        solver=fm.StochasticBures(jr.key(3), estimate=estimate), observe=lambda mu: (mu.m, mu.cov),
    )  # fmt: skip
    exact = np.linalg.solve(rows.T @ rows, rows.T @ np.ones(60))
    cov = np.linalg.inv(rows.T @ rows)
    # Batches of 12 leave a noise of some tenths of a deviation, which the time average takes out.
    assert np.all(np.abs(run.ys[0].mean(0) - exact) < 0.3 * np.sqrt(np.diag(cov)))
    np.testing.assert_allclose(run.ys[1].mean(0), cov, atol=0.15 * np.max(cov))


@pytest.mark.slow
def test_stochastic_steps_end_at_the_best_of_two():
    start = mixture([1.0, -0.8], [0.5, 0.6])
    flow = fm.GradientFlow(fm.GaussianMixtureKL(wells))
    final = stepped(flow, start, 0.01, 2000, pairs=200).x
    best = fm.simulate(flow, start, [0.0, 20.0], dt=0.05).final.x
    np.testing.assert_allclose(final.m, best.m, atol=0.02)
    np.testing.assert_allclose(final.cov, best.cov, atol=0.02)


COUPLED = lambda x: jnp.sum(x**4) / 4 + x[0] ** 2 * x[1] / 2 - 0.5 * x[0] + x[1] ** 2 / 2  # noqa: E731
KNOTS = (-0.5, 0.8)


def uneven():
    return fm.MonotoneMap(jnp.array([0.3, -0.2]), [[1.0, 0.5, 2.0], [0.3, 0.7, 0.9]], KNOTS)


def test_maps_move_by_the_gradient_in_the_distance_of_their_images():
    law, state = fm.PolyhedralMeanField(COUPLED, 256), uneven()
    slope, drift = eqx.filter_jit(
        lambda state: (jax.grad(law.value)(state), law(0.0, state).drift)
    )(state)
    # E φφᵀ by the trapezoidal rule between the kinks.
    parts = [np.linspace(a, b, 20_001) for a, b in ((-9, -0.5), (-0.5, 0), (0, 0.8), (0.8, 9))]
    moments = 0.0
    for z in parts:
        ramps = [np.minimum(z, -0.5) + 0.5, np.clip(z, -0.5, 0.8), np.maximum(z, 0.8) - 0.8]
        phi = np.stack([np.ones_like(z), *ramps])
        moments += np.trapezoid(phi[:, None] * phi * norm.pdf(z), z)
    rates = np.concatenate([drift.shift[:, None], drift.log_slopes * state.slopes], 1)
    exact = np.concatenate([slope.shift[:, None], slope.log_slopes / state.slopes], 1)
    np.testing.assert_allclose(-rates @ moments, exact, atol=1e-6)


def test_the_law_of_an_increasing_map():
    one = lambda i: fm.MonotoneMap(uneven().shift[i : i + 1], uneven().slopes[i : i + 1], KNOTS)  # noqa: E731
    for i in range(2):
        z = np.linspace(-6, 6, 13)
        x = jax.vmap(one(i))(jnp.asarray(z[:, None]))
        here = jax.vmap(one(i).log_density)(x)
        slopes = jax.vmap(jax.jacfwd(one(i)))(jnp.asarray(z[:, None]))[:, 0, 0]
        np.testing.assert_allclose(here, norm.logpdf(z) - np.log(slopes), rtol=1e-12)
    point = jnp.array([0.4, -0.9])
    both = sum(one(i).log_density(point[i : i + 1]) for i in range(2))
    np.testing.assert_allclose(uneven().log_density(point), both, rtol=1e-12)
    drawn = uneven().sample(jr.key(0), 50_000)
    assert jnp.max(jnp.abs(drawn.mean() - jnp.mean(jax.vmap(uneven())(drawn_normals()), 0))) < 0.03


def drawn_normals():
    return jr.normal(jr.key(5), (50_000, 2))


@pytest.mark.parametrize("pieces", [8, *(pytest.param(k, marks=pytest.mark.slow) for k in (4, 16))])
def test_the_best_increasing_map_is_the_best_product(pieces):
    # Coordinate ascent on a grid, and KL up to log Z of what it ends at.
    s = np.linspace(-4, 4, 801)
    a, b, h = s[:, None], s, s[1] - s[0]
    table = (a**4 + b**4) / 4 + a**2 * b / 2 - 0.5 * a + b**2 / 2
    p = q = np.ones(801) / 801 / h
    for _ in range(100):
        p = np.exp(-(table @ q) * h)
        p /= p.sum() * h
        q = np.exp(-(p @ table) * h)
        q /= q.sum() * h
    logs = lambda r: np.sum(r * np.log(np.maximum(r, 1e-300))) * h  # noqa: E731
    best = p @ table @ q * h**2 + logs(p) + logs(q)
    law = fm.PolyhedralMeanField(COUPLED)
    run = fm.simulate(law, fm.MonotoneMap.of_gaussian(jnp.zeros(2), 0.7, pieces), [0.0, 8.0])
    excess = float(law.value(run.final) - best)
    # It falls with the square of their number, here 0.31 to 0.36 / K².
    assert 0 < excess < 0.4 / pieces**2
    x = jax.vmap(run.final)(drawn_normals())
    for i, r in enumerate((p, q)):
        mean = np.sum(s * r) * h
        spread = np.sqrt(np.sum((s - mean) ** 2 * r) * h)
        # A map's distance is the root of its excess: these are off by O(1/K).
        np.testing.assert_allclose(jnp.mean(x[:, i]), mean, atol=0.01)
        np.testing.assert_allclose(jnp.std(x[:, i]), spread, rtol=0.2 / pieces)


def test_maps_that_do_not_increase_are_refused():
    with pytest.raises(ValueError, match="slopes"):
        fm.MonotoneMap(jnp.zeros(2), jnp.array([[1.0, -1.0], [1.0, 1.0]]), (0.0,))
    with pytest.raises(ValueError, match="slopes"):
        fm.MonotoneMap(jnp.zeros(2), jnp.ones((2, 2)), (0.0, 1.0))
    with pytest.raises(ValueError, match="knots"):
        fm.MonotoneMap(jnp.zeros(2), jnp.ones((2, 3)), (1.0, 0.0))
    refused = {
        "`shift`": lambda: fm.MonotoneMap([jnp.nan, 0.0], jnp.ones((2, 1)), ()),
        "`scale`": lambda: fm.MonotoneMap.of_gaussian(jnp.zeros(2), -1.0),
        "`mean`": lambda: fm.MonotoneMap.of_gaussian(0.0, 1.0),
        "`pieces`": lambda: fm.MonotoneMap.of_gaussian(jnp.zeros(2), 1.0, 0),
        # A point of one coordinate would be broadcast.
        "`z`": lambda: uneven()(jnp.ones(1)),
        "`x`": lambda: uneven().log_density(jnp.ones(1)),
        "`key`": lambda: uneven().sample(0, 5),
    }
    for name, call in refused.items():
        with pytest.raises(ValueError, match=name):
            call()
    # No step, however long, turns a map around.
    law = fm.PolyhedralMeanField(fm.Quadratic(50.0), 64)
    far = fm.simulate(law, uneven(), [0.0, 0.1], dt=0.1, solver=diffrax.Euler()).final
    assert np.all(far.slopes >= 0)
    with pytest.raises(ValueError, match="MonotoneMap"):
        fm.PolyhedralMeanField(COUPLED)(0.0, fm.Particles(jnp.zeros((3, 2))))
