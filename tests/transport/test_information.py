"""Relative entropy, Fisher information and entropic maps."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

MU = fm.Gaussian(jnp.array([0.3]), jnp.array([[0.6]]))
NU = fm.Gaussian(jnp.array([-0.2]), jnp.array([[1.5]]))


def on_grid(normal, n=400):
    grid = fm.GridDensity(jnp.ones(n), -8.0, 8.0)
    rho = jnp.exp(jax.vmap(normal.log_density)(grid.centres()))
    return fm.GridDensity(rho, -8.0, 8.0)


def test_relative_entropy_of_gaussians_and_grids():
    exact = (0.6 / 1.5 + 0.5**2 / 1.5 - 1 + np.log(1.5 / 0.6)) / 2
    np.testing.assert_allclose(fm.kl_divergence(MU, NU), exact, rtol=1e-12)
    np.testing.assert_allclose(fm.kl_divergence(on_grid(MU), on_grid(NU)), exact, rtol=1e-9)
    x = jnp.zeros((3, 1))
    one, two = (fm.Particles(x, weights=jnp.array(w)) for w in ([0.5, 0.5, 0], [0.25, 0.5, 0.25]))
    np.testing.assert_allclose(fm.kl_divergence(one, two), 0.5 * np.log(2), rtol=1e-12)
    assert fm.kl_divergence(two, one) == jnp.inf
    with pytest.raises(ValueError, match="density in each"):
        fm.kl_divergence(MU, one)


def test_fisher_information():
    # (1/σ² − 1)² σ² + m² for V = x²/2.
    exact = (1 / 0.6 - 1) ** 2 * 0.6 + 0.3**2
    potential = fm.Quadratic(1.0)
    np.testing.assert_allclose(fm.fisher_information(MU, potential), exact, rtol=1e-12)
    np.testing.assert_allclose(fm.fisher_information(on_grid(MU), potential), exact, rtol=1e-3)
    with pytest.raises(ValueError, match="`mu`"):
        fm.fisher_information(fm.Particles(jnp.ones((2, 1))), potential)


@pytest.mark.slow
def test_entropic_map_continues_the_plan():
    mu, nu = fm.Particles(jr.normal(jr.key(0), (6, 2))), fm.Particles(jr.normal(jr.key(1), (5, 2)))
    found = jax.vmap(fm.entropic_map(mu, nu, 0.3))(mu.x)
    plan = fm.entropic_coupling(mu, nu, 0.3)
    np.testing.assert_allclose(found, 6 * plan @ nu.x, atol=1e-10)
    slope = jax.jacobian(fm.entropic_map(MU, NU, 1e-6))(MU.m)
    np.testing.assert_allclose(slope, fm.bures_map(MU, NU), rtol=1e-5)


def test_a_target_may_be_a_distribution_function():
    """The logistic law: its deviation π/√3, E|X| = 2 log 2 and E|X − X′| = 2."""
    law = fm.initial.from_distribution(jax.nn.sigmoid, 400, -20.0, 20.0)
    origin = fm.Particles(jnp.zeros((1, 1)))
    np.testing.assert_allclose(law.mass(), 1, rtol=1e-12)
    np.testing.assert_allclose(fm.wasserstein(origin, law), np.pi / np.sqrt(3), rtol=1e-3)
    np.testing.assert_allclose(fm.energy_distance(origin, law), 4 * np.log(2) - 2, rtol=2e-3)
    # Of the energy distance v(x) = 1 − 2F(x) at one atom: it ends within the cell of the median.
    flow = fm.GradientFlow(fm.MMD(law, fm.EnergyDistance()))
    end = fm.simulate(flow, fm.Particles(jnp.ones((1, 1))), [0.0, 10.0], dt=0.05).final
    np.testing.assert_allclose(end.x, 0, atol=float(law.spacing[0]) / 2)
    for wrong in (lambda x: -x, lambda x: jnp.nan * x, lambda x: jax.nn.sigmoid(x / 100)):
        with pytest.raises(ValueError, match="`distribution`"):
            fm.initial.from_distribution(wrong, 40, -20.0, 20.0)
