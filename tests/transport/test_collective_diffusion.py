"""Brenier's relaxed collective diffusion: duality, small perturbations, the forgotten term."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowjax_measures as fm


def grid(c):
    return fm.GridDensity(jnp.asarray(c), 0.0, 1.0, True)


X = (np.arange(12) + 0.5) / 12


def test_one_phase_closes_the_gap():
    start, end = 1 + 0.6 * np.cos(2 * np.pi * X), 1 + 0.5 * np.sin(4 * np.pi * X)
    found = fm.collective_diffusion(grid(start), grid(end), 0.7, steps=6)
    assert 0 <= found.action - found.dual < 1e-8 * found.action
    np.testing.assert_allclose(found.concentrations[0, 0], start, atol=1e-12)
    np.testing.assert_allclose(found.concentrations[-1, 0], end, atol=1e-10)
    mean = jnp.mean(found.concentrations, -1)
    np.testing.assert_allclose(mean, 1, atol=1e-12)


def test_small_perturbations_move_in_a_straight_line():
    size, time = 1e-4, 0.7
    found = fm.collective_diffusion(
        grid(np.ones(12)), grid(1 + size * np.cos(2 * np.pi * X)), time, steps=4
    )
    rate = (2 * 12 * np.sin(np.pi / 12)) ** 2
    np.testing.assert_allclose(found.action, size**2 / (4 * time * rate**2), rtol=1e-4)


def test_two_phases_close_the_gap_and_need_the_common_shift():
    c0, c1 = 0.5 + 0.4 * np.cos(2 * np.pi * X), 0.3 + 0.1 * np.cos(2 * np.pi * X) ** 3 + 0.2
    starts, ends = ([grid(c), grid(1 - c)] for c in (c0, c1))
    found = fm.collective_diffusion(starts, ends, steps=6)
    assert 0 <= found.action - found.dual < 1e-8 * found.action
    np.testing.assert_allclose(jnp.sum(found.concentrations, 1), 1, atol=1e-12)
    total = jnp.sum(found.momenta, 1)
    np.testing.assert_allclose(total, jnp.mean(total, -1, keepdims=True) + 0 * total, atol=1e-9)
    # b = cB + b′ splits the action into ½ ∫ B² + b′²/(c(1 − c)), at both ends of each step.
    common, parts = jnp.mean(total, -1, keepdims=True), 0.0
    for c in (found.concentrations[1:, 0], found.concentrations[:-1, 0]):
        rest = found.momenta[:, 0] - c * common
        parts += (jnp.sum(common**2) * 12 + jnp.sum(rest**2 / (c * (1 - c)))) / (4 * 6 * 12)
    np.testing.assert_allclose(parts, found.action, rtol=1e-10)
    heavy = fm.collective_diffusion(starts, ends, weights=[1.0, 3.0], steps=6)
    assert 0 <= heavy.action - heavy.dual < 1e-8 * heavy.action
    assert found.action < heavy.action < 3 * found.action


def test_peaked_densities_stay_positive():
    x = (np.arange(16) + 0.5) / 16
    peak = lambda m: np.exp(-(((x - m) / 0.08) ** 2)) + 0.1  # noqa: E731
    start, end = (grid(peak(m) / peak(m).mean()) for m in (0.3, 0.7))
    found = fm.collective_diffusion(start, end, steps=5)
    assert 0 <= found.action - found.dual < 1e-8 * found.action
    assert found.concentrations.min() > 0
    with pytest.raises(RuntimeError, match="`iterations`"):
        fm.collective_diffusion(start, end, steps=5, iterations=2)


def test_masses_that_change_are_refused():
    with pytest.raises(ValueError, match="keeps its mass"):
        fm.collective_diffusion(grid(np.ones(12)), grid(2 * np.ones(12)))
