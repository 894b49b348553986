"""Tokens that learn from their context: linear regression and retrieval.

    python examples/attention_training.py

The answer to a query is read off a token that moves in the field of the examples. Its matrices
θ(t), constant on four layers of depth, are learned by gradients through the flow.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

import flowjax_measures as fm

LAYERS, STEP, TASKS = 4, 1 / 16, 64


def regression(key, n=20, d=3):
    """Examples (x, ⟨w, x⟩) of an unseen w, and one x whose answer is asked."""
    first, second = jr.split(key)
    w, x = jr.normal(first, (d,)) / jnp.sqrt(d), jr.normal(second, (n + 1, d))
    tokens = jnp.concatenate([x, (x @ w)[:, None]], axis=1)
    return tokens[1:], tokens[0].at[-1].set(0.0), tokens[0, -1]


def retrieval(key, n=8, d=8):
    """Pairs (key, ±1) with new random keys, one of which is asked for."""
    first, second, third = jr.split(key, 3)
    keys = jr.normal(first, (n, d)) / jnp.sqrt(d)
    tokens = jnp.concatenate([keys, jr.rademacher(second, (n, 1), keys.dtype)], axis=1)
    asked = tokens[jr.randint(third, (), 0, n)]
    return tokens, asked.at[-1].set(0.0), asked[-1]


def depth_of(parameters, attention):
    """The flow whose matrices these are."""
    return attention(*(fm.PiecewiseConstant(p) for p in parameters))


def answer(parameters, attention, context, query):
    """The last coordinate of the query at depth 1."""
    run = fm.in_context(
        depth_of(parameters, attention), fm.Particles(context), query[None], [0.0, 1.0],
        dt=STEP, solver=diffrax.Euler(), throw=False,
    )  # fmt: skip
    return run.final["queries"].x[0, -1]


def loss(parameters, attention, task, key):
    """The mean square of the error over new tasks, and the share of answers of the right sign."""
    context, query, truth = jax.vmap(task)(jr.split(key, TASKS))
    given = jax.vmap(lambda c, q: answer(parameters, attention, c, q))(context, query)
    return jnp.mean((given - truth) ** 2), jnp.mean(given * truth > 0)


def train(attention, task, key, steps=1000, rate=1e-2):
    """Adam on fresh tasks; returns the parameters and the loss of every step."""
    d = jax.eval_shape(task, key)[1].shape[0]
    parameters = tuple(0.3 * jr.normal(k, (LAYERS, d, d)) / jnp.sqrt(d) for k in jr.split(key, 3))
    schedule = optax.cosine_decay_schedule(rate, steps)
    # Linear attention may blow up: a batch with such a run is left out.
    optimizer = optax.apply_if_finite(
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)), steps
    )

    def step(carry, key):
        parameters, state = carry
        (value, _), slope = jax.value_and_grad(loss, has_aux=True)(parameters, attention, task, key)
        updates, state = optimizer.update(slope, state, parameters)
        return (optax.apply_updates(parameters, updates), state), value

    @eqx.filter_jit
    def run(parameters, keys):
        return jax.lax.scan(step, (parameters, optimizer.init(parameters)), keys)

    (parameters, _), losses = run(parameters, jr.split(jr.fold_in(key, 1), steps))
    return parameters, losses


PROBLEMS = {
    "regression": (fm.LinearAttention, regression),
    "retrieval": (fm.SelfAttention, retrieval),
}


def main():
    for name, (attention, task) in PROBLEMS.items():
        parameters, _ = train(attention, task, jr.key(0))
        keys = jr.split(jr.key(99), 16)
        error, right = jax.vmap(lambda k: loss(parameters, attention, task, k))(keys)  # noqa: B023
        print(
            f"{name}: mean square {jnp.mean(error):.4f} (answering 0: 1), "
            f"right sign {100 * jnp.mean(right):.1f}%"
        )


if __name__ == "__main__":
    main()
