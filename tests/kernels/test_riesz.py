"""Riesz kernels of any exponent, against quadrature and sums over pairs."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import quad

import flowjax_measures as fm


@pytest.mark.parametrize(("d", "r"), [(1, -0.6), (2, -1.0), (3, -1.0), (3, -2.4), (2, 1.3)])
def test_means_over_gaussians(d, r):
    """E‖Z‖^r of N(z, s²I) has the radial law of a non-central χ, here by a mixture of orders."""
    s, shift = 0.7, 0.9
    z = jnp.zeros(d).at[-1].set(shift)

    def density(rho):
        from scipy.stats import ncx2

        return 2 * rho / s**2 * ncx2.pdf(rho**2 / s**2, d, shift**2 / s**2)

    exact = quad(lambda u: 10 * u**9 * u ** (10 * r) * density(u**10), 0, 12**0.1, limit=400)[0]
    found = fm.RieszKernel(r).smoothed(z, s**2 * jnp.eye(d))
    np.testing.assert_allclose(found, -np.sign(r) * exact, rtol=1e-6)
    traced = jax.jit(lambda r: fm.RieszKernel(r).smoothed(z, s**2 * jnp.eye(d)))(r)
    np.testing.assert_allclose(traced, found, rtol=1e-12)


@pytest.mark.slow
def test_stein_flow_and_energy_leave_the_atom_itself_out():
    x, r = np.asarray(jr.normal(jr.key(0), (4, 3))), -1.0
    law = fm.GradientFlow(fm.KL(fm.Quadratic(1.3)), fm.Stein(fm.RieszKernel(r)))
    drift, energy = np.zeros_like(x), 0.0
    for i in range(4):
        for j in range(4):
            if i != j:
                away, apart = x[i] - x[j], np.linalg.norm(x[i] - x[j])
                drift[i] += (-(apart**r) * 1.3 * x[j] + away * apart ** (r - 2)) / 4
                energy += apart**r / 32
    mu = fm.Particles(jnp.asarray(x))
    np.testing.assert_allclose(law(0.0, mu).drift.x, drift, rtol=1e-10)
    np.testing.assert_allclose(fm.InteractionEnergy(fm.RieszKernel(r))(mu), energy, rtol=1e-12)


def test_wrong_exponents_are_refused():
    for r in (0.0, 2.0, 2.5):
        with pytest.raises(ValueError, match="`exponent`"):
            fm.RieszKernel(r)
    with pytest.raises(ValueError, match="`exponent`"):
        fm.RieszKernel(-2.0)(jnp.zeros(2), jnp.ones(2))
