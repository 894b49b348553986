"""Noise that is a function: its covariance on any grid, smooth kernels, flows of functions."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


@pytest.mark.parametrize("kernel", [fm.GaussianKernel(0.2), fm.LaplaceKernel(0.2)])
def test_a_flow_of_functions_on_a_fine_grid(kernel):
    """To one function the flow is linear: X_t = (1 − t) X_0 + t f, on 120 points."""
    points = jnp.linspace(0.0, 1.0, 120)[:, None]
    noise = fm.gaussian_process(kernel, points)
    f = jnp.sin(3 * points[:, 0])
    flow = fm.StochasticInterpolant(noise, fm.Particles(f[None]))
    x = noise.sample(jr.key(0), 2)
    for t in (0.0, 0.6):
        found = jax.vmap(lambda x, t=t: flow.velocity(t, (1 - t) * x + t * f))(x)
        np.testing.assert_allclose(found, f - x, atol=3e-6)
    final = fm.simulate(flow, fm.Particles(x), [0.0, 0.9], dt=0.1).final.x
    np.testing.assert_allclose(final, 0.1 * x + 0.9 * f, atol=3e-6)


def test_draws_of_a_smooth_process_have_its_covariance():
    points = jnp.linspace(0.0, 1.0, 60)[:, None]
    noise = fm.gaussian_process(fm.GaussianKernel(0.2), points)
    x = noise.sample(jr.key(0), 4000)
    # Four standard errors of a product of two normals over 4000 draws.
    np.testing.assert_allclose(x.T @ x / 4000, noise.cov, atol=4 * (2 / 4000) ** 0.5)
    # Values at every second point are those of the coarser grid.
    coarse = fm.gaussian_process(fm.GaussianKernel(0.2), points[::2])
    np.testing.assert_allclose(noise.cov[::2, ::2], coarse.cov, atol=1e-14)


@pytest.mark.parametrize(
    "kernel, shape, periodic",
    [
        (fm.LaplaceKernel(0.3), (9,), False),
        (fm.GaussianKernel(0.25), (6, 5), False),
        (fm.GaussianKernel(0.25), (8,), True),
        (fm.LaplaceKernel(0.3), (5, 4), (True, False)),
    ],
)
def test_random_fields_have_the_covariance(kernel, shape, periodic):
    grid = fm.GridDensity(jnp.ones(shape), 0.0, 1.0, periodic)
    count = 4000
    x = fm.random_fields(jr.key(0), count, kernel, grid).reshape(count, -1)
    points = grid.centres().reshape(-1, len(shape))
    turns = [np.arange(-4.0, 5.0) if p else np.zeros(1) for p in grid.periodic]
    turns = np.stack(np.meshgrid(*turns, indexing="ij"), -1).reshape(-1, len(shape))
    exact = sum(
        jax.vmap(lambda p, s=s: jax.vmap(lambda q: kernel(p + s, q))(points))(points) for s in turns
    )
    error = jnp.max(jnp.diagonal(exact)) * (2 / count) ** 0.5
    np.testing.assert_allclose(x.T @ x / count, exact, atol=4.5 * error)


@pytest.mark.parametrize("length", [0.06, 0.15])
def test_single_precision_is_no_lost_variance(length):
    """Round-off of a spectrum that ends in zeros is not taken for negative eigenvalues."""
    grid = fm.GridDensity(jnp.ones((32, 32), jnp.float32), 0.0, 1.0, periodic=True)
    x = fm.random_fields(jr.key(0), 400, fm.GaussianKernel(length), grid)
    assert x.dtype == jnp.float32
    # A field has about 1/(2 length)² independent patches.
    error = np.sqrt(2 * (2 * length) ** 2 / 400)
    assert abs(float(jnp.mean(x**2)) - 1) < 4 * error


def test_a_correlation_longer_than_the_torus_is_refused():
    with pytest.raises(ValueError, match="`kernel`"):
        fm.random_fields(
            jr.key(0), 2, fm.GaussianKernel(9.0), fm.GridDensity(jnp.ones(8), 0.0, 1.0)
        )


def test_modes_do_not_depend_on_the_grid():
    """Those of e^{−|p − q|/h} on [0, 1]: λ = 2h/(1 + h²w²), tan w = 2hw/(h²w² − 1)."""
    h = 0.5
    found = []
    for n in (100, 200):
        points = jnp.asarray((np.arange(n) + 0.5) / n)[:, None]
        found.append(fm.karhunen_loeve(fm.LaplaceKernel(h), points, 4))
    w = np.linspace(0.1, 9, 200_001)
    gap = (h**2 * w**2 - 1) * np.sin(w) - 2 * h * w * np.cos(w)
    roots = w[1:][np.diff(np.sign(gap)) != 0][:3]
    np.testing.assert_allclose(found[1].values[:3], 2 * h / (1 + h**2 * roots**2), rtol=1e-3)
    np.testing.assert_allclose(found[0].values, found[1].values, rtol=2e-3)
    middle = (found[1].functions[::2] + found[1].functions[1::2]) / 2
    np.testing.assert_allclose(abs(found[0].functions), abs(middle), atol=5e-3)
    cov = (found[1].functions * found[1].values) @ found[1].functions.T
    exact = fm.gaussian_process(fm.LaplaceKernel(h), points).cov
    whole = fm.karhunen_loeve(fm.LaplaceKernel(h), points, 200)
    full = (whole.functions * whole.values) @ whole.functions.T
    np.testing.assert_allclose(full, exact, atol=1e-10)
    assert jnp.max(jnp.abs(cov - full)) < 0.25
