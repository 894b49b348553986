"""Geodesics between measures of any mass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


@pytest.mark.slow
def test_no_time_is_before_or_after_a_curve():
    x = jnp.arange(4.0).reshape(4, 1)
    mu, nu = fm.Particles(x), fm.Particles(x**2)
    phases = [fm.Particles(fm.Phase(m.x, m.x)) for m in (mu, nu)]
    curves = {
        "mccann": lambda t: fm.mccann(mu, nu, t).x,
        "kinetic": lambda t: fm.kinetic_interpolation(*phases, t).x.q,
        "spline": lambda t: fm.transport_spline([mu, nu], jnp.array([0.0, 1.0]), t).x,
    }
    for curve in curves.values():
        for t in (-0.1, 1.1):
            with pytest.raises(ValueError, match="`t` is"):
                curve(t)
        inside, outside = jax.vmap(curve)(jnp.array([0.5, 1.1]))
        np.testing.assert_allclose(inside, curve(0.5))
        assert np.all(np.isnan(outside))
    for times in ([1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="`times` is"):
            fm.transport_spline([mu, nu], jnp.array(times), 0.5)
