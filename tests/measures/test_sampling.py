"""Draws of atoms and of cells: their law, in float32 too, and what must never be drawn."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import chisquare

import flowjax_measures as fm

DRAWS = 40_000


def test_atoms_are_drawn_by_their_masses():
    masses = jnp.array([0.0, 0.1, 0.0, 0.0, 0.4, 0.5, 0.0])
    atoms = fm.Particles((jnp.arange(7.0)[:, None], jnp.arange(7)), weights=masses)
    x, label = atoms.sample(jr.key(0), DRAWS)
    np.testing.assert_array_equal(x[:, 0], label)
    count = np.bincount(label, minlength=7)
    assert count[np.asarray(masses) == 0].sum() == 0
    assert chisquare(count[[1, 4, 5]], DRAWS * masses[jnp.array([1, 4, 5])]).pvalue > 1e-3


def test_equal_masses_are_drawn_equally():
    count = np.bincount(
        fm.Particles((jnp.zeros((6, 1)), jnp.arange(6))).sample(jr.key(1), DRAWS)[1], minlength=6
    )
    assert chisquare(count).pvalue > 1e-3


def test_many_atoms_in_float32():
    # A sum of a million in float32 has steps of 6e-8, 6% of a mass: one sum would be biased.
    n = 2**20
    weights = jnp.where(jnp.arange(n) % 2 == 0, 1.0, 3.0).astype(jnp.float32)
    atoms = fm.Particles((jnp.zeros((n, 1), jnp.float32), jnp.arange(n)), weights=weights)
    x, label = jax.jit(lambda atoms, key: atoms.sample(key, DRAWS))(atoms, jr.key(2))
    assert x.dtype == jnp.float32
    odd = float(jnp.mean(label % 2 == 1))
    assert abs(odd - 0.75) < 4 * np.sqrt(0.75 * 0.25 / DRAWS)
    sixteenth = np.bincount(np.asarray(label) * 16 // n, minlength=16)
    assert chisquare(sixteenth).pvalue > 1e-3


def test_cells_are_drawn_by_their_masses():
    rho = jnp.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    points = np.asarray(fm.GridDensity(rho, 0.0, 3.0).sample(jr.key(3), DRAWS))
    cells = np.floor(points).astype(int)
    count = np.bincount(cells[:, 0] * 3 + cells[:, 1], minlength=9).reshape(3, 3)
    assert count[np.asarray(rho) == 0].sum() == 0
    assert chisquare(np.diag(count), DRAWS * np.array([1, 2, 3]) / 6).pvalue > 1e-3
    np.testing.assert_allclose((points - cells).mean(0), 0.5, atol=4 / np.sqrt(12 * DRAWS))


def test_draws_in_batches_and_of_nan():
    atoms = fm.Particles(jnp.arange(4.0)[:, None], weights=jnp.array([0.0, 1.0, 0.0, 0.0]))
    drawn = jax.vmap(lambda key: atoms.sample(key, 3))(jr.split(jr.key(4), 5))
    np.testing.assert_array_equal(drawn, 1.0)
    lost = jax.jit(lambda log_w: fm.Particles(jnp.ones((2, 1)), log_w).sample(jr.key(5), 3))
    assert jnp.all(jnp.isnan(lost(jnp.array([0.0, jnp.nan]))))


@pytest.mark.parametrize("n", [1, 2, 5, 16, 17])
def test_every_number_of_atoms(n):
    weights = jnp.arange(1.0, n + 1)
    label = fm.Particles((jnp.zeros((n, 1)), jnp.arange(n)), weights=weights).sample(
        jr.key(n), DRAWS
    )[1]
    count = np.bincount(label, minlength=n)
    assert n == 1 or chisquare(count, DRAWS * weights / weights.sum()).pvalue > 1e-3
