"""Transformers that learn in context: blocks, plain and accelerated, on three small tasks.

python benchmarks/attention_training.py [regression | retrieval | causal] [STEPS]

`plain` are `TransformerBlock`s; `Nesterov` are `InertialBlock`s whose attention is a force in the
space of tokens, the baseline; `SympFormer` are those of the flow on the density manifold. All have
four layers of two heads and a perceptron, and learn by Adam; accelerated ones also learn the sizes
of their steps and a log-linear damping.
"""

import sys
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import flowjax_measures as fm

D, LAYERS, HIDDEN, BATCH = 12, 4, 24, 64


def padded(parts):
    """Tokens side by side, with zeros up to D."""
    tokens = jnp.concatenate(parts, 1)
    return jnp.pad(tokens, ((0, 0), (0, D - tokens.shape[1])))


def regression(key, n=12, d=3):
    """Examples (x, ⟨w, x⟩) of an unseen w; the first token asks, and is to answer."""
    first, second = jr.split(key)
    w, x = jr.normal(first, (d,)) / jnp.sqrt(d), jr.normal(second, (n + 1, d))
    asks = jnp.arange(n + 1.0)[:, None] < 1
    return padded([x, jnp.where(asks, 0.0, (x @ w)[:, None]), asks]), (x @ w)[:1], jnp.arange(1)


def retrieval(key, n=8, d=8):
    """Pairs (key, ±1), of which the first token asks for one."""
    first, second, third = jr.split(key, 3)
    keys = jr.normal(first, (n, d)) / jnp.sqrt(d)
    signs, one = jr.rademacher(second, (n,), keys.dtype), jr.randint(third, (), 0, n)
    asks = jnp.arange(n + 1.0)[:, None] < 1
    keys, given = jnp.concatenate([keys[one][None], keys]), jnp.append(0.0, signs)[:, None]
    return padded([keys, given, asks]), signs[one][None], jnp.arange(1)


def causal(key, n=12, d=2):
    """x₁, (x₁, y₁), x₂, (x₂, y₂), …: each x is to answer from what came before it."""
    first, second = jr.split(key)
    w, x = jr.normal(first, (d,)) / jnp.sqrt(d), jr.normal(second, (n, d))
    y = (x @ w)[:, None]
    asks = padded([x, 0 * y, jnp.ones_like(y)]).reshape(n, 1, D)
    told = padded([x, y, 0 * y]).reshape(n, 1, D)
    # The last half has seen enough.
    late = jnp.arange(n // 2, n)
    return jnp.concatenate([asks, told], 1).reshape(2 * n, D), y[late, 0], 2 * late


TASKS = {"regression": regression, "retrieval": retrieval, "causal": causal}
KINDS = ("plain", "Nesterov", "SympFormer")


def untrained(key, kind):
    shapes = {
        "query": (2, D, D), "key": (2, D, D), "value": (2, D, D), "in": (HIDDEN, D),
        "bias": (HIDDEN,), "out": (D, HIDDEN),
    }  # fmt: skip
    keys, scale = jr.split(key, len(shapes)), {"in": 1.0, "bias": 0.0}
    weights = {
        name: scale.get(name, 0.5) * jr.normal(k, (LAYERS, *shape)) / shape[-1] ** 0.5
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    weights |= {"size": jnp.full(LAYERS, 0.5), "level": jnp.zeros(()), "slope": -jnp.ones(())}
    return weights | {"read": jr.normal(jr.fold_in(key, 1), (D,)) / D**0.5}


def answers(weights, kind, tokens, places, is_causal):
    of = lambda name: fm.PiecewiseConstant(weights[name], float(LAYERS))  # noqa: E731
    perceptron = fm.FeedForward(of("in"), of("bias"), of("out"), jax.nn.gelu)
    attention = fm.SelfAttention(of("query"), of("key"), of("value"), causal=is_causal)
    if kind == "plain":
        norms = (fm.LayerNorm(), fm.LayerNorm())
        block, start = fm.TransformerBlock(attention, perceptron, norms), fm.Particles(tokens)
    else:
        if kind == "SympFormer":
            attention = fm.SympFormer(query=of("query"), key=of("key"))
        damping = fm.LogLinear(weights["level"], weights["slope"])
        block = fm.InertialBlock(attention, perceptron, damping, fm.LayerNorm(), size=of("size"))
        start = fm.Particles(fm.Phase(tokens, jnp.zeros_like(tokens)))
    end = fm.layers(block, LAYERS, time=float(LAYERS))(start).x
    return (end if kind == "plain" else end.q)[places] @ weights["read"]


def train(kind, task, steps, seed=0):
    """Adam on fresh tasks: the losses on the way, and on new tasks at the end."""
    weights, is_causal = untrained(jr.key(seed), kind), task is causal
    schedule = optax.cosine_decay_schedule(3e-3, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def loss(weights, key, count=BATCH):
        tokens, truth, places = jax.vmap(task)(jr.split(key, count))
        given = jax.vmap(lambda t, p: answers(weights, kind, t, p, is_causal))(tokens, places)
        return jnp.mean((given - truth) ** 2)

    def step(carry, key):
        weights, state = carry
        value, slope = jax.value_and_grad(loss)(weights, key)
        updates, state = optimizer.update(slope, state, weights)
        return (optax.apply_updates(weights, updates), state), value

    run = jax.jit(lambda w, keys: jax.lax.scan(step, (w, optimizer.init(w)), keys))
    (weights, _), losses = run(weights, jr.split(jr.key(seed + 1), steps))
    return weights, losses, float(jax.jit(lambda w: loss(w, jr.key(999), 2048))(weights))


def main(names, steps):
    for name in names:
        for kind in KINDS:
            if name == "causal" and kind == "SympFormer":
                continue
            begin, ends = time.process_time(), []
            for seed in range(3):
                weights, _, end = train(kind, TASKS[name], steps, seed)
                ends.append(end)
            learnt = "" if kind == "plain" else (
                f"; steps {np.round(weights['size'], 2)}, damping e^({float(weights['level']):.2f} "
                f"{float(weights['slope']):+.2f} log(1 + t))"
            )  # fmt: skip
            seconds = time.process_time() - begin
            print(
                f"{name}, {kind}: mean square on new tasks, three seeds, "
                f"{np.round(sorted(ends), 4)}{learnt}; CPU {seconds:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    count = int(sys.argv.pop()) if sys.argv[-1].isdigit() else 1000
    main(sys.argv[1:] or list(TASKS), count)
