import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.kernels._base import convolve

X, Y = jr.normal(jr.key(0), (2, 9, 3))
MU = fm.Particles(Y, jnp.log(jnp.linspace(1.0, 2.0, 9)))


@pytest.mark.slow
def test_sorted_sums_and_their_gradients_are_those_of_pairs():
    kernel = fm.SlicedEnergyDistance(fm.sphere_directions(jr.key(1), 5, 3))

    def pairs(x):
        return MU.mean(lambda y: kernel(x, y))

    for x in (X[0], Y[2]):
        np.testing.assert_allclose(convolve(kernel, x, MU), pairs(x), rtol=1e-12)
    np.testing.assert_allclose(
        jax.grad(lambda x: convolve(kernel, x, MU))(X[0]), jax.grad(pairs)(X[0]), rtol=1e-12
    )


def test_on_the_line_it_is_the_energy_distance():
    mu, nu = fm.Particles(X[:, :1]), fm.Particles(Y[:, :1])
    sliced = fm.MMD(nu, fm.SlicedEnergyDistance(jnp.ones((1, 1))))
    np.testing.assert_allclose(sliced(mu), fm.MMD(nu, fm.EnergyDistance())(mu), rtol=1e-12)


@pytest.mark.parametrize("dimension", [2, 3, 7])
def test_directions_are_unbiased_with_the_stated_error(dimension):
    count = 4000
    z = jr.normal(jr.key(2), (dimension,))
    directions = fm.sphere_directions(jr.key(3), count, dimension)
    kernel = fm.SlicedEnergyDistance(directions)
    found = -kernel(z, 0 * z) / jnp.linalg.norm(z)
    # The spread of one direction, measured; the mean is within four standard errors.
    spread = jnp.std(kernel._scale() * jnp.abs(directions @ z)) / jnp.linalg.norm(z)
    assert abs(found - 1) < 4 * kernel.error
    np.testing.assert_allclose(spread / count**0.5, kernel.error, rtol=0.05)
