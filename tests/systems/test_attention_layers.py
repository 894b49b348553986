"""What all kinds of attention share, against sums in NumPy."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

N, D, H = 6, 4, 3
X = jr.normal(jr.key(0), (N, D))
W = jax.nn.softmax(jr.normal(jr.key(1), (N,)))
MU = fm.Particles(X, weights=W)
Q, K = jr.normal(jr.key(2), (2, H, 2, D)) / 2
V, OUT = jr.normal(jr.key(3), (H, 3, D)), jr.normal(jr.key(4), (H, D, 3))
BETA = jnp.array([0.5, 1.0, -0.7])
BIAS = jr.normal(jr.key(5), (H, N, N))
MASK = jr.bernoulli(jr.key(6), 0.6, (N, N)) | jnp.eye(N, dtype=bool)


def relations(causal: bool = False):
    """What each head adds to the logits, shape (H, N, N)."""
    seen = np.array(MASK) & (np.tri(N, dtype=bool) if causal else True)
    return np.where(seen, BIAS, -np.inf)


def scores(kind):
    q, k = np.einsum("hkd,nd->hnk", Q, X), np.einsum("hkd,nd->hnk", K, X)
    dot = np.einsum("hik,hjk->hij", q, k)
    if kind is fm.L2Attention:
        dot = -np.sum((q[:, :, None] - k[:, None]) ** 2, -1)
    return np.array(BETA)[:, None, None] * dot


def matrix(kind, causal):
    """The matrices of attention, written down."""
    w, relation = np.array(W), relations(causal)
    if kind is fm.LinearAttention:
        return scores(kind) * np.exp(relation) * w
    logits = scores(kind) + relation
    if kind is fm.CausalAttention:
        behind = np.subtract.outer(np.arange(N), np.arange(N)) / N
        logits = np.where(behind >= 0, logits - 1.5 * behind, -np.inf)
    weights = np.exp(logits) * w
    if kind is fm.SinkhornAttention:
        kernel = np.exp(logits)
        for count in range(5):
            axis = -1 if count % 2 == 0 else -2
            shape = (1, N) if axis == -1 else (N, 1)
            kernel = kernel / (kernel * w.reshape(shape)).sum(axis, keepdims=True)
        return kernel * w
    return weights / weights.sum(-1, keepdims=True)


KINDS = {
    fm.SelfAttention: {},
    fm.L2Attention: {},
    fm.LinearAttention: {},
    fm.MeanShift: {},
    fm.CausalAttention: {"recency": 1.5},
    fm.SinkhornAttention: {"iterations": 5},
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_heads_masks_and_biases_of_every_kind(kind):
    layer = kind(Q, K, V, BETA, output=OUT, bias=BIAS, mask=MASK, **KINDS[kind])
    expected = matrix(kind, kind is fm.CausalAttention)
    assert np.allclose(layer.weights(MU), expected, rtol=1e-12, atol=1e-14)
    read = np.einsum("hij,jd->hid", expected, X) - (kind is fm.MeanShift) * np.array(X)
    velocity = np.einsum("hdv,hvk,hik->id", OUT, V, read)
    assert np.allclose(layer(0.0, MU).drift.x, velocity, rtol=1e-11, atol=1e-12)


def test_heads_of_a_graph():
    edges = jr.normal(jr.key(7), (N, N))
    system = fm.GraphAttention(edges, Q, K, V, BETA, "mean", output=OUT, causal=True)
    weights = np.exp(scores(None)) * np.array(W) * np.tri(N) * np.array(edges)
    velocity = np.einsum("hdv,hvk,hij,jk->id", OUT, V, weights, X)
    assert np.allclose(system(0.0, MU).drift.x, velocity, rtol=1e-11, atol=1e-12)


@pytest.mark.slow
def test_relations_by_functions_and_by_labels():
    slopes = jnp.array([0.5, 0.25, 0.125])
    alibi = lambda i, j: -slopes * jnp.abs(i - j).astype(slopes.dtype)  # noqa: E731
    apart = np.abs(np.subtract.outer(np.arange(N), np.arange(N)))
    table = -np.array(slopes)[:, None, None] * apart
    by_function = fm.SelfAttention(Q, K, V, BETA, output=OUT, bias=alibi)
    by_array = fm.SelfAttention(Q, K, V, BETA, output=OUT, bias=jnp.asarray(table))
    assert np.allclose(by_function(0.0, MU).drift.x, by_array(0.0, MU).drift.x, atol=1e-13)
    order = jr.permutation(jr.key(8), N)
    labelled = fm.Particles((X[order], order.astype(jnp.int32)), weights=W[order])
    for system in (by_function, by_array):
        moved = system(0.0, labelled).drift.x[0]
        assert np.allclose(moved, by_array(0.0, MU).drift.x[order], atol=1e-13)
        assert np.allclose(
            system.weights(labelled), by_array.weights(MU)[:, order][:, :, order], atol=1e-14
        )


def test_rotary_positions_are_relative():
    layer = fm.SelfAttention(Q, K, output=None, beta=BETA, rotary=50.0)
    places = jnp.arange(N, dtype=jnp.int32)
    here, there = (fm.Particles((X, places + shift), weights=W) for shift in (0, 11))
    assert np.allclose(layer.weights(here), layer.weights(there), atol=1e-13)
    # One pair of coordinates, rate 1: a complex number times e^{i place}.
    q, k = (np.einsum("hkd,nd->hnk", m, X) @ np.array([1, 1j]) for m in (Q, K))
    turn = np.exp(1j * np.arange(N))
    ell = np.array(BETA)[:, None, None] * np.real(
        (q * turn)[:, :, None] * (k * turn).conj()[:, None]
    )
    weights = np.exp(ell) * np.array(W)
    expected = weights / weights.sum(-1, keepdims=True)
    assert np.allclose(layer.weights(here), expected, atol=1e-13)


@pytest.mark.slow
def test_sinkhorn_iterations_go_from_softmax_to_the_limit():
    field = lambda system: system(0.0, MU).drift.x  # noqa: E731
    softmax, limit = field(fm.SelfAttention(beta=0.6)), field(fm.SinkhornAttention(beta=0.6))
    assert np.allclose(field(fm.SinkhornAttention(beta=0.6, iterations=1)), softmax, atol=1e-13)
    assert np.allclose(field(fm.SinkhornAttention(beta=0.6, iterations=400)), limit, atol=1e-9)


@pytest.mark.slow
def test_nodes_of_a_gaussian_move_as_it_does_after_some_iterations():
    gaussian = fm.Gaussian(jnp.array([0.3, -0.2]), jnp.array([[1.0, 0.3], [0.3, 0.5]]))
    z, w = np.polynomial.hermite_e.hermegauss(16)
    nodes = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2) @ np.linalg.cholesky(gaussian.cov).T
    masses = np.outer(w, w).ravel() / w.sum() ** 2
    system = fm.SinkhornAttention(beta=0.6, iterations=4)
    drift = system(0.0, fm.Particles(jnp.asarray(gaussian.m + nodes), weights=masses)).drift.x
    closure = system(0.0, gaussian).drift
    moment = (nodes * masses[:, None]).T @ drift
    assert np.allclose(masses @ drift, closure.m, atol=1e-7)
    assert np.allclose(moment + moment.T, closure.cov, atol=1e-7)


@pytest.mark.slow
def test_a_masked_layer_has_its_derivative():
    def loss(scale):
        layer = fm.SinkhornAttention(scale * Q, K, V, BETA, output=OUT, mask=MASK, iterations=3)
        return jnp.sum(layer(0.0, MU).drift.x ** 2)

    step = 1e-5
    difference = (loss(1 + step) - loss(1 - step)) / (2 * step)
    assert np.isclose(jax.grad(loss)(1.0), difference, rtol=1e-7)


def test_inertial_tokens_with_depth_and_a_perceptron():
    phase = fm.Particles(fm.Phase(X, X[::-1] / 2), weights=W)
    matrix = jnp.stack([jnp.eye(D), 2 * jnp.eye(D)])
    deep = fm.SympFormer("softmax", lambda t: matrix[0] * (1 + t), beta=0.5)
    force = fm.FeedForward(K[0], output=K[0].T, activation=jnp.tanh)
    drift = (deep + force)(1.0, phase).drift.x
    alone = fm.SympFormer("softmax", matrix[1], beta=0.5)(1.0, phase).drift.x
    assert np.allclose(drift.q, alone.q, atol=1e-14)
    assert np.allclose(drift.p - alone.p, np.tanh(X @ K[0].T) @ K[0], atol=1e-13)
    with pytest.raises(ValueError, match=r"`matrix` has shape \(2, 4, 4\)"):
        fm.SympFormer("softmax", matrix)(0.0, phase)
