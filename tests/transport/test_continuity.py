"""Velocities from densities on a grid against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_sylvester

import flowjax_measures as fm


@pytest.mark.slow
def test_dilation_on_the_line():
    # N(m, s²) that moves and dilates has the velocity ṁ + (x − m) ṡ/s.
    def density(t):
        x = -8 + 16 * (jnp.arange(400.0) + 0.5) / 400
        m, s = 0.5 * t, 1 + 0.3 * t
        return jnp.exp(-((x - m) ** 2) / 2 / s**2) / s / jnp.sqrt(2 * jnp.pi)

    rho, rate = jax.jvp(density, (0.4,), (1.0,))
    mu = fm.GridDensity(rho, -8.0, 8.0)
    x = mu.centres()[:, 0]
    exact = 0.5 + (x - 0.2) * 0.3 / 1.12
    near = np.abs(x) < 2.5
    one, two = fm.dacorogna_moser(mu, rate), fm.least_squares_velocity(mu, rate)
    for found in (one, two):
        np.testing.assert_allclose(found.velocity[near, 0], exact[near], atol=2e-3)
        np.testing.assert_allclose(found.action, 0.25 + 0.09, rtol=2e-3)
        # The discrete equation holds to round-off.
        np.testing.assert_allclose(-mu._divergence(found.flux), rate, atol=1e-10)


@pytest.mark.slow
def test_gradient_is_of_less_energy_in_the_plane():
    def density(t, size):
        x = -6 + 12 * (jnp.arange(float(size)) + 0.5) / size
        x, y = jnp.meshgrid(x, x, indexing="ij")
        cov = jnp.array([[1.0, 0.3], [0.3, 0.7]]) + t * jnp.array([[0.5, -0.4], [-0.4, 0.2]])
        points = jnp.stack([x, y], -1)
        form = jnp.einsum("...i,ij,...j", points, jnp.linalg.inv(cov), points)
        return jnp.exp(-form / 2) / 2 / jnp.pi / jnp.sqrt(jnp.linalg.det(cov))

    # The linear gradient field S x of the Gaussian, SΣ + ΣS = Σ̇.
    cov = np.array([[1.15, 0.18], [0.18, 0.76]])
    slope = solve_sylvester(cov, cov, np.array([[0.5, -0.4], [-0.4, 0.2]]))
    gaps = []
    for size in (40, 80):
        rho, rate = jax.jvp(lambda t, size=size: density(t, size), (0.3,), (1.0,))
        mu = fm.GridDensity(rho, -6.0, 6.0)
        moser, least = fm.dacorogna_moser(mu, rate), fm.least_squares_velocity(mu, rate)
        assert least.action < 0.9 * moser.action
        near = np.linalg.norm(mu.centres(), axis=-1) < 1.5
        away = np.abs(least.velocity - mu.centres() @ slope.T)[near].max()
        gaps.append([np.trace(slope @ cov @ slope) - least.action, away])
    # Second order in the side of the cells.
    np.testing.assert_allclose(np.log2(gaps[0][0] / gaps[1][0]), 2, atol=0.15)
    assert gaps[1][1] < 0.3 * gaps[0][1] < 0.01


def test_action_of_a_geodesic_is_the_squared_distance():
    one = fm.Gaussian(jnp.array([-1.0]), jnp.array([[0.4]]))
    two = fm.Gaussian(jnp.array([1.5]), jnp.array([[1.6]]))
    x = -8 + 16 * (jnp.arange(400.0) + 0.5) / 400

    def density(t):
        mid = fm.mccann(one, two, t)
        return jax.vmap(lambda x: jnp.exp(mid.log_density(x[None])))(x)

    @jax.jit
    def action(t):
        rho, rate = jax.jvp(density, (t,), (1.0,))
        return fm.least_squares_velocity(fm.GridDensity(rho, -8.0, 8.0), rate).action

    squared = float(fm.wasserstein(one, two)) ** 2
    # A geodesic has constant speed: every time gives W₂².
    np.testing.assert_allclose([action(t) for t in (0.1, 0.7)], squared, rtol=2e-3)
