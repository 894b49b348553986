"""Equations on grids: convergence order, positivity, mass, decay of the energy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowjax_measures as fm


def barenblatt(t, x, m=2.0):
    """The source solution of ∂_t ρ = ∂_xx ρ^m on the line, of mass ∫ (1 − z²)_+ for m = 2."""
    k = 1 / (m + 1)
    bowl = 1 - k * (m - 1) / (2 * m) * (x / t**k) ** 2
    return t**-k * np.maximum(bowl, 0) ** (1 / (m - 1))


def test_porous_medium_tends_to_barenblatt():
    errors = []
    for n in (40, 80):
        x = -6 + 12 / n * (np.arange(n) + 0.5)
        start = fm.GridDensity(jnp.asarray(barenblatt(1.0, x)), -6.0, 6.0)
        flow = fm.GradientFlow(fm.PowerEnergy(2.0))
        watch = dict(rho=lambda mu: mu.rho, energy=fm.PowerEnergy(2.0))
        run = fm.simulate(flow, start, [0.0, 0.5, 1.0], dt=0.2 * (12 / n) ** 2, observe=watch)
        errors.append(float(jnp.sum(jnp.abs(run.final.rho - barenblatt(2.0, x))) * start.cell))
        assert run.ys["rho"].min() > -1e-15 and jnp.diff(run.ys["energy"]).max() < 0
        np.testing.assert_allclose(run.final.mass(), start.mass(), rtol=1e-14)
    # The front has a corner: between the orders one and two in L¹.
    assert errors[0] < 0.05 and errors[0] / errors[1] > 2.5


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [None, fm.QuadraticKernel(0.7)])
def test_mckean_vlasov_descends_its_free_energy_to_gibbs(kernel):
    well = lambda x: jnp.sum((x**2 - 1) ** 2)  # noqa: E731
    errors = []
    for n in (25, 50):
        x = -2.0 + 4 / n * (jnp.arange(float(n)) + 0.5)
        start = fm.GridDensity(jnp.exp(-8 * x**2), -2.0, 2.0)
        start = fm.GridDensity(start.rho / start.mass(), -2.0, 2.0)
        energy = fm.PotentialEnergy(well) + fm.Entropy() * 0.5
        if kernel is not None:
            energy = energy + fm.InteractionEnergy(kernel)
        law = fm.McKeanVlasov(well, kernel, beta=2.0)
        watch = dict(energy=energy, rho=lambda mu: mu.rho)
        run = fm.simulate(
            law, start, np.linspace(0.0, 4.0, 9), dt=0.1 * (4 / n) ** 2, observe=watch
        )
        assert jnp.diff(run.ys["energy"][:4]).max() < 0 and run.ys["rho"].min() >= 0
        np.testing.assert_allclose(run.final.mass(), 1, rtol=1e-13)
        # The fixed point ρ ∝ e^{−β(V + K∗ρ)}, of the mean that the run ends with.
        pull = 0.0 if kernel is None else 0.7 / 2 * (x - run.final.mean()[0]) ** 2
        gibbs = jnp.exp(-2 * ((x**2 - 1) ** 2 + pull))
        gibbs = gibbs / (gibbs.sum() * start.cell)
        errors.append(float(jnp.sum(jnp.abs(run.final.rho - gibbs)) * start.cell))
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2, atol=0.15)


@pytest.mark.parametrize("cells", [800, (120, 120)])
def test_barenblatt_solves_the_porous_medium_equation(cells):
    profile = lambda t: fm.initial.barenblatt(t, 2.0, cells, -2.0, 2.0)  # noqa: E731
    mu = profile(0.4)
    np.testing.assert_allclose(mu.mass(), 1, atol=1e-4)
    rate = jax.jvp(lambda t: profile(t).rho, (0.4,), (1.0,))[1]
    law = fm.GradientFlow(fm.PowerEnergy(2.0))(0.0, mu).drift.rho
    inside = mu.rho > 0.1
    np.testing.assert_allclose(law[inside], rate[inside], atol=float(jnp.max(mu.spacing)) ** 2)


@pytest.mark.slow
def test_langevin_in_three_dimensions_is_of_second_order():
    stiffness, spread = np.array([1.0, 0.7, 1.3]), np.array([0.3, 0.5, 0.4])
    m, beta, t = np.array([0.5, -0.3, 0.2]), 2.0, 0.3

    def density(m, variance, grid):
        gaussian = fm.Gaussian(jnp.asarray(m), jnp.diag(jnp.asarray(variance)))
        logs = jax.vmap(gaussian.log_density)(grid.centres().reshape(-1, 3))
        return jnp.exp(logs).reshape(grid.rho.shape)

    law = fm.Langevin(lambda x: jnp.sum(stiffness * x**2) / 2, beta)
    decay = np.exp(-2 * stiffness * t)
    ends = m * np.exp(-stiffness * t), spread * decay + (1 - decay) / (beta * stiffness)
    errors = []
    for n, steps in ((12, 20), (24, 60)):
        blank = fm.GridDensity(jnp.ones((n, n, n)), -3.0, 3.0)
        start = fm.GridDensity(density(m, spread, blank), -3.0, 3.0)
        final = fm.simulate(law, start, [0.0, t], dt=t / steps).final
        np.testing.assert_allclose(final.mass(), start.mass(), rtol=1e-13)
        assert final.rho.min() >= 0
        errors.append(jnp.sum(jnp.abs(final.rho - density(*ends, blank))) * blank.cell)
    assert errors[1] < 0.02 and 1.7 < np.log2(errors[0] / errors[1]) < 2.15
