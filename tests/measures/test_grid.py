"""Grids: order, mass, positivity, walls."""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm


def gaussian_density(x, mean, variance):
    return jnp.exp(-((x - mean) ** 2) / (2 * variance)) / jnp.sqrt(2 * jnp.pi * variance)


def ou_error(cells: int) -> float:
    x = fm.GridDensity(jnp.ones(cells), -4.0, 4.0).centres()[:, 0]
    grid = fm.GridDensity(gaussian_density(x, 1.0, 0.2), -4.0, 4.0)
    system = fm.McKeanVlasov(fm.Quadratic(1.0), beta=8.0)
    final = fm.simulate(system, grid, [0.0, 1.0]).final
    truth = gaussian_density(x, np.exp(-1.0), 0.125 * (1 - np.exp(-2.0)) + 0.2 * np.exp(-2.0))
    np.testing.assert_allclose(final.mass(), grid.mass(), rtol=1e-14)
    return float(jnp.sum(jnp.abs(final.rho - truth)) * 8 / cells)


@pytest.mark.slow
def test_ornstein_uhlenbeck_at_second_order():
    errors = [ou_error(n) for n in (64, 128, 256)]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(slopes > 1.8), slopes


@pytest.mark.parametrize("periodic", [False, True])
def test_transport_keeps_positivity_and_mass(periodic):
    box = jnp.where(jnp.abs(jnp.linspace(-1, 1, 60)) < 0.3, 1.0, 0.0)
    grid = fm.GridDensity(jnp.outer(box, box), -1.0, 1.0, periodic)
    wind = fm.Custom(lambda t, x, mu: jnp.array([0.7, -0.4]))
    run = fm.simulate(
        wind, grid, [0.0, 0.5, 1.0], dt=0.005, solver=diffrax.Heun(), observe=lambda mu: mu.rho
    )
    assert run.ys.min() >= -1e-16
    np.testing.assert_allclose(run.ys.sum((1, 2)), grid.rho.sum(), rtol=1e-13)
    if periodic:  # the block has moved as a whole: its centre of mass turns with it
        phase = np.exp(1j * np.pi * np.asarray(grid.centres()))
        turn = np.tensordot(np.asarray(run.final.rho), phase, 2)
        np.testing.assert_allclose(np.angle(turn) / np.pi, [0.7, -0.4], atol=5e-3)


def test_mean_and_logmean_are_sums_over_cells():
    rho = jr.uniform(jr.key(0), (6, 5)).at[2, 3].set(0.0)
    grid = fm.GridDensity(rho, (0.0, -1.0), (1.0, 2.0))
    y, h = grid.centres(), float(grid.cell)
    weight = rho * jnp.exp(y[..., 0] - 2 * y[..., 1])
    logits = lambda y: y[0] - 2 * y[1]  # noqa: E731
    expected = jnp.tensordot(weight, y, 2) / weight.sum()
    np.testing.assert_allclose(grid.mean(logits=logits), expected, rtol=1e-12)
    np.testing.assert_allclose(grid.logmean(logits), jnp.log(weight.sum() * h), rtol=1e-12)
    slope = jax.grad(lambda r: fm.GridDensity(r, 0.0, 1.0).mean()[0])(rho)
    assert np.all(np.isfinite(slope)) and abs(slope[2, 3]) > 0


@pytest.mark.slow
def test_cross_diffusion_grows_the_covariance():
    """dX = S dW from a bump: the covariance grows by S Sᵀ t, mass is kept."""
    s = jnp.array([[0.3, 0.0], [0.2, 0.25]])
    x = fm.GridDensity(jnp.ones((48, 48)), -2.5, 2.5).centres()
    grid = fm.GridDensity(jnp.exp(-jnp.sum(x**2, -1) / 0.2), -2.5, 2.5)
    law = fm.Custom(lambda t, x, mu: fm.Rates(0 * x, fm.Dense(s)))
    final = fm.simulate(law, grid, [0.0, 1.0]).final
    np.testing.assert_allclose(final.covariance() - grid.covariance(), s @ s.T, atol=1e-6)
    np.testing.assert_allclose(final.mass(), grid.mass(), rtol=1e-13)


def test_shared_noise_carries_the_density():
    x = fm.GridDensity(jnp.ones(100), -2.0, 2.0, True).centres()[:, 0]
    grid = fm.GridDensity(jnp.exp(-(x**2) / 0.1), -2.0, 2.0, True)
    law = fm.Custom(lambda t, x, mu: fm.Rates(0 * x, fm.Common(0.4)))
    moved = law(0.0, grid).noise.apply((jnp.array([1.0]),)).rho
    slope = -0.4 * (-2 * x / 0.1) * grid.rho
    np.testing.assert_allclose(moved, slope, atol=0.02 * float(jnp.abs(slope).max()))
    np.testing.assert_allclose(moved.sum(), 0, atol=1e-12)


def test_samples_fall_into_the_cells():
    rho = jnp.array([0.0, 1.0, 3.0, 0.0])
    x = fm.GridDensity(rho, 0.0, 4.0).sample(jr.key(0), 4000)
    assert x.shape == (4000, 1) and x.min() >= 1 and x.max() <= 3
    share = np.mean(x > 2)  # standard error √(0.75·0.25/4000) = 0.0068
    assert abs(share - 0.75) < 4 * 0.0068


@pytest.mark.slow
def test_porous_medium_in_space_follows_barenblatt():
    errors = []
    for cells in (12, 24):
        start, end = (fm.initial.barenblatt(t, 2.0, (cells,) * 3, -1.2, 1.2) for t in (0.05, 0.1))
        final = fm.simulate(fm.GradientFlow(fm.PowerEnergy(2.0)), start, [0.05, 0.1]).final
        np.testing.assert_allclose(final.mass(), start.mass(), rtol=1e-13)
        errors.append(float(jnp.sum(jnp.abs(final.rho - end.rho)) * end.cell))
    assert errors[1] < 0.02 and np.log2(errors[0] / errors[1]) > 1.7, errors


def test_three_axes_are_three_independent_coordinates():
    # Of a product law the flow of a separable energy is that of each factor.
    lines = [1 + 0.5 * np.cos(np.linspace(0.3, 5.0, n)) for n in (6, 5, 4)]
    rho = jnp.asarray(np.einsum("i,j,k->ijk", *lines))
    space = fm.GridDensity(rho, (0.0, -1.0, 0.0), (1.0, 1.0, 3.0), (True, False, True))
    law = fm.Langevin(lambda x: jnp.sum(x**2) / 2)
    drift, whole = law(0.0, space).drift.rho, 0.0
    for axis, line in enumerate(lines):
        one = fm.GridDensity(jnp.asarray(line), space.lower[axis], space.upper[axis],
                             space.periodic[axis])  # fmt: skip
        slope = law(0.0, one).drift.rho / one.rho
        whole = whole + np.expand_dims(slope, [a for a in range(3) if a != axis])
    np.testing.assert_allclose(drift, whole * rho, atol=1e-12)
    points = space.centres().reshape(-1, 3)
    np.testing.assert_allclose(space.mean(), jnp.average(points, 0, rho.ravel()), rtol=1e-12)
