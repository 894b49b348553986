"""Deep transformers in the maximal-local-update scaling, against loops and their own limit."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowjax_measures as fm

INPUTS = jr.normal(jr.key(0), (2, 3, 2))
TARGETS = jnp.sin(2 * INPUTS[:, :, 0].mean(1, keepdims=True))


def plain_risk(network, weights):
    """The forward pass in loops over layers, heads and tokens."""
    total = 0.0
    for z, y in zip(np.asarray(INPUTS), np.asarray(TARGETS), strict=True):
        x = z @ np.asarray(weights.embedding).T
        for layer in range(network.L):
            Q, K, V, O, u, v = (np.asarray(a[layer]) for a in weights.layers)  # noqa: E741
            moved = np.zeros_like(x)
            for m in range(network.M):
                for i in range(len(x)):
                    seen = x[: i + 1] if network.causal else x
                    p = np.exp([Q[m] @ x[i] @ (K[m] @ y) / np.sqrt(network.k) for y in seen])
                    moved[i] += O[m].T @ (V[m] @ (p @ seen / p.sum())) / np.sqrt(network.k)
                    moved[i] += v[m] * np.tanh(u[m] @ x[i])
            x = x + moved / (network.L * network.M)
        total += np.sum((x[-1] @ np.asarray(weights.readout) - y) ** 2)
    return total / len(INPUTS)


@pytest.mark.parametrize("causal", [False, True])
def test_forward_and_training(causal):
    network = fm.ResidualTransformer(2, 3, 4, 2, (INPUTS, TARGETS), causal=causal)
    weights = network.weights(jr.key(1))
    assert np.isclose(network.risk(weights), plain_risk(network, weights), rtol=1e-12)
    if causal:
        return
    drift, h, scale = network(0.0, weights).drift, 1e-6, network.L * network.M
    for name in ("query", "key", "value", "output", "u", "v"):
        a = getattr(weights, name)
        where = (1, 0, *(1,) * (a.ndim - 2))
        moved = [jax.tree.map(lambda b: b, weights) for _ in range(2)]
        for one, sign in zip(moved, (1, -1), strict=True):
            object.__setattr__(one, name, a.at[where].add(sign * h))
        slope = np.subtract(*(plain_risk(network, one) for one in moved)) / (2 * h)
        assert np.isclose(getattr(drift, name)[where], -scale * slope, rtol=1e-6, atol=1e-8), name
    assert drift.embedding is None and drift.readout is None


@pytest.mark.slow
def test_the_limit_lives_in_the_span_of_embedding_and_readout():
    """Weights orthogonal to A and C change nothing: D = 5 and its three coordinates agree."""
    network = fm.ResidualTransformer(2, 4, 5, 1, (INPUTS, TARGETS), order=2)
    weights = network.weights(jr.key(1))
    small, seen = network.limit(weights, jr.key(2), 2, 4)
    assert (small.L, small.M, small.D, small.order) == (2, 4, 3, 2)
    q, _ = np.linalg.qr(np.concatenate([weights.embedding, weights.readout], 1))
    back = jax.tree.map(lambda a: a @ q.T, seen.layers)
    frame = fm.TransformerWeights(weights.embedding, *back, weights.readout)
    assert np.isclose(network.risk(frame), small.risk(seen), rtol=1e-12)
    assert np.allclose(small.states(seen)[-1], INPUTS @ seen.embedding.T, atol=1e-12)
    there, here = network(0.0, frame).drift, small(0.0, seen).drift
    for one, two in zip(there.layers, here.layers, strict=True):
        assert np.allclose(one, two @ q.T, atol=1e-12)


@pytest.mark.slow
def test_distance_to_the_limit_by_hidden_width():
    """At fixed D and one head a layer, depth alone brings the trained network to its limit."""
    data = jnp.tile(INPUTS, (2, 1, 1)), jnp.tile(TARGETS, (2, 1))
    wide = fm.ResidualTransformer(2, 1, 6, 1, data, clip=2.0)
    frame = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 3)))[0]

    def trained(network, weights):
        for _ in range(2):
            drift = network(0.0, weights).drift
            new = [a + 0.5 * b for a, b in zip(weights.layers, drift.layers, strict=True)]
            weights = fm.TransformerWeights(weights.embedding, *new, weights.readout)
        return network.states(weights)[-1]

    def framed(weights):
        ends = jnp.asarray(frame[:, :2]), jnp.asarray(frame[:, 2:])
        return fm.TransformerWeights(ends[0], *weights.layers, ends[1])

    network, start = wide.limit(framed(wide.weights(jr.key(0))), jr.key(3), 16, 2048)
    # The span's own coordinates, whose signs are those of a QR factorisation.
    turn = frame @ np.linalg.inv(np.concatenate([start.embedding, start.readout], 1))
    limit = jax.jit(lambda w: trained(network, w))(start) @ turn.T
    errors = []
    for depth in (64, 256, 1024):
        one = fm.ResidualTransformer(depth, 1, 6, 1, data, clip=2.0)
        run = jax.jit(lambda k, one=one: trained(one, framed(one.weights(k))))
        away = [run(k) - limit for k in jr.split(jr.key(4), 24)]
        errors.append(np.sqrt(np.mean(np.square(away))))
    slope = np.polyfit(np.log([64, 256, 1024]), np.log(errors), 1)[0]
    assert abs(slope + 0.5) < 0.12, errors
