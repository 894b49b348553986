"""The Pallas kernel, interpreted, beside the tiles."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures._reduce import _kernel

X = jr.normal(jr.key(0), (70, 3), jnp.float32)
Y = jr.normal(jr.key(1), (150, 3), jnp.float32)
LOG_W = jnp.where(
    jnp.arange(150) % 7 == 0, -jnp.inf, 0.1 * jr.normal(jr.key(2), (150,), jnp.float32)
)


@pytest.fixture
def calls(monkeypatch):
    """How many times the kernel was taken."""
    seen = []
    real = _kernel.attention
    monkeypatch.setattr(_kernel, "attention", lambda *a: seen.append(1) or real(*a))
    return seen


def tilted(block, log_w, points=Y):
    mu = fm.Particles(points, log_w, block=block)

    def one(x):
        return mu.tilt(lambda y: (y, 2 * y[:1]), lambda y: 3 * jnp.vdot(x, y) + jnp.sum(x))

    return jax.jit(jax.vmap(one))


@pytest.mark.parametrize("log_w", [None, LOG_W], ids=["even", "weighted"])
def test_the_kernel_equals_the_tiles(calls, log_w):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-6, atol=1e-6),
        tilted("pallas", log_w)(X), tilted(None, log_w)(X),
    )  # fmt: skip
    assert calls


def test_its_derivatives_are_those_of_the_tiles(calls):
    def loss(block):
        return jax.grad(lambda x: jnp.sum(jnp.sin(tilted(block, None, x)(x)[0][0])))

    # Round-off of sums of size 5 in float32.
    np.testing.assert_allclose(loss("pallas")(X), loss(None)(X), rtol=1e-5, atol=2e-5)
    assert calls


def test_other_tilts_take_tiles(calls):
    mu = fm.Particles(Y, block="pallas")
    kernel = fm.GaussianKernel(jnp.float32(1.0))
    found = jax.vmap(lambda x: mu.logmean(lambda y: kernel.log(x, y)))(X)
    plain = jax.vmap(lambda x: fm.Particles(Y).logmean(lambda y: kernel.log(x, y)))(X)
    np.testing.assert_allclose(found, plain, rtol=1e-6)
    assert not calls
