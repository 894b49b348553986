"""The kinetic limit of causal attention, and its correlation field by differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import iv

import flowjax_measures as fm

BETA, LAM, T = 1.0, 2.0, 1.0


def goursat(sigma, sigma0):
    """Ĝ_1(t, σ; σ₀) written out."""
    a, y = iv(1, BETA), np.log(np.expm1(LAM * sigma) / np.expm1(LAM * sigma0))
    q = LAM * np.exp(LAM * sigma0) / np.expm1(LAM * sigma)
    return q * np.sqrt(a * T / y) * iv(1, 2 * np.sqrt(a * T * y))


def gap_of_the_correlations(n):
    """Largest distance to Goursat's solution on an n × n grid, for a token in the first half."""
    theta = (jnp.arange(float(n)) + 0.5) * 2 * jnp.pi / n
    sigma = (np.arange(n) + 0.5) / n
    source = n // 4
    wave = jnp.zeros((n, n)).at[source].set(n * jnp.cos(theta))

    def run(rho):
        grid = fm.GridDensity(rho, 0.0, jnp.array([1.0, 2 * jnp.pi]), (False, True))
        return fm.simulate(fm.CausalKinetic(BETA, LAM), grid, [0.0, T], dt=0.25).final.rho

    final, change = jax.jvp(run, (jnp.ones((n, n)),), (wave,))
    assert np.allclose(final, 1, atol=1e-13)
    modes = 2 * np.mean(np.asarray(change) * np.cos(theta), axis=1)
    assert np.allclose(modes[:source], 0)  # nobody looks ahead
    return np.abs(modes[n // 2 :] - goursat(sigma[n // 2 :], sigma[source])).max()


def test_correlations_are_the_derivative_of_the_kinetic_equation():
    # 0.044, 0.0115, 0.0029 with 16, 32, 64 cells.
    assert gap_of_the_correlations(16) < 0.05


@pytest.mark.slow
def test_correlations_converge_at_second_order():
    errors = [gap_of_the_correlations(n) for n in (16, 32, 64)]
    assert abs(np.log2(errors[1] / errors[2]) - 2) < 0.15


def test_particles_of_the_kinetic_equation_are_the_circle_model():
    n = 12
    angle = jnp.linspace(0, 5, n) ** 2
    place = (jnp.arange(float(n)) + 1) / n
    kinetic = fm.CausalKinetic(BETA, LAM)(0.0, fm.Particles(jnp.stack([place, angle], 1))).drift.x
    circle = fm.CausalCircle(BETA, LAM)(0.0, fm.Particles(angle[:, None])).drift.x[:, 0]
    # A token has the weight ½ for itself in place of 1.
    past = np.cumsum(np.exp(-LAM * np.arange(n) / n))
    assert np.allclose(kinetic[:, 1] * (past - 0.5), circle * past, atol=1e-13)
    assert np.all(kinetic[:, 0] == 0)
