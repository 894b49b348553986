"""Variants of attention against sums written out, closed equations and matrix exponentials."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.linalg import expm

import flowjax_measures as fm

X = jr.normal(jr.key(0), (6, 3))
Q, K, V = (jr.normal(k, (3, 3)) / 3 for k in jr.split(jr.key(1), 3))


def velocity(system, x=X):
    return np.asarray(system(0.0, fm.Particles(x)).drift.x)


def test_linear_attention_closes_on_second_moments():
    system = fm.LinearAttention(Q, K, V, 0.7)
    scores = 0.7 * (X @ Q.T) @ (X @ K.T).T
    assert np.allclose(velocity(system), scores @ X @ V.T / 6, atol=1e-14)

    # M' = βV M KᵀQ M + (…)ᵀ for any particles: integrated as a matrix, it is that of the run.
    def closed(moment):
        half = 0.7 * V @ moment @ K.T @ Q @ moment
        return half + half.T

    moment, h = X.T @ X / 6, 0.01
    for _ in range(50):
        k1 = closed(moment)
        k2 = closed(moment + h / 2 * k1)
        k3 = closed(moment + h / 2 * k2)
        k4 = closed(moment + h * k3)
        moment = moment + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    final = fm.simulate(system, fm.Particles(X), [0.0, 0.5], dt=0.01).final.x
    assert np.allclose(final.T @ final / 6, moment, atol=1e-9)
    cov = X.T @ X / 6
    final = fm.simulate(system, fm.Gaussian(jnp.zeros(3), cov), [0.0, 0.5], dt=0.01).final
    assert np.allclose(final.cov, moment, atol=1e-9)


def test_linear_attention_on_several_devices():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("tokens",))
    ring = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("tokens"))
    system = fm.LinearAttention(Q, K, V, 0.7)
    drift = jax.jit(lambda x: system(0.0, fm.Particles(x, sharding=ring)).drift.x)(X)
    assert np.allclose(drift, velocity(system), atol=1e-14)


def test_l2_attention_and_its_closure():
    system = fm.L2Attention(Q, K, V, 0.7)
    squares = ((X @ Q.T)[:, None] - X @ K.T) ** 2
    weights = jax.nn.softmax(-0.7 * squares.sum(-1), axis=1)
    assert np.allclose(velocity(system), weights @ X @ V.T, atol=1e-14)
    m, cov = jnp.array([0.3, -0.2, 0.1]), 0.4 * jnp.eye(3) + 0.1
    tilted = np.linalg.inv(np.linalg.inv(cov) + 1.4 * K.T @ K)
    slope = 1.4 * V @ tilted @ K.T @ Q
    drift = jax.jit(lambda mu: system(0.0, mu).drift)(fm.Gaussian(m, cov))
    assert np.allclose(drift.m, V @ (m + 1.4 * tilted @ K.T @ (Q @ m - K @ m)), atol=1e-13)
    assert np.allclose(drift.cov, slope @ cov + (slope @ cov).T, atol=1e-13)


def test_causal_attention_is_self_attention_with_a_bias():
    i = jnp.arange(6)
    bias = -1.3 / 6 * (i[:, None] - i).astype(float)
    expected = velocity(fm.SelfAttention(Q, K, V, 2.0, causal=True, bias=bias))
    system = fm.CausalAttention(Q, K, V, 2.0, recency=1.3)
    assert np.allclose(velocity(system), expected, atol=1e-13)
    w = np.tril(np.exp(bias))
    expected = (w * np.exp(2.0 * (X @ Q.T) @ (X @ K.T).T)) @ X @ V.T / w.sum(1, keepdims=True)
    system = fm.CausalAttention(Q, K, V, 2.0, recency=1.3, normalization="positions")
    assert np.allclose(velocity(system), expected, atol=1e-13)


def test_causal_circle_is_causal_attention_of_its_points():
    angle = jnp.array([0.3, 2.0, 4.0, 5.5])
    x = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    system = fm.CausalAttention(beta=1.5, recency=0.8, normalization="positions")
    v = velocity(system, x)
    # W' is β times the exponential.
    turning = 1.5 * (v[:, 1] * jnp.cos(angle) - v[:, 0] * jnp.sin(angle))
    circle = velocity(fm.CausalCircle(1.5, 0.8), angle[:, None])
    assert np.allclose(circle[:, 0], turning, atol=1e-13)


@pytest.mark.parametrize("labelled", [False, True])
def test_graphs_average_linearly(labelled):
    w = jr.normal(jr.key(4), (6, 6))
    system = fm.GraphAttention(w, value=V, beta=0.0, normalization="mean")
    points = (X[::-1], jnp.arange(6)[::-1]) if labelled else X
    final = fm.simulate(system, fm.Particles(points), [0.0, 1.0], dt=0.01).final.x
    final = final[0][::-1] if labelled else final
    exact = expm(np.kron(w / 6, V)) @ X.ravel()
    assert np.allclose(final.ravel(), exact, atol=1e-10)


def test_graph_attention_written_out_and_masks():
    w = jnp.where(jr.bernoulli(jr.key(5), 0.6, (6, 6)), jr.uniform(jr.key(4), (6, 6)), 0.0)
    w = w.at[2].set(0.0)
    weights = w * np.exp(1.5 * (X @ Q.T) @ (X @ K.T).T)
    total = weights.sum(1, keepdims=True)
    expected = weights @ X / np.where(total == 0, 1, total)
    assert np.allclose(velocity(fm.GraphAttention(w, Q, K, beta=1.5)), expected, atol=1e-13)
    causal = fm.GraphAttention(lambda i, j: j <= i, beta=1.5)
    assert np.allclose(
        velocity(causal), velocity(fm.SelfAttention(beta=1.5, causal=True)), atol=1e-13
    )
    with pytest.raises(ValueError, match="each pair"):
        fm.GraphAttention(jnp.ones((2, 3)))


def test_hypergraphs():
    # Three bodies: w(i, j, k) ⟨x, y⟩ z − x, besides pairs y − x on the complete graph.
    w = jr.normal(jr.key(6), (6, 6, 6))
    kernels = (lambda x, y: y - x, lambda x, y, z: jnp.vdot(x, y) * z - x)
    system = fm.HypergraphInteraction(kernels, (None, w))
    expected = X.mean(0) - X
    expected = expected + np.einsum("ijk,ij,kd->id", w, X @ X.T, X) / 36
    expected = expected - w.sum((1, 2))[:, None] * X / 36
    assert np.allclose(velocity(system), expected, atol=1e-13)


def test_feed_forward_composes():
    bias = jnp.array([0.1, 0.0, -0.3])
    block = fm.SelfAttention(Q, K, V, 2.0, causal=True) + fm.FeedForward(Q, bias, V, jnp.tanh)
    expected = velocity(fm.SelfAttention(Q, K, V, 2.0, causal=True))
    expected = expected + np.tanh(X @ Q.T + bias) @ V.T
    assert np.allclose(velocity(block), expected, atol=1e-13)
