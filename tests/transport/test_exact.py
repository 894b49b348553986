"""Exact transport: POT, shortest paths, the line, the circle, and spaces."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import ot
import pytest
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import norm

import flowjax_measures as fm
from flowjax_measures.transport._assignment import assignment
from flowjax_measures.transport._column_generation import sparse_exact
from flowjax_measures.transport._shortest_paths import shortest_paths


def problem(seed, n, m, zero=False):
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    if zero:
        a[1], b[2] = 0, 0
        a, b = a / a.sum(), b / b.sum()
    return rng.random((n, m)), a, b


def program(cost, a, b):
    """The optimal value by HiGHS."""
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    found = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.append(a, b))
    return found.fun


SOLVE, ASSIGN = jax.jit(shortest_paths), jax.jit(assignment)


@pytest.mark.parametrize("seed", range(4))
def test_shortest_paths_solve_the_linear_program(seed):
    cost, a, b = problem(seed, 9, 7, zero=seed % 2 == 1)
    plan, f, g = map(np.asarray, SOLVE(cost, a, b))
    value = program(cost, a, b)
    np.testing.assert_allclose(np.vdot(plan, cost), value, rtol=1e-12)
    np.testing.assert_allclose(f @ a + g @ b, value, rtol=1e-12)
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-15)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-15)
    assert plan.min() >= 0 and (cost - f[:, None] - g).min() > -1e-14


def test_compiled_and_host_agree_with_their_derivatives():
    x, y = jr.normal(jr.key(0), (9, 2)), jr.normal(jr.key(1), (7, 2)) + 0.5
    log_w = jax.nn.log_softmax(jr.normal(jr.key(2), (9,)))

    def distance(x, log_w):
        mu = fm.Particles(x, jax.nn.log_softmax(log_w))
        return fm.wasserstein(mu, fm.Particles(y), 1)

    eager = jax.value_and_grad(distance, (0, 1))(x, log_w)
    jitted = jax.jit(jax.value_and_grad(distance, (0, 1)))(x, log_w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), eager, jitted)
    many = jax.vmap(lambda x: distance(x, log_w))(jnp.stack([x, x + 1]))
    expected = [eager[0], distance(x + 1, log_w)]
    np.testing.assert_allclose(many, expected, rtol=1e-12)


def test_derivatives_in_the_points_and_masses_of_both():
    """Also of the second measure, against differences; the masses as logarithms that add to 1."""
    x, y = jr.normal(jr.key(3), (5, 2)), jr.normal(jr.key(4), (4, 2)) + 0.3
    u, v = jr.normal(jr.key(5), (5,)), jr.normal(jr.key(6), (4,))

    def distance(x, u, y, v):
        mu = fm.Particles(x, jax.nn.log_softmax(u))
        return fm.wasserstein(mu, fm.Particles(y, jax.nn.log_softmax(v)))

    at, h = (x, u, y, v), 1e-6
    slopes = jax.grad(distance, (0, 1, 2, 3))(*at)
    for i in range(4):
        along = jr.normal(jr.key(7 + i), at[i].shape)
        ends = [distance(*at[:i], at[i] + s * along, *at[i + 1 :]) for s in (h, -h)]
        np.testing.assert_allclose(
            jnp.vdot(slopes[i], along), (ends[0] - ends[1]) / (2 * h), rtol=1e-6
        )


def test_one_thread_is_enough():
    """A callback from a compiled program would wait for ever here."""
    script = """
import jax, jax.numpy as jnp, jax.random as jr, flowjax_measures as fm
@jax.jit
def pair(k):
    x, y = jr.normal(k, (16, 2)), jr.normal(jr.fold_in(k, 1), (16, 2)) + 1
    plan = fm.minibatch_coupling(k, fm.Particles(x), fm.Particles(y), 16)
    return x, y[jnp.argmax(plan, 1)]
use, p = jax.jit(lambda p, x, y: p + jnp.mean(x * y)), jnp.float32(0)
for k in range(30):
    p = use(p, *pair(jr.fold_in(jr.key(0), k)))
print(bool(jnp.isfinite(p)))
"""
    import os

    quiet = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**quiet, "NPROC": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.stdout.strip() == "True", found.stderr


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_circle_is_the_linear_program(p):
    _, a, b = problem(5, 7, 5, zero=True)
    x, y = jr.uniform(jr.key(0), (7, 1)), jr.uniform(jr.key(1), (5, 1))
    space = fm.Torus(1.0)
    mu, nu = fm.Particles(x, weights=a, space=space), fm.Particles(y, weights=b, space=space)
    gap = np.abs(np.asarray(x) - np.asarray(y).T)
    cost = np.minimum(gap, 1 - gap) ** p
    np.testing.assert_allclose(fm.wasserstein(mu, nu, p) ** p, program(cost, a, b), rtol=1e-11)


def test_spaces_measure():
    torus, sphere = fm.Torus(1.0), fm.Sphere()
    one, two = (fm.Particles(jnp.array([[v, 0.5]]), space=torus) for v in (0.02, 0.98))
    np.testing.assert_allclose(fm.wasserstein(one, two), 0.04, rtol=1e-12)
    np.testing.assert_allclose(fm.sinkhorn_divergence(one, two, 0.1), 0.04**2, rtol=1e-9)
    np.testing.assert_allclose(fm.energy_distance(one, two), 0.08, rtol=1e-12)
    middle = fm.mccann(one, two, 0.5)
    np.testing.assert_allclose(torus.distance(middle.x[0], jnp.array([0.0, 0.5])), 0, atol=1e-12)
    assert isinstance(middle.space, fm.Torus)
    a, b = (fm.Particles(jr.normal(jr.key(k), (5, 3)), space=sphere).retract() for k in (0, 1))
    path, whole = fm.mccann(a, b, 0.3), fm.wasserstein(a, b)
    np.testing.assert_allclose(fm.wasserstein(a, path), 0.3 * whole, rtol=1e-9)
    np.testing.assert_allclose(jnp.linalg.norm(path.x, axis=1), 1, rtol=1e-12)
    x, y = a.x[0], a.x[0] + 1e-3 * a.x[1]
    y = y / jnp.linalg.norm(y)
    np.testing.assert_allclose(sphere.squared_distance(x, y), sphere.distance(x, y) ** 2, rtol=1e-9)
    np.testing.assert_allclose(
        sphere.exponential(x, sphere.logarithm(x, b.x[0])), b.x[0], atol=1e-14
    )
    bumps = [
        fm.GridDensity(jnp.exp(-((jnp.arange(40.0) - c) ** 2) / 8), 0.0, 1.0, True) for c in (2, 38)
    ]
    bumps = [fm.GridDensity(g.rho / g.mass(), 0.0, 1.0, True) for g in bumps]
    assert fm.wasserstein(*bumps) < 0.15


def test_spaces_and_dimensions_must_agree():
    flat, torus = fm.Particles(jnp.ones((2, 2))), fm.Particles(jnp.ones((2, 2)), space=fm.Torus())
    other = fm.Particles(jnp.ones((2, 3)))
    for distance in (
        fm.wasserstein,
        fm.coupling,
        fm.energy_distance,
        fm.sliced_wasserstein,
        lambda m, n: fm.sinkhorn_divergence(m, n, 0.1),
        lambda m, n: fm.entropic_coupling(m, n, 0.1),
        lambda m, n: fm.mmd(m, n, fm.GaussianKernel()),
        lambda m, n: fm.mccann(m, n, 0.5),
        fm.hellinger_kantorovich,
        fm.unbalanced_transport,
    ):
        for nu in (torus, other):
            with pytest.raises(ValueError, match=r"`mu`.*`nu`"):
                distance(flat, nu)
    with pytest.raises(ValueError, match=r"knows flat space only"):
        fm.SlicedWasserstein(torus)(torus)
    with pytest.raises(ValueError, match="`kernel`"):
        fm.mmd(torus, torus, fm.GaussianKernel())


def test_cells_and_normals_on_the_line():
    grid = fm.GridDensity(jnp.ones(4) / 2.0, 0.0, 2.0)
    # Uniform on [0, 2] to uniform on [1, 3], and to a point.
    moved = fm.GridDensity(jnp.ones(8) / 2.0, 1.0, 3.0)
    np.testing.assert_allclose(fm.wasserstein(grid, moved, 3), 1, rtol=1e-12)
    point = fm.Particles(jnp.array([[0.5]]))
    for p in (1, 2, 2.5):
        exact = quad(lambda u, p=p: abs(2 * u - 0.5) ** p, 0, 1, points=[0.25])[0]
        np.testing.assert_allclose(fm.wasserstein(grid, point, p) ** p, exact, rtol=1e-10)
    normal = fm.Gaussian(jnp.array([0.3]), jnp.array([[1.7]]))
    quantile = lambda u: 0.3 + np.sqrt(1.7) * norm.ppf(u)  # noqa: E731
    exact = quad(lambda u: (2 * u - quantile(u)) ** 2, 0, 1, epsabs=1e-12)[0]
    np.testing.assert_allclose(fm.wasserstein(grid, normal) ** 2, exact, rtol=1e-8)
    atoms = fm.Particles(jnp.array([[1.0], [-1.0], [9.0]]), weights=jnp.array([0.3, 0.7, 0.0]))
    exact = quad(lambda u: ((1 if u > 0.7 else -1) - quantile(u)) ** 2, 0, 1, points=[0.7])[0]
    np.testing.assert_allclose(fm.wasserstein(normal, atoms) ** 2, exact, rtol=1e-8)


def test_costs_are_given():
    mu, nu = fm.Particles(jr.normal(jr.key(0), (5, 2))), fm.Particles(jr.normal(jr.key(1), (5, 2)))
    city = lambda x, y: jnp.sum(jnp.abs(x - y))  # noqa: E731
    matrix = np.abs(np.asarray(mu.x)[:, None] - np.asarray(nu.x)).sum(-1)
    exact = program(matrix, np.full(5, 0.2), np.full(5, 0.2))
    np.testing.assert_allclose(fm.wasserstein(mu, nu, 1, cost=city), exact, rtol=1e-12)
    plan = fm.coupling(mu, nu, cost=jnp.asarray(matrix))
    np.testing.assert_allclose(jnp.vdot(plan, matrix), exact, rtol=1e-12)
    with pytest.raises(ValueError, match="`cost`"):
        fm.coupling(mu, nu, cost=jnp.ones((4, 5)))


def test_singular_gaussians_have_geodesics():
    a = fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.array([1.0, 0.0])))
    b = fm.Gaussian(jnp.ones(2), jnp.array([[1.0, 0.5], [0.5, 2.0]]))
    point = fm.Gaussian(jnp.ones(2), jnp.zeros((2, 2)))
    for mu, nu in ((a, b), (b, a), (point, b), (a, point)):
        middle, whole = fm.mccann(mu, nu, 0.25), fm.wasserstein(mu, nu)
        np.testing.assert_allclose(fm.wasserstein(mu, middle), 0.25 * whole, rtol=1e-6)
        np.testing.assert_allclose(fm.wasserstein(middle, nu), 0.75 * whole, rtol=1e-6)
    with pytest.raises(ValueError, match="`mu` is singular"):
        fm.bures_map(a, b)


@pytest.mark.parametrize("case", ["cloud", "grid", "zeros", "dummies"])
def test_few_of_the_pairs_at_a_time_are_enough(case):
    """The optimal value of POT on all pairs, and potentials that are feasible for all of them."""
    rng = np.random.default_rng(3)
    n, m = 350, 330
    a, b = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    cost = ot.dist(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + 1)
    if case == "grid":  # Many costs are equal.
        cells = np.indices((19, 19)).reshape(2, -1).T / 19.0
        cost, a = ot.dist(cells, cells, "cityblock"), np.full(361, 1 / 361)
        b = np.exp(-np.sum((cells - 0.3) ** 2, axis=1) / 0.05)
        b /= b.sum()
    if case == "zeros":
        a[::3], b[5:50] = 0, 0
        a, b = 2 * a / a.sum(), 2 * b / b.sum()
    if case == "dummies":
        cost = np.pad(cost, (0, 1), constant_values=0.5)
        cost[-1, -1] = 0
        a, b = np.append(a, 1.0), np.append(b, 1.0)
    value = a.sum() * ot.emd2(a / a.sum(), b / b.sum(), cost, numItermax=10**7)
    found = sparse_exact(lambda k: cost[k], a, b)
    np.testing.assert_allclose(found.mass @ cost[found.i, found.j], value, rtol=1e-10)
    np.testing.assert_allclose(found.f @ a + found.g @ b, value, rtol=1e-9)
    assert np.min(cost - found.f[:, None] - found.g) > -1e-11 * np.max(cost)
    np.testing.assert_allclose(np.bincount(found.i, found.mass, len(a)), a, atol=1e-14)
    np.testing.assert_allclose(np.bincount(found.j, found.mass, len(b)), b, atol=1e-14)


def test_without_a_table_of_costs(monkeypatch):
    """The same values, derivatives and plans, on the sphere and with another cost."""
    monkeypatch.setattr(fm.transport._large, "_LARGEST", 0)
    mu, nu = (
        fm.Particles(jr.normal(jr.key(k), (n, 3)), weights=w, space=fm.Sphere()).retract()
        for k, n, w in ((0, 6, None), (1, 5, jnp.array([0.1, 0.2, 0.3, 0.4, 0.0])))
    )

    def distance(x, log_w, cost):
        return fm.wasserstein(fm.Particles(x, log_w, fm.Sphere()), nu, 1.5, cost=cost)

    for cost in (None, lambda p, q: jnp.sum(jnp.abs(p - q))):
        slopes = jax.value_and_grad(distance, (0, 1))
        large = slopes(mu.x, jnp.full(6, -jnp.log(6.0)), cost)
        plan = fm.coupling(mu, nu, 1.5, cost=cost)
        with monkeypatch.context() as patch:
            patch.setattr(fm.transport._large, "_LARGEST", 2**24)
            small = slopes(mu.x, jnp.full(6, -jnp.log(6.0)), cost)
            np.testing.assert_allclose(plan, fm.coupling(mu, nu, 1.5, cost=cost), atol=1e-14)
        np.testing.assert_allclose(large[0], small[0], rtol=1e-12)
        np.testing.assert_allclose(large[1][0], small[1][0], atol=1e-12)
        # Masses of one sum: potentials have a constant that is free.
        gap = large[1][1] - small[1][1]
        np.testing.assert_allclose(gap, jnp.mean(gap), atol=1e-12)
    broken = fm.Particles(mu.x.at[0, 0].set(jnp.nan), space=fm.Sphere())
    assert jnp.isnan(fm.wasserstein(broken, nu)) and jnp.all(jnp.isnan(fm.coupling(broken, nu)))
    with pytest.raises(ValueError, match="`cost` holds inf"):
        fm.wasserstein(mu, nu, cost=lambda p, q: jnp.inf * jnp.abs(jnp.vdot(p, q)))


@pytest.mark.parametrize("case", ["cloud", "equal", "integers"])
def test_assignments_are_scipys(case):
    rng = np.random.default_rng(7)
    cost = {
        "cloud": ot.dist(rng.normal(size=(40, 3)), rng.normal(size=(40, 3))),
        "equal": np.ones((40, 40)),
        "integers": rng.integers(0, 4, (40, 40)).astype(float),
    }[case]
    plan, f, g = map(np.asarray, ASSIGN(cost))
    rows, columns = linear_sum_assignment(cost)
    value = cost[rows, columns].mean()
    np.testing.assert_allclose(np.vdot(plan, cost), value, rtol=1e-13)
    np.testing.assert_allclose(np.mean(f) + np.mean(g), value, rtol=1e-12)
    assert np.min(cost - f[:, None] - g) > -1e-13
    assert np.all(np.sum(plan > 0, 0) == 1) and np.all(np.sum(plan > 0, 1) == 1)
    assert all(np.all(np.isnan(v)) for v in ASSIGN(np.where(cost == cost[3, 4], np.nan, cost)))


def test_compiled_matchings_are_those_of_the_host():
    """Also in batches under `vmap`, with the derivatives of the distance."""
    x, y = jr.normal(jr.key(0), (12, 2)), jr.normal(jr.key(1), (12, 2)) + 1
    couple = lambda x: fm.minibatch_coupling(jr.key(2), fm.Particles(x), fm.Particles(y), 6)  # noqa: E731
    np.testing.assert_allclose(jax.jit(couple)(x), couple(x), rtol=1e-14)
    both = jax.value_and_grad(lambda x: fm.wasserstein(fm.Particles(x), fm.Particles(y)))
    many = jax.vmap(both)(jnp.stack([x, 2 * x]))
    for k in (0, 1):
        value, slope = both((1 + k) * x)
        np.testing.assert_allclose(many[0][k], value, rtol=1e-13)
        np.testing.assert_allclose(many[1][k], slope, atol=1e-13)


def test_a_differentiated_value_is_the_value():
    x, y = jr.normal(jr.key(0), (4, 2)), jr.normal(jr.key(1), (7, 2))
    square = lambda x: fm.wasserstein(fm.Particles(x), fm.Particles(y)) ** 2  # noqa: E731
    value, slope = jax.value_and_grad(square)(x)
    np.testing.assert_allclose(value, square(x), rtol=1e-12)
    h = 1e-5 * jnp.cos(jnp.arange(8.0)).reshape(4, 2)
    np.testing.assert_allclose(jnp.vdot(slope, h), (square(x + h) - square(x - h)) / 2, rtol=1e-6)
