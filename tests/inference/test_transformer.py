"""Transformers by their weights: hidden states against a forward pass written in NumPy."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from transformer_models import (
    ALBERT,
    BERT,
    DEPTH,
    GROUP,
    HEADS,
    TOKENS,
    D,
    draw,
    encoder,
    exact,
    forward_encoder,
    forward_gpt2,
    gpt2,
    norm,
    soft,
)

import flowjax_measures as fm


def cases():
    rng = np.random.default_rng(0)
    one = gpt2(rng)
    two = encoder(rng, "encoder.layer.{}.", BERT)
    three = encoder(rng, GROUP, ALBERT, width=4)
    into = "encoder.embedding_hidden_mapping_in"
    three |= {into + ".weight": draw(rng, D, 4), into + ".bias": draw(rng, D)}
    return {
        "gpt2": (one, None, forward_gpt2(one)),
        "bert": (two, None, forward_encoder(two, "encoder.layer.{}.", BERT, exact)),
        "albert": (three, DEPTH, forward_encoder(three, GROUP, ALBERT, soft)),
    }


CASES = cases()


@pytest.mark.parametrize("kind", CASES)
def test_hidden_states_layer_by_layer(kind):
    weights, depth, states = CASES[kind]
    model = fm.read_transformer(weights, HEADS, depth=depth)
    tokens = model.embed(TOKENS)
    run = fm.simulate(model.system, tokens, jnp.arange(DEPTH + 1.0), dt=1.0, solver=diffrax.Euler())
    assert np.allclose(run.ys.x, states, rtol=1e-9, atol=1e-10)
    last = jax.jit(fm.layers(model.system, model.depth, time=float(model.depth)))(tokens)
    assert np.allclose(last.x, states[-1], rtol=1e-9, atol=1e-10)
    if kind == "gpt2":
        assert np.allclose(
            jax.vmap(model.end)(last.x),
            norm(
                states[-1],
                {k.removeprefix("transformer."): v for k, v in weights.items()},
                "ln_f",
                1e-5,
            ),
            atol=1e-9,
        )


def test_files_of_arrays_and_what_they_lack(tmp_path):
    weights, _, states = CASES["gpt2"]
    np.savez(tmp_path / "model.npz", **weights)
    model = fm.read_transformer(tmp_path / "model.npz", HEADS, kind="gpt2", depth=1)
    assert model.depth == 1 and np.allclose(model.embed(TOKENS).x, states[0])
    single = {name: value.astype(np.float32) for name, value in weights.items()}
    save_file(single, tmp_path / "model.safetensors")
    model = fm.read_transformer(tmp_path / "model.safetensors", HEADS)
    tokens = model.embed(TOKENS)
    assert model.depth == DEPTH and tokens.x.dtype == jnp.float32
    assert np.allclose(
        fm.layers(model.system, DEPTH, time=3.0)(tokens).x, states[-1], rtol=1e-4, atol=1e-4
    )
    missing = {k: v for k, v in weights.items() if "h.1.mlp.c_fc.bias" not in k}
    with pytest.raises(ValueError, match=r"lacks the tensor 'h\.1\.mlp\.c_fc\.bias'"):
        fm.read_transformer(missing, HEADS)
    name = "transformer.h.0.attn.c_proj.weight"
    with pytest.raises(ValueError, match=r"c_proj\.weight' has shape \(8, 7\)"):
        fm.read_transformer(weights | {name: np.ones((D, D - 1))}, HEADS)
    with pytest.raises(ValueError, match="`heads` is 3"):
        fm.read_transformer(weights, 3)
    with pytest.raises(ValueError, match="`depth` is None"):
        fm.read_transformer(CASES["albert"][0], HEADS)
    with pytest.raises(ValueError, match=r"`weights` is 'model\.bin'"):
        fm.read_transformer("model.bin", HEADS)
    with pytest.raises(ValueError, match="`types` is given"):
        model.embed(TOKENS, types=TOKENS)
    with pytest.raises(ValueError, match="no known family"):
        fm.read_transformer({"x": np.ones(3)}, 1)
    with pytest.raises(ValueError, match="numbers that are not 0 … 10"):
        model.embed([3, 11])


def test_blocks_tend_to_the_sum_at_rate_one():
    tokens = fm.initial.uniform_on_sphere(jax.random.key(0), 6, 3)
    tokens = fm.Particles(tokens.x)
    attention = fm.SelfAttention(beta=2.0)
    perceptron = fm.FeedForward(jnp.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]]))
    flow = fm.simulate(attention + perceptron, tokens, [0.0, 1.0], dt=0.01).final.x

    def error(count):
        block = fm.TransformerBlock(attention, perceptron, step=1 / count)
        return np.abs(fm.layers(block, count)(tokens).x - flow).max()

    assert np.isclose(np.log2(error(32) / error(64)), 1, atol=0.1)


@pytest.mark.parametrize("placement", ["pre", "post", "peri"])
def test_normalisations_of_a_block(placement):
    x = np.random.default_rng(1).normal(size=(5, 3))
    first, second = fm.LayerNorm(jnp.array([1.0, 2.0, 0.5])), fm.LayerNorm(epsilon=0.1)
    block = fm.TransformerBlock(
        fm.LinearAttention(beta=0.7), fm.FeedForward(activation=jnp.tanh), (first, second),
        placement, step=0.5,
    )  # fmt: skip
    stretch = lambda v, e: (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + e)  # noqa: E731
    one = lambda v: stretch(v, 1e-5) * np.array([1.0, 2.0, 0.5])  # noqa: E731
    two, attend = lambda v: stretch(v, 0.1), lambda v: 0.7 * v @ (v.T @ v) / 5
    if placement == "post":
        y = one(x + 0.5 * attend(x))
        end = two(y + 0.5 * np.tanh(y))
    elif placement == "pre":
        y = x + 0.5 * attend(one(x))
        end = y + 0.5 * np.tanh(two(y))
    else:
        y = x + 0.5 * one(attend(one(x)))
        end = y + 0.5 * two(np.tanh(two(y)))
    drift = block(0.0, fm.Particles(jnp.asarray(x))).drift.x
    assert np.allclose(drift, (end - x) / 0.5, atol=1e-12)


@pytest.mark.slow
def test_parts_of_a_block_only_move_tokens():
    tokens = fm.Particles(jnp.ones((4, 3)))
    noisy = fm.SelfAttention() + fm.RandomMLPNoise("relu", 0.5)
    for block in (fm.TransformerBlock(noisy, fm.FeedForward()), fm.WithConstant(noisy)):
        with pytest.raises(ValueError, match="Sum has noise or growth, which would be lost"):
            block(0.0, tokens)
    with pytest.raises(ValueError, match=r"points \(token, label\)"):
        labelled = fm.Particles((jnp.ones((4, 3)), jnp.arange(4)))
        fm.TransformerBlock(fm.SelfAttention(), fm.FeedForward())(0.0, labelled)
    with pytest.raises(ValueError, match="`mu` is to have points of shape"):
        fm.transport_representation(lambda mu: mu, labelled)
