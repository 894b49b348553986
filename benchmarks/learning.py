"""Steps a second of `learn` beside a scan of optax written by hand; and of draws from atoms.

python benchmarks/learning.py
"""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

import flowjax_measures as fm
from flowjax_measures.fitting._training import Trainer

BATCH, STEPS = 256, 2000
DATA = jr.normal(jr.key(0), (5000, 2))


def by_hand(network):
    """A compiled scan of Adam on flow matching, and its arguments."""
    arrays, rest = eqx.partition(network, eqx.is_inexact_array)
    optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 100, STEPS))

    def loss(arrays, key):
        one, two, three = jr.split(key, 3)
        x, y = jr.normal(one, (BATCH, 2)), DATA[jr.randint(two, (BATCH,), 0, len(DATA))]
        t = jr.uniform(three, (BATCH,))
        point = (1 - t)[:, None] * x + t[:, None] * y
        found = jax.vmap(eqx.combine(arrays, rest))(t, point)
        return jnp.mean(jnp.sum((found - (y - x)) ** 2, axis=1))

    def step(carry, key):
        arrays, state = carry
        value, slope = jax.value_and_grad(loss)(arrays, key)
        move, state = optimizer.update(slope, state, arrays)
        return (optax.apply_updates(arrays, move), state), value

    start = arrays, optimizer.init(arrays)
    return jax.jit(lambda keys: jax.lax.scan(step, start, keys)), jr.split(jr.key(1), STEPS)


def seconds(run):
    """The least processor time of three calls after the first."""
    jax.block_until_ready(run())
    found = []
    for _ in range(3):
        start = time.process_time()
        jax.block_until_ready(run())
        found.append(time.process_time() - start)
    return min(found)


def main():
    network = fm.MLP(2, width=64, time=0, key=jr.key(2))
    flow = fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(2), jnp.eye(2)), fm.Particles(DATA))
    scan, keys = by_hand(network)
    hand = STEPS / seconds(lambda: scan(keys))

    trainer = Trainer(
        lambda v, key: fm.flow_matching_loss(v, flow, key, BATCH), network,
        optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 100, STEPS)), 0.999, jr.key(1),
    )  # fmt: skip
    # The compiled loop of `learn` alone, as the scan by hand is timed.
    learn = STEPS / seconds(lambda: trainer.advance(trainer.start, 0, STEPS, STEPS))
    print(f"steps/s: by hand {hand:.0f}, learn {learn:.0f}, ratio {learn / hand:.2f}")
    draw = jax.jit(lambda mu, key: mu.sample(key, 256))
    for name, mu in (("equal", fm.Particles(DATA)), ("weighted", fm.Particles(DATA, DATA[:, 0]))):
        each = seconds(lambda mu=mu: [draw(mu, key) for key in keys[:200]]) / 200
        print(f"256 of {len(DATA)} atoms, {name}: {1e3 * each:.3f} ms")


if __name__ == "__main__":
    main()
