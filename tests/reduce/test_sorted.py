"""Sums on the line by sorting against the sums over pairs."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures._reduce import sort_order


def test_the_order_is_the_stable_one():
    s = jnp.asarray([0.5, -2.0, jnp.inf, 0.5, -jnp.inf, 0.0, -1e-30, 3e38, -2.0], jnp.float32)
    np.testing.assert_array_equal(jax.jit(sort_order)(s), np.argsort(s, kind="stable"))
    s = jr.normal(jr.key(0), (3, 1000), jnp.float32)
    order = jax.jit(jax.vmap(sort_order))(s)
    np.testing.assert_array_equal(order, np.argsort(s, axis=1, kind="stable"))


def test_energy_distance_on_the_line_equals_the_sum_over_pairs():
    x = jr.normal(jr.key(0), (30, 1)).at[3].set(0.7).at[8].set(0.7)
    y = jr.normal(jr.key(1), (50, 1)).at[5].set(0.7)
    log_w = jr.normal(jr.key(2), (50,))

    def sorted_(x, y, log_w):
        mu, nu = fm.Particles(x), fm.Particles(y, log_w)
        energy = fm.MMD(nu, fm.EnergyDistance())
        velocity = jax.vmap(lambda p: energy.velocity(p, mu))(x)
        return fm.energy_distance(mu, nu), velocity

    def pairs(x, y, log_w):
        a, b = jnp.full(30, 1 / 30), jax.nn.softmax(log_w)
        # JAX's derivative of |z| at 0 is 1.
        norm = lambda z: jnp.where(z == 0, 0, jnp.abs(z))  # noqa: E731
        mean = lambda x, a, y, b: a @ norm(x - y.T) @ b  # noqa: E731
        sign = lambda y, b: jnp.sign(x - y.T) @ b  # noqa: E731
        value = 2 * mean(x, a, y, b) - mean(x, a, x, a) - mean(y, b, y, b)
        return value, (sign(x, a) - sign(y, b))[:, None]

    for p, q in zip(jax.jit(sorted_)(x, y, log_w), pairs(x, y, log_w), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-13)
    ours, truth = (
        jax.jit(jax.grad(lambda *a, f=f: f(*a)[0], (0, 1, 2)))(x, y, log_w)
        for f in (sorted_, pairs)
    )
    for p, q in zip(ours, truth, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-11, atol=1e-13)


@pytest.mark.slow
def test_a_sliced_flow_of_equal_weights_goes_by_rank():
    x = jr.normal(jr.key(0), (40, 3)).at[7].set(0.1).at[9].set(0.1)
    y = jr.normal(jr.key(1), (40, 3)) + 1
    uniform = jnp.full(40, -np.log(40))

    def flow(log_w):
        energy, mu = fm.SlicedWasserstein(fm.Particles(y, log_w)), fm.Particles(x, log_w)
        value, slope = jax.value_and_grad(lambda x: energy(fm.Particles(x, log_w)))(x)
        return value, slope, jax.vmap(lambda p: energy.velocity(p, mu))(x)

    for p, q in zip(flow(None), flow(uniform), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-10, atol=1e-12)
