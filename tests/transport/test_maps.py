"""Maps between measures, linearised transport and quantisation against closed forms."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import norm

import flowjax_measures as fm

linearized, wasserstein = jax.jit(fm.linearized_wasserstein), jax.jit(fm.wasserstein)


def test_linearised_transport_is_exact_where_maps_compose():
    sigma = fm.Gaussian(jnp.zeros(2), jnp.array([[1.0, 0.2], [0.2, 0.5]]))
    mu = fm.Gaussian(jnp.array([1.0, 0.0]), jnp.array([[0.6, -0.1], [-0.1, 0.9]]))
    nu = fm.Gaussian(jnp.array([0.0, 1.0]), jnp.array([[0.3, 0.1], [0.1, 0.4]]))
    exact = wasserstein(mu, nu)
    np.testing.assert_allclose(linearized(mu, nu, mu), exact, rtol=1e-10)
    assert linearized(mu, nu, sigma) > exact
    # On the line all monotone maps compose.
    x, y, z = (fm.Particles(jr.normal(jr.key(k), (6, 1))) for k in range(3))
    found = linearized(x, y, z)
    np.testing.assert_allclose(found, wasserstein(x, y), rtol=1e-12)
    x, y, z = (fm.Particles(jr.normal(jr.key(k), (6, 2))) for k in range(3))
    np.testing.assert_allclose(linearized(x, y, x), wasserstein(x, y), rtol=1e-9)
    assert linearized(x, y, z) > wasserstein(x, y)


def test_quantisation_of_a_line_is_the_means_of_equal_parts():
    grid = fm.GridDensity(jnp.ones(400), 0.0, 1.0)
    found = fm.quantize(grid, fm.Particles(jnp.linspace(0.4, 0.5, 4)[:, None]), 2)
    np.testing.assert_allclose(found.x[:, 0], [0.125, 0.375, 0.625, 0.875], atol=1e-12)
    # N(0, 1): the mean over a part between quantiles is n (φ(a) − φ(b)).
    x = jnp.linspace(-6, 6, 4001)
    normal = fm.Particles(x[:, None], jnp.log(norm.pdf(x) / norm.pdf(x).sum()))
    levels = norm.ppf(np.arange(6) / 5)
    exact = 5 * (norm.pdf(levels[:-1]) - norm.pdf(levels[1:]))
    start = fm.Particles(jr.normal(jr.key(0), (5, 1)))
    np.testing.assert_allclose(np.sort(fm.quantize(normal, start, 2).x[:, 0]), exact, atol=1e-5)


def test_quantisation_never_gets_worse_and_stops_at_means():
    grid = fm.GridDensity(jnp.ones((8, 8)), 0.0, 1.0)
    points = fm.Particles(jr.uniform(jr.key(0), (4, 2)))
    distance = jax.jit(lambda x: fm.wasserstein(fm.Particles(x), grid))
    stages = [points.x, fm.quantize(grid, points, 1).x, fm.quantize(grid, points, 8).x]
    distances = [float(distance(x)) for x in stages]
    assert np.all(np.diff(distances) < 0)
    # Four quarters are the best: W₂² = 2 · (1/2)²/12 less the cells' own (1/8)²/12 a coordinate.
    np.testing.assert_allclose(distances[-1] ** 2, 2 * (1 / 4 - 1 / 64) / 12, rtol=1e-9)
    # Each stays at the mean of its quarter.
    np.testing.assert_allclose(np.sort(stages[-1].ravel()), 4 * [0.25] + 4 * [0.75], atol=1e-9)


@pytest.mark.slow
def test_sliced_quantisation_is_a_flow_to_means_of_slices():
    target = fm.Particles(jr.normal(jr.key(0), (60, 2)))
    energy = fm.SlicedWasserstein(target)
    start = fm.Particles(0.1 * jr.normal(jr.key(1), (12, 2)))
    run = fm.simulate(fm.GradientFlow(energy), start, np.linspace(0, 20, 5), dt=0.5, observe=energy)
    assert np.all(np.diff(run.ys) < 1e-12)
    assert run.ys[-1] < 0.1 * run.ys[0]


def test_unequal_masses_are_refused():
    mu, nu = fm.Particles(jnp.zeros((2, 1))), fm.Particles(jnp.ones((2, 1)), jnp.zeros(2))
    sinkhorn = lambda a, b: fm.sinkhorn_divergence(a, b, 1.0)  # noqa: E731
    for transport in (fm.wasserstein, fm.coupling, fm.sliced_wasserstein, sinkhorn):
        with pytest.raises(ValueError, match="masses 1 and 2"):
            transport(mu, nu)
    double = fm.Particles(mu.x, jnp.zeros(2))
    np.testing.assert_allclose(fm.wasserstein(double, nu), 1.0)


def test_maps_from_samples_get_better_with_their_number():
    """|T̂ − T|² falls at least like n^{−1/3} in the plane for ε ∼ n^{−1/6}."""

    def missed(n, key):
        one, two = jr.split(key)
        truth = lambda x: x + jnp.tanh(x) / 2  # noqa: E731
        x, y = jr.normal(one, (n, 2)), truth(jr.normal(two, (n, 2)))
        estimate = fm.entropic_map(fm.Particles(x), fm.Particles(y), 2 * n ** (-1 / 6))
        fresh = jr.normal(jr.key(9), (300, 2))
        return jnp.mean(jnp.sum((jax.vmap(estimate)(fresh) - truth(fresh)) ** 2, 1))

    few, many = (np.mean([missed(n, jr.key(k)) for k in range(3)]) for n in (40, 240))
    assert few < 0.5
    assert many < few / 6 ** (1 / 3)
