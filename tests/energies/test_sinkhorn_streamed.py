"""Entropic transport without a matrix of costs: the same numbers and derivatives, less memory."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures.energies import _schrodinger as dense, _schrodinger_streamed as streamed

N, M, EPSILON = 60, 45, 0.4


def clouds():
    x = jr.normal(jr.key(0), (N, 3))
    y = 0.7 * jr.normal(jr.key(1), (M, 3)) + 3.0
    # An atom without mass, and masses that differ.
    log_a = jax.nn.log_softmax(jr.normal(jr.key(2), (N,)).at[4].set(-jnp.inf))
    return x, log_a, y, jnp.full(M, -jnp.log(45.0))


def value(x, tilt, epsilon):
    _, log_a, y, log_b = clouds()
    return streamed.streamed_cost(x, jax.nn.log_softmax(log_a + tilt), y, log_b, epsilon)


def known(x, tilt, epsilon):
    _, log_a, y, log_b = clouds()
    log_a = jax.nn.log_softmax(log_a + tilt)
    near, (f, g) = dense.centred(x, log_a, y, log_b)
    moved = jnp.vdot(jnp.exp(log_a), f) + jnp.vdot(jnp.exp(log_b), g)
    return dense.optimal_entropic_cost(near, log_a, log_b, epsilon) + moved


def test_values_and_derivatives_are_those_of_the_matrix():
    x, *_ = clouds()
    args = x, jnp.zeros(N), jnp.asarray(EPSILON)
    found, slopes = jax.jit(jax.value_and_grad(value, (0, 1, 2)))(*args)
    exact, expected = jax.jit(jax.value_and_grad(known, (0, 1, 2)))(*args)
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    for one, two in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-10)


@pytest.mark.slow
def test_potentials_have_their_true_derivative():
    x, log_a, y, log_b = clouds()
    weights = jr.normal(jr.key(5), (N,)).at[4].set(0.0)

    def read(potentials, x, y):
        f, g = potentials(x, log_a, y, log_b, jnp.asarray(EPSILON))
        return jnp.vdot(weights, f) + jnp.sum(g[:7])

    for one, two in zip(
        jax.jit(jax.grad(lambda *z: read(streamed.streamed_potentials, *z), (0, 1)))(x, y),
        jax.jit(jax.grad(lambda *z: read(dense.potentials, *z), (0, 1)))(x, y),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, atol=1e-9)


@pytest.mark.slow
def test_many_atoms_take_linear_memory():
    """The matrix of 20,000 atoms each would be 3.2 GB."""

    def cost(x, y):
        return fm.entropic_cost(fm.Particles(x), fm.Particles(y), 0.5)

    shape = jax.ShapeDtypeStruct((20_000, 3), jnp.float64)
    memory = jax.jit(jax.grad(cost)).lower(shape, shape).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 150e6


@pytest.mark.slow
def test_thousands_of_atoms():
    """Samples of two normal laws, against their closed form, within the error of a sample."""
    n, epsilon = 3000, 2.0
    one, two = fm.Gaussian(jnp.zeros(2), jnp.eye(2)), fm.Gaussian(jnp.ones(2), 0.5 * jnp.eye(2))
    mu, nu = (fm.Particles(m.sample(jr.key(k), n)) for k, m in enumerate((one, two)))
    found = fm.entropic_cost(mu, nu, epsilon)
    # The means differ by 1.22/√n in each coordinate, and by twice that in the square of 2.
    np.testing.assert_allclose(found, fm.entropic_cost(one, two, epsilon), atol=0.2)
    f, g = fm.entropic_potentials(mu, nu, epsilon)
    np.testing.assert_allclose(jnp.mean(f) + jnp.mean(g), found, rtol=1e-8)
