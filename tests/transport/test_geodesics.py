"""Geodesics between measures of any mass."""

import jax.numpy as jnp
import numpy as np

import flowjax_measures as fm


def test_a_geodesic_keeps_the_mass_of_its_ends():
    """Also one that is not 1: the sums of the plan are the measures' masses."""
    w = np.array([0.5, 1.2, 0.8])
    mu = fm.Particles(jnp.array([[0.0, 0.0], [1.0, 0.2], [0.3, 2.0]]), jnp.log(jnp.asarray(w)))
    nu = fm.Particles(jnp.array([[2.0, 0.5], [1.5, -1.0]]), jnp.log(jnp.array([1.0, 1.5])))
    plan = fm.coupling(mu, nu)
    np.testing.assert_allclose(plan.sum(1), w, rtol=1e-12)
    np.testing.assert_allclose(plan.sum(0), [1.0, 1.5], rtol=1e-12)
    middle = fm.mccann(mu, nu, 0.5)
    np.testing.assert_allclose(jnp.exp(middle.log_w).sum(), 2.5, rtol=1e-12)
    ends = (w @ np.asarray(mu.x), np.array([1.0, 1.5]) @ np.asarray(nu.x))
    np.testing.assert_allclose(jnp.exp(middle.log_w) @ middle.x, sum(ends) / 2, rtol=1e-12)
