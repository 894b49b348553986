"""Ornstein–Uhlenbeck from all three measures: the same law, each at its own rate."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

SYSTEM = fm.McKeanVlasov(fm.Quadratic(1.0), beta=4.0)
MEAN, VARIANCE = 1.0, 0.2


def exact(t):
    decay = np.exp(-t)
    return MEAN * decay, decay**2 * VARIANCE + (1 - decay**2) / 4.0


def test_gaussian_is_exact_to_the_solver():
    start = fm.Gaussian(jnp.array([MEAN]), jnp.array([[VARIANCE]]))
    run = fm.simulate(SYSTEM, start, np.linspace(0, 2, 5))
    for i, t in enumerate(run.ts):
        np.testing.assert_allclose(run.ys.m[i, 0], exact(t)[0], rtol=1e-8)
        np.testing.assert_allclose(run.ys.cov[i, 0, 0], exact(t)[1], rtol=1e-8)


@pytest.mark.slow
def test_particles_at_the_square_root_of_n():
    seeds = 64

    def moments(n):
        def one(key):
            start, run = jr.split(key)
            x = MEAN + np.sqrt(VARIANCE) * jr.normal(start, (n, 1))
            final = fm.simulate(SYSTEM, fm.Particles(x), [0.0, 0.5], dt=0.01, key=run).final
            return final.mean()[0], final.covariance()[0, 0]

        return jax.vmap(one)(jr.split(jr.key(n), seeds))

    mean, variance = exact(0.5)
    errors = []
    for n in (50, 200, 800):
        m, v = moments(n)
        errors.append(float(jnp.sqrt(jnp.mean((m - mean) ** 2 + (v - variance) ** 2))))
    slope = np.polyfit(np.log([50, 200, 800]), np.log(errors), 1)[0]
    # An RMS over 64 seeds has the relative standard error 1/√128 = 0.09, the slope 0.046.
    assert abs(slope + 0.5) < 0.14, (slope, errors)
