"""Dynamic transport on grids: a dense solve of a tiny one, ways around walls, bounds, games."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import flowjax_measures as fm

START = np.array([1.6, 0.9, 0.3, 0.2, 2.0])
END = np.array([0.3, 0.5, 0.2, 2.2, 1.8])


def line(rho, side=1.0):
    return fm.GridDensity(jnp.asarray(rho), 0.0, side)


def bump(n, mean, width):
    x = (np.arange(n) + 0.5) / n
    rho = np.exp(-(((x - mean) / width) ** 2) / 2)
    return line(rho / rho.mean())


def dense(running, mobility=lambda r: r, end=None, bound=np.inf, diffusion=0.0, steps=4):
    """The least cost of the same discrete problem, by quadratic programs over the fluxes."""
    n, h = START.size, 1 / steps
    up = np.diff(np.eye(n), axis=0)
    heat = -diffusion * h / 2 * n**2 * up.T @ up
    march = np.linalg.inv(np.eye(n) - heat)

    def path(z):
        rho = [START]
        for m in z.reshape(steps, n - 1):
            rho.append(march @ ((np.eye(n) + heat) @ rho[-1] + h * n * up.T @ m))
        return np.array(rho)

    def cost(z):
        rho = path(z)
        theta = mobility(np.maximum(rho, 1e-12))
        theta = (theta[1:] + theta[:-1]) / 2
        paid = np.sum(z.reshape(steps, -1) ** 2 / (theta[:, 1:] + theta[:, :-1]))
        return (h * paid + running(rho)) / n

    held = [dict(type="ineq", fun=lambda z: path(z)[1:].ravel() - 1e-9)]
    held.append(dict(type="ineq", fun=lambda z: min(bound, 99.0) - path(z)[1:].ravel()))
    if end is not None:
        held.append(dict(type="eq", fun=lambda z: path(z)[-1, 1:] - end[1:]))
    goal = START if end is None else end
    begin = np.tile(-np.cumsum((goal - START) / n)[:-1], steps)
    return minimize(cost, begin, constraints=held, options=dict(maxiter=500, ftol=1e-14)).fun


def test_a_nonlinear_mobility_against_a_dense_solve():
    found = fm.benamou_brenier(line(START), line(END), steps=4, mobility=0.5)
    expected = dense(lambda rho: 0.0, np.sqrt, END)
    np.testing.assert_allclose(found.cost, 2 * expected, rtol=1e-6)
    assert 0 <= found.gap < 1e-8 * found.cost and found.converged


def test_a_game_against_a_dense_solve():
    """A potential, congestion, a bound that holds, diffusion, and a free end with its own cost."""
    x = (np.arange(5) + 0.5) / 5
    share = np.array([0.5, 1, 1, 1, 0.5])[:, None] / 4

    def running(rho):
        return np.sum(share * (20 * (x - 0.5) ** 2 * rho + 0.1 * rho**2)) + rho[-1] @ np.sin(3 * x)

    found = fm.mean_field_game(
        line(START), lambda x: 20 * (x[0] - 0.5) ** 2, lambda x: jnp.sin(3 * x[0]), steps=4,
        congestion=lambda r: 0.1 * r**2, bound=2.05, diffusion=0.02,
    )  # fmt: skip
    np.testing.assert_allclose(found.value, dense(running, bound=2.05, diffusion=0.02), rtol=1e-5)
    np.testing.assert_allclose(found.path.max(), 2.05, rtol=1e-6)
    assert 0 <= found.gap < 1e-8 * found.value


@pytest.mark.slow
def test_a_bound_that_nothing_meets_changes_nothing():
    free, loose = (fm.benamou_brenier(line(START), line(END), steps=4, bound=b) for b in (None, 99))
    np.testing.assert_allclose(loose.cost, free.cost, rtol=1e-8)


def test_smooth_densities_have_w2_at_second_order():
    errors = []
    for n, steps in ((12, 6), (24, 12)):
        mu, nu = bump(n, 0.35, 0.12), bump(n, 0.6, 0.15)
        found = fm.benamou_brenier(mu, nu, steps=steps)
        errors.append(abs(found.cost - fm.wasserstein(mu, nu) ** 2))
        assert found.path.min() >= 0
        np.testing.assert_allclose(jnp.mean(found.path, 1), 1, atol=1e-8)
        left = jnp.pad(found.flux[:, 0], ((0, 0), (1, 0)))[:, :-1]
        change = steps * jnp.diff(found.path, axis=0) + n * (found.flux[:, 0] - left)
        np.testing.assert_allclose(change, 0, atol=1e-7)
    assert errors[1] < 0.4 * errors[0] and errors[1] < 1e-3
    d = np.sin(3 * np.arange(n) / n)

    def moved(e):
        return fm.benamou_brenier(line(mu.rho * (1 + e * d)), nu, steps=12).cost

    difference = (moved(1e-3) - moved(-1e-3)) / 2e-3
    np.testing.assert_allclose(jax.grad(moved)(0.0), difference, rtol=1e-5)


def test_mass_goes_around_walls():
    """A corridor through the plane, one cell wide, is a line of its length."""
    ways = [(i, j) for i in (0, 2, 4) for j in (range(4) if i != 2 else range(3, -1, -1))]
    ways = [*ways[:4], (1, 3), *ways[4:8], (3, 0), *ways[8:]]
    one, two = np.zeros(14), np.zeros(14)
    one[:3], two[-4:] = [1, 2, 1], [0.5, 1, 2, 0.5]
    closed = np.ones((5, 4), bool)
    closed[tuple(np.transpose(ways))] = False

    def plane(values):
        rho = np.zeros((5, 4))
        rho[tuple(np.transpose(ways))] = values
        return fm.GridDensity(jnp.asarray(rho), 0.0, jnp.array([5.0, 4.0]))

    around = fm.benamou_brenier(plane(one), plane(two), steps=8, obstacle=closed)
    along = fm.benamou_brenier(line(one, 14.0), line(two, 14.0), steps=8)
    np.testing.assert_allclose(around.cost, along.cost, rtol=1e-7)
    np.testing.assert_array_equal(around.path[:, closed], 0)
    with pytest.raises(ValueError, match="`mu` has"):
        fm.benamou_brenier(plane(one), plane(two), obstacle=~closed)
    closed[1, 3] = True
    with pytest.raises(ValueError, match="`obstacle` cuts"):
        fm.benamou_brenier(plane(one), plane(two), obstacle=closed)


@pytest.mark.parametrize("epsilon", [pytest.param(0.0, marks=pytest.mark.slow), 0.05])
def test_linear_quadratic_game(epsilon):
    """V = ½ k x², g = ½ p x²: u = ½ P x² + ε ∫ P with P′ = P² − k, whatever the density."""
    k, p, n, side = 2.0, 0.5, 48, 6.0
    root = np.sqrt(k)
    rate = lambda t: root * np.tanh(root * (1 - t) + np.arctanh(p / root))  # noqa: E731
    x = ((np.arange(n) + 0.5) / n - 0.5) * side
    rho = np.exp(-((x - 0.6) ** 2) / (2 * 0.3))
    mu = fm.GridDensity(jnp.asarray(rho / rho.sum() * n / side), -side / 2, side / 2)
    found = fm.mean_field_game(
        mu, lambda x: k * x[0] ** 2 / 2, lambda x: p * x[0] ** 2 / 2, diffusion=epsilon, steps=16
    )
    grown = np.log(np.cosh(root + np.arctanh(p / root)) / np.cosh(np.arctanh(p / root)))
    exact = rate(0) * (0.36 + 0.3) / 2 + epsilon * grown
    np.testing.assert_allclose(found.value, exact, rtol=5e-3)
    inner = found.path[8] > 0.05
    slope = np.polyfit(x[inner], np.asarray(found.value_function[8][inner]), 2)[0]
    np.testing.assert_allclose(2 * slope, rate(8.5 / 16), rtol=0.02)


def test_wrong_arguments_are_named():
    mu, nu = line(START), line(END)
    for name, call in {
        "different grids": lambda: fm.benamou_brenier(mu, line(END, 2.0)),
        "masses": lambda: fm.benamou_brenier(mu, line(2 * END)),
        "`steps`": lambda: fm.benamou_brenier(mu, nu, steps=1),
        "`bound`": lambda: fm.benamou_brenier(mu, nu, bound=2.1),
        "`mobility`": lambda: fm.benamou_brenier(mu, nu, mobility=2.0),
        "`obstacle`": lambda: fm.benamou_brenier(mu, nu, obstacle=np.zeros(3, bool)),
        "`terminal`": lambda: fm.mean_field_game(mu, None, lambda x: x[0], nu=nu),
        "`diffusion`": lambda: fm.mean_field_game(mu, diffusion=-1.0),
        "`diffusion` is inf": lambda: fm.mean_field_game(mu, diffusion=np.inf),
    }.items():
        with pytest.raises(ValueError, match=name):
            call()
    with pytest.raises(RuntimeError, match="`iterations`"):
        fm.benamou_brenier(mu, nu, steps=4, iterations=3, mobility=0.5)


def raw(rho):
    """A density that was made where nothing looks at its numbers."""
    return eqx.tree_at(lambda m: m.rho, line(START), jnp.asarray(rho))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("`mobility` is not concave", dict(mobility=lambda r: r**2)),
        ("`mobility` is not concave", dict(mobility=lambda r: r**2 / (r**2 + 1))),
        ("`mobility` is nan", dict(mobility=lambda r: r * jnp.nan)),
        ("`mobility` is -", dict(mobility=lambda r: r * (1 - r))),
        ("`mobility` gives", dict(mobility=lambda r: r * jnp.ones(2))),
        ("`congestion` is not convex", dict(congestion=lambda r: -(r**2))),
        ("`congestion` is not convex", dict(congestion=lambda r: jnp.sqrt(r + 0.1))),
        ("`congestion` is -inf", dict(congestion=jnp.log)),
        ("`potential` is not finite", dict(potential=lambda x: jnp.log(x[0] - 0.5))),
        ("`potential` gives", dict(potential=lambda x: x)),
        ("`terminal` is not finite", dict(terminal=lambda x: jnp.where(x[0] > 0.5, jnp.inf, 0.0))),
    ],
)
def test_functions_that_leave_no_convex_problem_are_named(name, arguments):
    with pytest.raises(ValueError, match=name):
        fm.mean_field_game(line(START), steps=4, **arguments)


def test_an_infinite_potential_inside_of_an_obstacle_is_never_seen():
    wall = np.arange(5) == 3
    mu = line(np.where(wall, 0, START))
    found = fm.mean_field_game(
        mu, lambda x: jnp.where(jnp.abs(x[0] - 0.7) < 0.1, jnp.inf, x[0]), obstacle=wall, steps=2
    )
    assert np.isfinite(found.value)


@pytest.mark.parametrize("rho", [START - 0.5, START * np.nan, START * np.inf, 0 * START])
def test_what_is_no_density_is_named(rho):
    with pytest.raises(ValueError, match="`mu`"):
        fm.benamou_brenier(raw(rho), line(END), steps=4)
    with pytest.raises(ValueError, match="`nu`"):
        fm.benamou_brenier(line(END), raw(rho), steps=4)


def test_obstacles_between_the_masses_are_named():
    wall = np.arange(5) == 2
    left, right = (line(rho) for rho in ([2.0, 3, 0, 0, 0], [0.0, 0, 0, 1, 4]))
    for call in (fm.benamou_brenier, lambda mu, nu, **kw: fm.mean_field_game(mu, nu=nu, **kw)):
        with pytest.raises(ValueError, match="`obstacle` cuts the grid"):
            call(left, right, obstacle=wall, steps=4)


def test_another_measure_is_named_without_an_example_of_its_kind():
    cloud = fm.Particles(np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"`mu` is a Particles; give a GridDensity\.$"):
        fm.benamou_brenier(cloud, line(END), steps=4)
    with pytest.raises(ValueError, match=r"give a Measure, such as Particles\(x\)\.$"):
        fm.wasserstein(3.0, cloud)
