"""Couplings, regression and the weak form, each against what is known exactly."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def lennard_jones(r):
    """φ(r) = Φ′(r)/r of Φ(r) = r⁻¹² − 2 r⁻⁶, held below r = 0.6."""
    r = jnp.maximum(r, 0.6)
    return 12 * (r**-8 - r**-14)


def opinions(r):
    """φ of opinion dynamics: strong between different, weak between far ones."""
    return jnp.where(r < 1 / np.sqrt(2), 1.0, jnp.where(r < 1, 0.1, 0.0))


class Powers(eqx.Module):
    """a r⁻⁸ + b r⁻¹⁴, held below r = 0.6."""

    a: float
    b: float

    def __call__(self, r):
        r = jnp.maximum(r, 0.6)
        return self.a * r**-8 + self.b * r**-14


class Steps(eqx.Module):
    """A function that is constant between edges."""

    edges: jax.Array
    values: jax.Array

    def __call__(self, r):
        return self.values[jnp.searchsorted(jax.lax.stop_gradient(self.edges), r)]


def observed(influence, n, runs, d, seed, times=4):
    """States of several runs, and their velocities."""
    law, states, velocities = fm.RadialInteraction(influence), [], []
    for k in range(runs):
        start = fm.Particles(1.5 * jr.normal(jr.key(seed + k), (n, d)))
        run = fm.simulate(law, start, np.linspace(0, 0.3, times), dt=0.02)
        states += [fm.Particles(x) for x in run.ys.x]
    velocities = [law(jnp.zeros(()), mu).drift.x for mu in states]
    return (np.arange(len(states)) * 1.0, states), velocities


@pytest.mark.slow
def test_lennard_jones_comes_back_exactly_in_its_basis():
    data, velocities = observed(lennard_jones, 7, 2, 2, 0)
    # Velocities in NumPy, and more than a hundred snapshots.
    (times, states), velocities = data, [np.asarray(v) for v in velocities]
    data, velocities = (np.arange(13 * len(times)) * 1.0, 13 * states), 13 * velocities
    found = fm.regress(fm.RadialInteraction(Powers(0.0, 0.0)), data, velocities)
    kernel = found.system.influence
    np.testing.assert_allclose([kernel.a, kernel.b], [12.0, -12.0], rtol=1e-9)
    assert found.residual < 1e-10 * found.scale and found.names == ["influence.a", "influence.b"]


def test_opinions_come_back_exactly_in_their_basis():
    """Ten opinions, jumps and all; a function of no pair at hand is not identified, and is 0."""
    data, velocities = observed(opinions, 10, 4, 1, 10)
    edges = jnp.array([0.4, 1 / np.sqrt(2), 1.0, 2.0, 50.0, 60.0])
    start = fm.RadialInteraction(Steps(edges, jnp.zeros(7)))
    found = fm.regress(start, data, velocities, where=lambda s: s.influence.values)
    expected = [1.0, 1.0, 0.1, 0.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(found.system.influence.values, expected, atol=1e-9)
    assert np.sum(found.singular_values < 1e-12) == 2


def test_finite_differences_and_a_ridge():
    """Of ẋ = −x they are known: −x sinh(h)/h inside, of second order also at the ends."""
    law, h = fm.McKeanVlasov(fm.Quadratic(0.5), beta=None), 0.1
    start, where = jr.normal(jr.key(0), (5, 2)), lambda s: s.potential.stiffness
    ts = h * np.arange(11)
    data = ts, [fm.Particles(start * np.exp(-t)) for t in ts]
    rates = np.full(11, np.sinh(h) / h)
    rates[0] = (3 - 4 * np.exp(-h) + np.exp(-2 * h)) / (2 * h)
    rates[-1] = -(3 - 4 * np.exp(h) + np.exp(2 * h)) / (2 * h)
    expected = np.average(rates, weights=np.exp(-2 * ts))
    found = fm.regress(law, data, where=where)
    np.testing.assert_allclose(found.system.potential.stiffness, expected, rtol=1e-12)
    shrunk = fm.regress(law, data, where=where, ridge=1.0)
    np.testing.assert_allclose(shrunk.system.potential.stiffness, expected / 2, rtol=1e-12)


def test_what_is_not_linear_is_refused():
    data, velocities = observed(opinions, 4, 1, 1, 0)
    with pytest.raises(ValueError, match="`where`"):
        fm.regress(fm.McKeanVlasov(kernel=fm.GaussianKernel(1.0), beta=None), data, velocities)
    with pytest.raises(ValueError, match="`velocities`"):
        fm.regress(fm.RadialInteraction(Powers(0.0, 0.0)), data, velocities[1:])


def scaled_gaussians(theta, step=0.1):
    """Snapshots of ẋ = −θx as quantiles of N(0, 1), so that optimal plans are the true ones."""
    x = jnp.asarray(np.sort(np.random.default_rng(0).standard_normal((60, 1)), 0))
    ts = step * np.arange(4)
    return ts, [fm.Particles(x * np.exp(-theta * t)) for t in ts]


def slope(couplings, at):
    """The rate that velocities tell: least squares of v = −θ x."""
    pairs = zip(
        couplings.snapshots[1:] if at == "end" else couplings.snapshots[:-1],
        couplings.velocities(at), strict=True,
    )  # fmt: skip
    dots = [(float(jnp.vdot(mu.x, v)), float(jnp.vdot(mu.x, mu.x))) for mu, v in pairs]
    return -sum(a for a, _ in dots) / sum(b for _, b in dots)


@pytest.mark.slow
def test_entropic_plans_bias_the_drift_and_debiasing_takes_it_away():
    ts, data = scaled_gaussians(1.0)
    exact = fm.couple(ts, data)
    np.testing.assert_allclose(slope(exact, "start"), (1 - np.exp(-0.1)) / 0.1, rtol=1e-9)
    np.testing.assert_allclose(slope(exact, "end"), (np.exp(0.1) - 1) / 0.1, rtol=1e-9)
    plain = fm.couple(ts, data, epsilon=0.1)
    # At the end of an interval a contraction by ε/(4Δσ²) is missing, at the start it is added.
    assert slope(plain, "end") < 0.9 and slope(plain, "start") > 1.1
    even = fm.couple(ts, data, epsilon=0.1, debias=True)
    for at in ("start", "end"):
        assert abs(slope(even, at) - slope(exact, at)) < 0.02


def test_the_loss_of_plans_in_a_fit_is_the_regression_on_their_velocities():
    ts, data = scaled_gaussians(1.0)
    law = fm.McKeanVlasov(fm.Quadratic(0.2), beta=None)
    where = lambda s: s.potential.stiffness  # noqa: E731
    velocities = fm.couple(ts, data).velocities("end")
    one = fm.regress(law, (ts[1:], data[1:]), velocities, where=where)
    two = fm.fit(law, (ts, data), loss="jko", where=where, identifiability=False)
    np.testing.assert_allclose(two.system.potential.stiffness, one.system.potential.stiffness)
    # Plans at the ends are linear in the points: nothing remains.
    assert two.losses[-1] < 1e-25 and one.residual < 1e-12


@pytest.mark.slow
def test_growth_and_descendants_of_unbalanced_plans():
    x = jnp.array([[0.0], [0.1], [5.0], [5.1]])
    two = jnp.array([[0.0], [0.05], [0.1], [5.0]])
    found = fm.couple([0.0, 1.0], [fm.Particles(x), fm.Particles(two)], epsilon=0.05, tau=0.2)
    # Three quarters of the second are at 0, where half of the first were.
    np.testing.assert_allclose(np.exp(found.growth[0])[:2].mean(), 1.5, rtol=1e-2)
    np.testing.assert_allclose(np.exp(found.growth[0])[2:].mean(), 0.5, rtol=1e-2)
    np.testing.assert_allclose(found.plans[0].sum(0), 0.25, rtol=1e-6)
    known = fm.couple([0.0, 1.0], found.snapshots, epsilon=0.05, growth=[np.log([3, 3, 1, 1.0])])
    np.testing.assert_allclose(known.plans[0].sum(1), np.array([3, 3, 1, 1]) / 8, rtol=1e-6)
    rows = found.transition(0, 1)
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-12)
    assert rows[0, 3] < 1e-12 and rows[2, 3] > 1 - 1e-12
    middle = found.interpolate(0.5)
    np.testing.assert_allclose(middle.mean(), np.mean([0.05, 0.05, 0.05, 5.025]), atol=2e-2)


class Law(eqx.Module):
    """V(x) = a |x|²/2 + b x_1, K(x, y) = c |x − y|²/2."""

    a: float
    b: float

    def __call__(self, x):
        return self.a * jnp.sum(x**2) / 2 + self.b * x[0]


def test_the_weak_form_of_a_gaussian_by_hand():
    a, c, d, ts = 0.6, 0.3, 0.25, np.array([0.0, 0.5, 1.5])
    spread = np.array([1.0, 0.7, 0.4])
    mean = np.array([1.0, 0.5, 0.2])
    data = [
        fm.Gaussian(jnp.array([m]), jnp.array([[s]])) for m, s in zip(mean, spread, strict=True)
    ]
    found = fm.self_test(fm.McKeanVlasov(fm.Quadratic(a), fm.QuadraticKernel(c), 1 / d), ts, data)
    rate = ((a + c) ** 2 * spread + a**2 * mean**2) / 2 - d * (a + c)
    energy = a * (spread + mean**2) / 2 + c * spread / 2
    expected = (np.trapezoid(rate, ts) + energy[-1] - energy[0]) / 1.5
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.slow
def test_weak_form_finds_what_closes_on_moments():
    """From exact Gaussians the minimiser is off by trapezoids alone, the square of the step."""
    make = lambda a, b, c: fm.McKeanVlasov(Law(a, b), fm.QuadraticKernel(c), beta=4.0)  # noqa: E731
    start = fm.Gaussian(jnp.array([1.0, -0.5]), jnp.diag(jnp.array([2.0, 0.5])))
    where = lambda s: (s.potential, s.kernel)  # noqa: E731
    errors = []
    for count in (9, 17):
        ts = np.linspace(0, 0.8, count)
        run = fm.simulate(make(1.0, 0.3, 0.7), start, ts)
        data = [fm.Gaussian(run.ys.m[k], run.ys.cov[k]) for k in range(count)]
        found = fm.fit(make(0.1, 0.0, 0.1), (ts, data), loss="self_test", where=where,
                       identifiability=False)  # fmt: skip
        law = found.system
        theta = np.array([law.potential.a, law.potential.b, law.kernel.strength])
        errors.append(np.max(np.abs(theta - [1.0, 0.3, 0.7])))
    assert errors[0] < 0.02 and 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(ts=[0.0]), "`ts`"), (dict(tau=0.5), "`epsilon`"), (dict(debias=True), "`epsilon`"),
        (dict(growth=[], epsilon=0.1), "`growth`"),
    ],
)  # fmt: skip
def test_couplings_refuse(changes, words):
    mu = fm.Particles(jnp.ones((2, 1)))
    with pytest.raises(ValueError, match=words):
        fm.couple(**dict(ts=[0.0, 1.0], snapshots=[mu, mu]) | changes)


def test_couplings_refuse_times_beyond():
    found = fm.couple([0.0, 1.0], [fm.Particles(jnp.ones((2, 1)))] * 2)
    for call in (lambda: found.interpolate(2.0), lambda: found.transition(1, 1)):
        with pytest.raises(ValueError, match=r"give|between"):
            call()
