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
