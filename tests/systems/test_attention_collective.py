"""Collective diffusion: attention with one field for all, against heat and closed forms."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

B = jnp.array([[0.7, 0.2], [0.2, 0.4]])


def test_attention_tends_to_collective_diffusion():
    """From a Gaussian, in the time 2βs: the covariance S + 2sB, with an error of 1/β."""
    start, span = fm.Gaussian(jnp.array([0.5, -1.0]), jnp.array([[1.0, 0.3], [0.3, 0.8]])), 0.3
    limit = fm.simulate(fm.BDiffusion(B), start, [0.0, span], dt=0.05).final
    assert np.allclose(limit.cov, start.cov + 2 * span * B, atol=1e-12)
    assert np.allclose(limit.m, start.m)
    errors = []
    for beta in (20.0, 40.0):
        shift = fm.L2Attention(value=-B, beta=beta) + fm.FeedForward(B, activation=lambda a: a)
        run = fm.simulate(shift, start, [0.0, 2 * beta * span], steps=100).final
        errors.append(np.abs(run.cov - limit.cov).max())
    assert errors[1] < 0.02 and abs(np.log2(errors[0] / errors[1]) - 1) < 0.1


def test_phases_that_share_a_field_keep_their_sum():
    """On the torus, with a field whose rows have no divergence."""

    def field(t, x):
        return jnp.diag(2 + jnp.sin(2 * jnp.pi * x[::-1])) / 100

    x = (jnp.arange(16.0) + 0.5) / 16
    wave = jnp.cos(2 * jnp.pi * x)[:, None] * jnp.cos(4 * jnp.pi * x)
    phases = {
        name: fm.GridDensity(1 + sign * 0.5 * wave, jnp.zeros(2), jnp.ones(2), True)
        for name, sign in (("a", 1), ("b", -1))
    }
    law = fm.Species({name: fm.BDiffusion(field) for name in phases})
    run = fm.simulate(law, phases, [0.0, 0.3], dt=0.02).final
    total = run["a"].rho + run["b"].rho
    assert np.allclose(total, 2, atol=1e-12)
    assert np.abs(run["a"].rho - 1).max() < 0.9 * np.abs(phases["a"].rho - 1).max()
    with pytest.raises(ValueError, match=r"`field` has shape \(2, 2\) at points of shape \(3,\)"):
        fm.BDiffusion(B)(0.0, fm.Particles(jnp.ones((4, 3))))


@pytest.mark.slow
def test_a_field_with_divergence_drifts():
    """dX = B' dt + √(2B) dW on the line keeps the uniform law: points against the density."""
    law = fm.BDiffusion(lambda t, x: (0.02 + 0.015 * jnp.sin(2 * jnp.pi * x))[None])
    cells = (jnp.arange(64.0) + 0.5) / 64
    flat = fm.GridDensity(jnp.ones(64), 0.0, 1.0, True)
    assert np.allclose(fm.simulate(law, flat, [0.0, 0.5], dt=0.002).final.rho, 1, atol=3e-4)
    bump = fm.GridDensity(1 + 0.8 * jnp.cos(2 * jnp.pi * cells), 0.0, 1.0, True)
    wave = lambda mu: mu.mean(  # noqa: E731
        lambda x: jnp.stack([jnp.cos(2 * jnp.pi * x[0]), jnp.sin(2 * jnp.pi * x[0])])
    )
    exact = wave(fm.simulate(law, bump, [0.0, 0.5], dt=0.002).final)
    # Quantiles of the bump by inverting its distribution function.
    grid = np.linspace(0, 1, 4001)
    at = np.interp(
        (np.arange(40_000) + 0.5) / 40_000, grid + 0.8 * np.sin(2 * np.pi * grid) / 2 / np.pi, grid
    )
    points = fm.Particles(jnp.asarray(at)[:, None], space=fm.Torus(1.0))
    found = wave(fm.simulate(law, points, [0.0, 0.5], dt=0.002, key=jr.key(0)).final)
    assert np.abs(found - exact).max() < 4 / np.sqrt(40_000)
