"""Standard normals in pairs: their generator, their law, and that steps alone name them."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from flowjax_measures.noise._normal_pairs import normal_pairs, threefry
from flowjax_measures.simulation._brownian import StepKeyed


def test_words_are_those_of_the_generator_of_jax():
    words, count = jr.key_data(jr.key(5)), jnp.arange(10, dtype=jnp.uint32)
    here = threefry((words[0], words[1]), (count[::-1], count))
    there = threefry_2x32(words, jnp.concatenate([count[::-1], count]))
    assert jnp.array_equal(jnp.concatenate(here), there)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairs_are_independent_standard_normals(dtype):
    n = 400_000
    z = np.asarray(normal_pairs(jr.key(0), n, dtype))
    assert z.real.dtype == dtype
    for part in (z.real, z.imag):
        assert stats.kstest(part.astype(float), "norm").pvalue > 0.01
        # Standard errors √(2/n) of the variance, √(96/n) of the fourth moment.
        assert abs(part.var() - 1) < 3 * np.sqrt(2 / n)
        assert abs(np.mean(part**4) - 3) < 3 * np.sqrt(96 / n)
    for a, b in ((z.real, z.imag), (z.real**2, z.imag**2), (z.real[1:], z.imag[:-1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 3 / np.sqrt(n)
    angles = np.angle(z.astype(complex)) / (2 * np.pi) + 0.5
    assert stats.kstest(angles, "uniform").pvalue > 0.01


@jax.jit
def _draws():
    """The normals of steps −2 … 6 at once, and parts of them as other programs ask."""
    shapes = (jax.ShapeDtypeStruct((3, 2), float), jax.ShapeDtypeStruct((), float))
    path = StepKeyed(jr.key(1), shapes)
    even = StepKeyed(jr.key(1), shapes, even=True)
    steps = lambda i, j: jnp.arange(i, j, dtype=jnp.int32)  # noqa: E731
    parts = {
        (0, 1): path.normals(steps(0, 1)),
        (-1, 4): path.normals(steps(-1, 4)),
        (1, 6): path.normals(steps(1, 6)),
        (2, 6): even.normals(steps(2, 6)),
        (4, 7): even.normals(steps(4, 7)),
        (5, 6): jax.tree.map(lambda z: z[None], path.one(jnp.int32(5))),
    }
    return path.normals(steps(-2, 7)), list(parts), list(parts.values())


@pytest.mark.slow
def test_a_step_has_its_normals_however_it_is_asked():
    whole, places, parts = _draws()
    for (i, j), part in zip(places, parts, strict=True):
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
            # Programs differ by round-off.
            np.testing.assert_allclose(a[int(i) + 2 : int(j) + 2], b, rtol=1e-13, atol=1e-15)
    assert len({float(z) for z in np.ravel(whole[0][0])}) == 54


@pytest.mark.parametrize("key", [jr.PRNGKey(3), jr.key(3, impl="rbg")])
def test_keys_of_other_kinds(key):
    z = np.asarray(normal_pairs(key, 1000, float))
    assert abs(z.mean()) < 4 / np.sqrt(1000) and abs(z.real.var() - 1) < 4 * np.sqrt(2 / 1000)
