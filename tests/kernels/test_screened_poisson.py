"""The singular kernel of the screened Poisson equation, against its closed forms and quadrature."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import k0, kv

import flowjax_measures as fm

H = 0.7
KERNEL = fm.ScreenedPoisson(H)
EXACT = {
    1: lambda r: np.exp(-r / H) / (2 * H),
    2: lambda r: k0(r / H) / (2 * np.pi * H**2),
    3: lambda r: np.exp(-r / H) / (4 * np.pi * H**2 * r),
    4: lambda r: kv(1, r / H) / (4 * np.pi**2 * H**3 * r),
}


@pytest.mark.parametrize("d", list(EXACT))
def test_green_functions(d):
    radii = np.array([1e-9, 1e-3, 0.2, 1.0, 9.0])
    way = jnp.zeros(d).at[0].set(1.0)
    at = jax.vmap(lambda r: KERNEL(r * way, 0 * way))
    np.testing.assert_allclose(at(jnp.asarray(radii)), EXACT[d](radii), rtol=1e-9)
    slope = jax.grad(lambda r: KERNEL(r * way, 0 * way))(0.4)
    step = (EXACT[d](0.4 + 1e-5) - EXACT[d](0.4 - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, step, rtol=1e-7)
    if d > 1:
        assert KERNEL(way, way) == 0
        assert not np.any(jax.grad(KERNEL)(way, way))
    assert np.isnan(KERNEL(jnp.full(d, jnp.nan), way))


def test_over_gaussians():
    """∫ G N(z, s²I), radial in the plane: a mixture of Gaussians of variance s² + 2h²t."""
    z, s = jnp.array([0.3, -0.5]), 0.4

    def mixture(t):
        variance = s**2 + 2 * H**2 * t
        return np.exp(-t - float(z @ z) / (2 * variance)) / (2 * np.pi * variance)

    exact = quad(mixture, 0, np.inf, epsabs=1e-13)[0]
    np.testing.assert_allclose(KERNEL.smoothed(z, s**2 * jnp.eye(2)), exact, rtol=1e-9)


@pytest.mark.slow
def test_stein_flow_without_the_atom_itself():
    x = np.asarray(jr.normal(jr.key(0), (4, 3)))
    law = fm.GradientFlow(fm.KL(fm.Quadratic(1.3)), fm.Stein(KERNEL))
    drift = np.zeros_like(x)
    for i in range(4):
        for j in range(4):
            if i != j:
                away, r = x[i] - x[j], np.linalg.norm(x[i] - x[j])
                k = EXACT[3](r)
                drift[i] += (-k * 1.3 * x[j] + k * (1 / r + 1 / H) * away / r) / 4
    np.testing.assert_allclose(law(0.0, fm.Particles(jnp.asarray(x))).drift.x, drift, rtol=1e-10)


@pytest.mark.slow
def test_atoms_take_the_place_of_the_target():
    law = fm.GradientFlow(fm.KL(fm.Quadratic(1.0)), fm.Stein(fm.ScreenedPoisson(1.0)))
    start = fm.Particles(0.5 + 0.3 * jr.normal(jr.key(1), (60, 2)))
    # Later they lie a little farther apart: they do not see themselves.
    final = fm.simulate(law, start, [0.0, 100.0], dt=0.2).final
    assert np.abs(final.x.mean(0)).max() < 0.02
    np.testing.assert_allclose(np.cov(final.x.T), np.eye(2), atol=0.1)
