"""Entropic transport between grids, axis by axis: the numbers of the matrix of all costs."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.energies import _pairs


def grids(shape, periodic, dtype=float):
    """Two densities, of which one has empty cells, on one torus or in boxes that differ."""
    keys = jr.split(jr.key(len(shape)))
    one, two = (jr.uniform(k, shape, dtype, 0.1, 1.0) for k in keys)
    mu = fm.GridDensity(one.at[:3].set(0.0), 0.0, 1.5, periodic)
    lower, upper = (0.0, 1.5) if any(np.atleast_1d(periodic)) else (0.4, 2.0)
    nu = fm.GridDensity(two, lower, upper, periodic)
    return tuple(fm.GridDensity(m.rho / m.mass(), m.lower, m.upper, m.periodic) for m in (mu, nu))


def table(mu, nu):
    """All costs, by the measures' own points and space."""
    space = fm.Torus(jnp.where(jnp.asarray(mu.periodic), mu.upper - mu.lower, jnp.inf))
    (x, _), (y, _) = mu.atoms(), nu.atoms()
    far = jax.vmap(lambda p: jax.vmap(lambda q: space.distance(p, q))(y))(x)
    return far**2


@pytest.mark.parametrize(
    "shape, periodic, epsilon",
    [
        pytest.param((40,), False, 0.01, marks=pytest.mark.slow),
        ((7, 9), (True, False), 0.05),
    ],
)
def test_costs_and_potentials_are_those_of_the_matrix(shape, periodic, epsilon):
    mu, nu = grids(shape, periodic)
    cost = table(mu, nu)
    found = fm.entropic_cost(mu, nu, epsilon)
    np.testing.assert_allclose(found, fm.entropic_cost(mu, nu, epsilon, cost=cost), rtol=1e-10)
    ours = fm.entropic_potentials(mu, nu, epsilon)
    known = fm.entropic_potentials(mu, nu, epsilon, cost=cost)
    for one, two in zip(ours, known, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-9)


@pytest.mark.slow
def test_relaxed_marginals_and_derivatives():
    mu, nu = grids((6, 5), (False, True))
    mu = fm.GridDensity(2 * mu.rho, mu.lower, mu.upper, mu.periodic)
    cost, taus = table(mu, nu), dict(tau_mu=0.8, tau_nu=0.9)
    found = fm.entropic_cost(mu, nu, 0.05, **taus)
    np.testing.assert_allclose(found, fm.entropic_cost(mu, nu, 0.05, cost=cost, **taus), rtol=1e-9)

    def divergence(tilt, epsilon):
        rho = nu.rho * jnp.exp(tilt)
        there = fm.GridDensity(rho / (jnp.sum(rho) * nu.cell), nu.lower, nu.upper, nu.periodic)
        return fm.sinkhorn_divergence(nu, there, epsilon)

    tilt, way = jnp.linspace(0.0, 1.0, 30).reshape(6, 5), jr.normal(jr.key(7), (6, 5))
    slope = jnp.vdot(jax.grad(divergence)(tilt, 0.05), way)
    step = lambda h: divergence(tilt + h * way, 0.05)  # noqa: E731
    np.testing.assert_allclose(slope, (step(1e-5) - step(-1e-5)) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("epsilon", [1.0, 3e-3, 1e-6])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sums_over_cells_keep_all_digits_at_every_scale(epsilon, dtype):
    """Single terms of sums over blocks underflow; the sums don't."""
    x = np.linspace(0.0, 1.0, 50)
    cost = (x[:, None] - x) ** 2 / epsilon
    f = jr.normal(jr.key(0), (50, 30), "float64") / epsilon
    f = f.at[:, 3].set(-jnp.inf)
    kernels = [jnp.asarray(-cost, dtype), jnp.asarray(-cost[:30, :30], dtype)]
    found = _pairs.log_product(kernels, f.astype(dtype))
    high, f = [k.astype("float64") for k in kernels], f.astype(dtype).astype("float64")
    lines = high[0][:, :, None, None] + high[1] + f[:, None]
    known = jax.nn.logsumexp(lines, axis=(1, 3))
    np.testing.assert_allclose(found, known, rtol=50 * float(jnp.finfo(dtype).eps))


@pytest.mark.slow
def test_single_precision():
    mu, nu = grids((16, 16), True)
    low = [fm.GridDensity(m.rho.astype("float32"), 0.0, 1.5, True) for m in (mu, nu)]
    found = fm.sinkhorn_divergence(*low, 0.02)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, fm.sinkhorn_divergence(mu, nu, 0.02), rtol=2e-4)


@pytest.mark.slow
def test_large_grids_take_no_matrix():
    """The matrix of 256 × 256 cells would be 34 GB."""

    def cost(rho):
        mu = fm.GridDensity(rho, 0.0, 1.0)
        return fm.entropic_cost(mu, fm.GridDensity(rho.T, 0.0, 1.0), 0.01)

    shape = jax.ShapeDtypeStruct((256, 256), jnp.float64)
    memory = jax.jit(jax.grad(cost)).lower(shape).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 1e9
    x = jnp.linspace(-3.0, 3.0, 256)
    normal = lambda m, s: jnp.exp(-((x - m) ** 2) / (2 * s))  # noqa: E731
    mu, nu = (
        fm.GridDensity(jnp.outer(normal(m, s), normal(-m, s)), -3.0, 3.0)
        for m, s in ((0.3, 0.2), (-0.4, 0.1))
    )
    mu, nu = (fm.GridDensity(m.rho / m.mass(), -3.0, 3.0) for m in (mu, nu))
    one, two = (
        fm.Gaussian(jnp.array([m, -m]), s * jnp.eye(2)) for m, s in ((0.3, 0.2), (-0.4, 0.1))
    )
    found, known = (fm.sinkhorn_divergence(*pair, 0.1) for pair in ((mu, nu), (one, two)))
    np.testing.assert_allclose(found, known, rtol=0.03)
