"""Brenier's relaxed collective diffusion: duality, small perturbations, the forgotten term."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.transport._second_order import second_order


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
    # b = cB + b′ splits the action into ½ ∫ B² + b′²/(c(1 − c)), in the middle of each step.
    common = jnp.mean(total, -1, keepdims=True)
    c = (found.concentrations[1:, 0] + found.concentrations[:-1, 0]) / 2
    rest = found.momenta[:, 0] - c * common
    parts = (jnp.sum(common**2) * 12 + jnp.sum(rest**2 / (c * (1 - c)))) / (2 * 6 * 12)
    np.testing.assert_allclose(parts, found.action, rtol=1e-8)
    heavy = fm.collective_diffusion(starts, ends, weights=[1.0, 3.0], steps=6)
    assert 0 <= heavy.action - heavy.dual < 1e-8 * heavy.action
    assert found.action < heavy.action < 3 * found.action


def test_peaks_and_empty_cells_stay_positive():
    x = (np.arange(16) + 0.5) / 16
    peak = lambda m, floor: np.exp(-(((x - m) / 0.08) ** 2)) + floor  # noqa: E731
    for floor in (0.1, 0.003, 0.0):
        start, end = (grid(peak(m, floor) / peak(m, floor).mean()) for m in (0.3, 0.7))
        found = fm.collective_diffusion(start, end, steps=5)
        assert 0 <= found.action - found.dual < 1e-8 * found.action
        assert found.concentrations.min() >= 0
    with pytest.raises(RuntimeError, match="`iterations`"):
        fm.collective_diffusion(start, end, steps=5, iterations=2)


def test_gaussians_in_closed_form():
    """b = ½ Σ̇ c: on a grid that is wide enough, with second order in its cells."""
    time, n, side = 0.8, 40, 14.0
    x = ((np.arange(n) + 0.5) / n - 0.5) * side
    normal = lambda s: np.exp(-(x**2) / (2 * s)) / np.exp(-(x**2) / (2 * s)).sum() * n / side  # noqa: E731
    start, end = (
        fm.GridDensity(jnp.asarray(normal(s)), -side / 2, side / 2, True) for s in (0.9, 1.7)
    )
    zero = jnp.zeros(1)
    exact = fm.collective_diffusion(
        fm.Gaussian(zero, jnp.array([[0.9]])), fm.Gaussian(zero, jnp.array([[1.7]])), time, steps=8
    )
    np.testing.assert_allclose(exact.action, 0.8**2 / (8 * time), rtol=1e-12)
    found = fm.collective_diffusion(start, end, time, steps=8)
    np.testing.assert_allclose(found.action, exact.action, rtol=0.01)
    variance = found.concentrations[4, 0] @ x**2 * side / n
    np.testing.assert_allclose(variance, exact.concentrations[4].cov[0, 0], rtol=1e-3)
    with pytest.raises(ValueError, match="means"):
        fm.collective_diffusion(fm.Gaussian(zero, jnp.eye(1)), fm.Gaussian(zero + 1, jnp.eye(1)))


@pytest.mark.slow
def test_the_plane_of_one_direction_is_the_line():
    """Densities of x alone: b_yy and b_xy stay away, and the action is that of the line."""
    start, end = (1 + a * np.cos(2 * np.pi * X[::2] * k) for a, k in ((0.6, 1), (0.5, 2)))
    line = fm.collective_diffusion(grid(start), grid(end), 0.7, steps=3)
    plane = [
        fm.GridDensity(jnp.tile(jnp.asarray(c)[:, None], (1, 4)), 0.0, 1.0, True)
        for c in (start, end)
    ]
    found = fm.collective_diffusion(*plane, 0.7, steps=3)
    np.testing.assert_allclose(found.action, line.action, rtol=1e-8)
    np.testing.assert_allclose(found.momenta[:, 0, 1:], 0, atol=1e-6)
    phases = [[c, fm.GridDensity(2 - c.rho, 0.0, 1.0, True)] for c in plane]
    halves = [[fm.GridDensity(c.rho / 2, 0.0, 1.0, True) for c in pair] for pair in phases]
    both = fm.collective_diffusion(*halves, 0.7, steps=3)
    total = jnp.sum(both.momenta, 1)
    back = lambda b, axis: b - jnp.roll(b, 1, axis)  # noqa: E731
    ahead = jnp.roll(total[:, 0], -1, 1) - total[:, 0]
    rows = 6 * ahead + 4 * back(total[:, 2], 2)
    np.testing.assert_allclose(rows, 0, atol=1e-7)
    np.testing.assert_allclose(jnp.sum(both.concentrations, 1), 1, atol=1e-9)


def test_the_action_has_its_derivative():
    start, end = 1 + 0.6 * np.cos(2 * np.pi * X), 1 + 0.5 * np.sin(4 * np.pi * X)

    def value(e):
        moved = grid(start + e * np.sin(2 * np.pi * X))
        return fm.collective_diffusion(moved, grid(end), 0.7, steps=6).action

    difference = (value(1e-4) - value(-1e-4)) / 2e-4
    np.testing.assert_allclose(jax.grad(value)(0.0), difference, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (4, 3)])
def test_the_rows_of_the_divergence_are_all_that_are_independent(shape):
    """Its sum over the faces of one direction is zero: one row of each follows from the others."""
    d = len(shape)
    of_grid = fm.GridDensity(jnp.ones(shape), jnp.zeros(d), jnp.ones(d), True)
    rows = second_order(of_grid).rows
    assert rows.shape[0] == d * (np.prod(shape) - 1)
    assert np.linalg.matrix_rank(rows) == rows.shape[0]


def test_wrong_arguments_are_named():
    flat, wave = grid(np.ones(12)), grid(1 + 0.5 * np.sin(2 * np.pi * X))
    raw = lambda rho: eqx.tree_at(lambda m: m.rho, flat, jnp.asarray(rho))  # noqa: E731
    ball = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    for name, call in {
        "keeps its mass": lambda: fm.collective_diffusion(flat, grid(2 * np.ones(12))),
        "`starts` holds": lambda: fm.collective_diffusion(raw(1 + 2 * np.sin(2 * np.pi * X)), flat),
        "`ends` holds": lambda: fm.collective_diffusion(flat, raw(np.full(12, np.nan))),
        "their grids": lambda: fm.collective_diffusion(
            flat, fm.GridDensity(flat.rho, 0.0, 2.0, True)
        ),
        "`weights` is": lambda: fm.collective_diffusion(flat, wave, weights=[np.inf]),
        "`weights` is .-1": lambda: fm.collective_diffusion(ball, ball, weights=[-1.0]),
        "a Gaussian beside": lambda: fm.collective_diffusion([ball, ball], [ball, ball]),
        "dimensions": lambda: fm.collective_diffusion(ball, fm.Gaussian(jnp.zeros(3), jnp.eye(3))),
        "`steps`": lambda: fm.collective_diffusion(flat, wave, steps=1),
        "`starts` is not": lambda: fm.collective_diffusion([], []),
    }.items():
        with pytest.raises(ValueError, match=name):
            call()


@pytest.mark.slow
def test_two_phases_in_single_precision():
    wave, actions = 0.3 * np.cos(2 * np.pi * X), []
    for dtype in (jnp.float32, jnp.float64):
        c, d = (fm.GridDensity(jnp.asarray(0.5 + s * wave, dtype), 0.0, 1.0, True) for s in (1, -1))
        actions.append(fm.collective_diffusion([c, d], [d, c], steps=6).action)
    np.testing.assert_allclose(*actions, rtol=1e-5)
