"""Transformers' forward passes in NumPy, and weights for them with the names of three families."""

import numpy as np
from scipy.special import erf

D, HEADS, INNER, WORDS, PLACES, DEPTH = 8, 2, 12, 11, 6, 3
TOKENS = np.array([3, 10, 0, 7, 3])


def draw(rng, *shape):
    return rng.normal(size=shape) / 2


def gpt2(rng):
    names = {
        "ln_1": (D,), "attn.c_attn": (D, 3 * D), "attn.c_proj": (D, D), "ln_2": (D,),
        "mlp.c_fc": (D, INNER), "mlp.c_proj": (INNER, D),
    }  # fmt: skip
    found = {"wte.weight": draw(rng, WORDS, D), "wpe.weight": draw(rng, PLACES, D)}
    found |= {"ln_f.weight": draw(rng, D), "ln_f.bias": draw(rng, D)}
    for k in range(DEPTH):
        for name, shape in names.items():
            found[f"transformer.h.{k}.{name}.weight"] = draw(rng, *shape)
            found[f"transformer.h.{k}.{name}.bias"] = draw(rng, shape[-1])
    return found


def encoder(rng, start, names, width=D):
    found = {
        "embeddings.word_embeddings.weight": draw(rng, WORDS, width),
        "embeddings.position_embeddings.weight": draw(rng, PLACES, width),
        "embeddings.token_type_embeddings.weight": draw(rng, 2, width),
        "embeddings.LayerNorm.weight": draw(rng, width),
        "embeddings.LayerNorm.bias": draw(rng, width),
    }
    for name, shape in names.items():
        for k in range(DEPTH):
            found[start.format(k) + name + ".weight"] = draw(rng, *shape)
            found[start.format(k) + name + ".bias"] = draw(rng, shape[0])
    return found


BERT = {
    "attention.self.query": (D, D), "attention.self.key": (D, D), "attention.self.value": (D, D),
    "attention.output.dense": (D, D), "attention.output.LayerNorm": (D,),
    "intermediate.dense": (INNER, D), "output.dense": (D, INNER), "output.LayerNorm": (D,),
}  # fmt: skip
ALBERT = {
    "attention.query": (D, D), "attention.key": (D, D), "attention.value": (D, D),
    "attention.dense": (D, D), "attention.LayerNorm": (D,), "ffn": (INNER, D),
    "ffn_output": (D, INNER), "full_layer_layer_norm": (D,),
}  # fmt: skip
GROUP = "encoder.albert_layer_groups.0.albert_layers.0."


def norm(x, w, name, eps):
    away = x - x.mean(1, keepdims=True)
    y = away / np.sqrt(x.var(1, keepdims=True) + eps)
    return y * w[name + ".weight"] + w[name + ".bias"]


def attend(q, k, v, causal, heads=HEADS):
    split = lambda a: a.reshape(len(a), heads, -1).transpose(1, 0, 2)  # noqa: E731
    shape, (q, k, v) = q.shape, (split(q), split(k), split(v))
    score = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    if causal:
        score = np.where(np.tri(len(score[0])), score, -np.inf)
    p = np.exp(score - score.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(shape)


def soft(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def forward_gpt2(w, tokens=TOKENS, depth=DEPTH):
    w = {k.removeprefix("transformer."): v for k, v in w.items()}
    x = w["wte.weight"][tokens] + w["wpe.weight"][: len(tokens)]
    states = [x]
    for k in range(depth):
        dense = lambda a, n, k=k: a @ w[f"h.{k}.{n}.weight"] + w[f"h.{k}.{n}.bias"]  # noqa: E731
        q, key, v = np.split(dense(norm(x, w, f"h.{k}.ln_1", 1e-5), "attn.c_attn"), 3, 1)
        x = x + dense(attend(q, key, v, True), "attn.c_proj")
        x = x + dense(soft(dense(norm(x, w, f"h.{k}.ln_2", 1e-5), "mlp.c_fc")), "mlp.c_proj")
        states.append(x)
    return states


def forward_encoder(w, start, names, gelu, tokens=TOKENS, heads=HEADS, depth=DEPTH):
    q, k, v, out, first, up, down, second = names
    x = w["embeddings.word_embeddings.weight"][tokens]
    x = x + w["embeddings.position_embeddings.weight"][: len(tokens)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], w, "embeddings.LayerNorm", 1e-12)
    if "encoder.embedding_hidden_mapping_in.weight" in w:
        into = "encoder.embedding_hidden_mapping_in"
        x = x @ w[into + ".weight"].T + w[into + ".bias"]
    states = [x]
    for n in range(depth):
        at = start.format(n)
        dense = lambda a, name, at=at: a @ w[at + name + ".weight"].T + w[at + name + ".bias"]  # noqa: E731
        y = x + dense(attend(dense(x, q), dense(x, k), dense(x, v), False, heads), out)
        y = norm(y, w, at + first, 1e-12)
        x = norm(y + dense(gelu(dense(y, up)), down), w, at + second, 1e-12)
        states.append(x)
    return states


def exact(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))
