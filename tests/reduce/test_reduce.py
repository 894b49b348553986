"""The tilted mean against the dense formula: values, derivatives, masks, memory."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm
from flowjax_measures._reduce import tilted_mean

N = 2051  # odd, and past one tile
SOURCES = jr.normal(jr.key(0), (N, 3))
TARGETS = jr.normal(jr.key(1), (5, 3))
LOG_W = jr.normal(jr.key(2), (N,))


def dense(sources, log_w, beta, targets):
    tilt = beta * targets @ sources.T + log_w
    return jax.nn.softmax(tilt, -1) @ jnp.sin(sources), jax.nn.logsumexp(tilt, -1)


def streamed(sources, log_w, beta, targets):
    def one(x):
        return tilted_mean(jnp.sin, lambda y: beta * jnp.vdot(x, y), sources, log_w, block=300)

    return jax.vmap(one)(targets)


def scalar(function):
    def loss(*arguments):
        mean, log_normaliser = function(*arguments)
        return jnp.sum(jnp.sin(mean)) + jnp.sum(jnp.cos(log_normaliser))

    return loss


ARGUMENTS = (SOURCES, LOG_W, jnp.asarray(1.5), TARGETS)


def test_equals_the_dense_formula():
    for a, b in zip(streamed(*ARGUMENTS), dense(*ARGUMENTS), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_gradient_with_respect_to_everything():
    ours = jax.jit(jax.grad(scalar(streamed), (0, 1, 2, 3)))(*ARGUMENTS)
    truth = jax.jit(jax.grad(scalar(dense), (0, 1, 2, 3)))(*ARGUMENTS)
    for a, b in zip(ours, truth, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_second_derivative():
    def second(function):
        inner = jax.grad(scalar(function), (2, 3))
        return jax.jit(jax.jacfwd(lambda b, x: inner(SOURCES, LOG_W, b, x), (0, 1)))

    ours, truth = (second(f)(ARGUMENTS[2], TARGETS) for f in (streamed, dense))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(truth), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_reverse_over_reverse():
    def twice(function):
        loss = lambda b: scalar(function)(SOURCES, LOG_W, b, TARGETS)  # noqa: E731
        return jax.jit(jax.grad(jax.grad(loss)))(ARGUMENTS[2])

    np.testing.assert_allclose(twice(streamed), twice(dense), rtol=1e-11)


@pytest.mark.slow
def test_masks_and_empty_masks():
    mu = fm.Particles(SOURCES[:7], block=3)

    def read(limit, beta):
        logits = lambda y: jnp.where(y[0] < limit, beta * y[1], -jnp.inf)  # noqa: E731
        return mu.mean(logits=logits), mu.logmean(logits)

    kept = SOURCES[:7][SOURCES[:7, 0] < 0.1]
    mean, log_normaliser = read(0.1, 2.0)
    weights = jax.nn.softmax(2.0 * kept[:, 1])
    np.testing.assert_allclose(mean, weights @ kept, rtol=1e-13)
    expected = jax.nn.logsumexp(2.0 * kept[:, 1]) - np.log(7)
    np.testing.assert_allclose(log_normaliser, expected, rtol=1e-13)

    mean, log_normaliser = read(-100.0, 2.0)
    assert np.all(mean == 0) and log_normaliser == -np.inf
    slope = jax.grad(lambda b: jnp.sum(read(-100.0, b)[0]))(2.0)
    assert slope == 0
    slope = jax.grad(lambda b: jnp.sum(read(0.1, b)[0]))(2.0)
    truth = jax.grad(lambda b: jnp.sum(jax.nn.softmax(b * kept[:, 1]) @ kept))(2.0)
    np.testing.assert_allclose(slope, truth, rtol=1e-12)


def test_huge_logits_do_not_overflow():
    mu = fm.Particles(SOURCES, block=100)
    mean = mu.mean(logits=lambda y: 1e8 * y[0])
    np.testing.assert_allclose(mean, SOURCES[jnp.argmax(SOURCES[:, 0])], rtol=1e-13)


def test_values_may_be_any_pytree():
    mu = fm.Particles({"a": SOURCES, "label": jnp.arange(N)}, block=100)
    mean = mu.mean(lambda y: {"square": y["a"] ** 2, "label": y["label"], "one": 1.0})
    np.testing.assert_allclose(mean["square"], jnp.mean(SOURCES**2, 0), rtol=1e-12)
    np.testing.assert_allclose(mean["label"], (N - 1) / 2, rtol=1e-13)
    np.testing.assert_allclose(mean["one"], 1.0, rtol=1e-13)


def test_logits_must_be_scalar():
    with pytest.raises(ValueError, match="`logits` must return a scalar"):
        fm.Particles(SOURCES).mean(logits=lambda y: y)


def _temporary_bytes(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def test_gradient_of_attention_takes_memory_of_n_times_block():
    x = jnp.zeros((8192, 16), jnp.float32)

    def loss(x):
        mu = fm.Particles(x)
        drift = fm.SelfAttention(beta=2.0)(jnp.zeros((), jnp.float32), mu).drift
        return jnp.sum(jnp.sin(drift.x))

    forward, backward = _temporary_bytes(loss, x), _temporary_bytes(jax.grad(loss), x)
    assert forward < 100e6 and backward < 100e6  # the dense formula's gradient takes 768 MB
