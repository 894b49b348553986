"""Steps a second of `learn` beside a scan of optax written by hand; and of draws from atoms. With
torchcfm and flow_matching: how near to data in the plane each comes, with equal data and steps.

python benchmarks/learning.py [PYTHON], the interpreter of an environment that has these two.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import flowjax_measures as fm
from flowjax_measures.fitting._training import Trainer

BATCH, STEPS, PEERS = 256, 2000, ("torchcfm", "flow_matching")
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
    return jax.jit(lambda keys: jax.lax.scan(step, start, keys)), jr.split(jr.key(1), 500)


def seconds(runs, calls=3):
    """The median processor times of calls in turn, after a first of each; and of their ratios."""
    for run in runs:
        jax.block_until_ready(run())
    found = []
    for _ in range(calls):
        row = []
        for run in runs:
            start = time.process_time()
            jax.block_until_ready(run())
            row.append(time.process_time() - start)
        found.append(row)
    found = np.array(found)
    return np.median(found, 0), np.median(found[:, :1] / found, 0)


def eight_gaussians(rng, n):
    angle = 2 * np.pi * rng.integers(8, size=n) / 8
    centre = 4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return centre + 0.3 * rng.normal(size=(n, 2))


def two_moons(rng, n):
    angle, side = np.pi * rng.uniform(size=n), rng.integers(2, size=n)
    moon = np.stack([np.cos(angle) + side, (1 - 2 * side) * (np.sin(angle) - 0.25)], 1)
    return 2 * (moon - np.array([0.5, 0.0])) + 0.1 * rng.normal(size=(n, 2))


def pinwheel(rng, n):
    radius, arm = 1 + 0.3 * rng.normal(size=n), rng.integers(5, size=n)
    angle = 2 * np.pi * arm / 5 + 0.25 * np.exp(radius)
    across = 0.1 * rng.normal(size=n)
    along = np.stack([np.cos(angle), np.sin(angle)], 1)
    return 2 * (radius[:, None] * along + across[:, None] * along[:, ::-1] * np.array([-1, 1]))


def trained(data, start, seed, steps, rate):
    """Points of a learned flow."""
    source = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    flow = fm.StochasticInterpolant(source, fm.Particles(jnp.asarray(data)))
    loss = lambda v, key: fm.flow_matching_loss(v, flow, key, BATCH)  # noqa: E731
    network = fm.MLP(2, width=64, depth=3, key=jr.key(seed))
    learned = fm.learn(loss, network, key=jr.key(100 + seed), steps=steps, learning_rate=rate)
    law, points = fm.ProbabilityFlow(learned.network), fm.Particles(jnp.asarray(start))
    return fm.simulate(law, points, [0.0, 1.0], dt=0.02, solver=diffrax.Heun()).final.x


def quality(peer, seeds=5, steps=5000, rate=2e-3, n=2000):
    """Energy distances to n held-out points: those of n others are the floor."""
    sets = {f.__name__: f for f in (eight_gaussians, two_moons, pinwheel)}
    given = dict(steps=steps, batch=BATCH, rate=rate)
    rows = {"floor": {}, "learn": {}, "learn, four times the steps": {}}
    tests = {}
    for name, make in sets.items():
        for seed in range(seeds):
            rng, at = np.random.default_rng(seed), (name, seed)
            data, test, other = (make(rng, m).astype(np.float32) for m in (10_000, n, n))
            start = np.random.default_rng(1000 + seed).normal(size=(n, 2)).astype(np.float32)
            given[f"train-{name}-{seed}"], given[f"start-{seed}"] = data, start
            tests[at], rows["floor"][at] = test, other
            rows["learn"][at] = trained(data, start, seed, steps, rate)
            rows["learn, four times the steps"][at] = trained(data, start, seed, 4 * steps, rate)
    speeds = {}
    if peer:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "given")
            np.savez(path + ".npz", **given)
            script = Path(__file__).with_name("learning_torchcfm.py")
            subprocess.run([peer, script, path], check=True)
            found = np.load(path + ".out.npz")
            speeds = {name: float(found[f"{name}-speed"]) for name in PEERS}
            for name in PEERS:
                rows[name] = {at: found[f"{name}-train-{at[0]}-{at[1]}"] for at in tests}
    for name in sets:
        print(f"{name}, energy distance (1e-3):")
        for who, points in rows.items():
            each = [
                1e3 * float(fm.evaluate(points[at], tests[at]).energy_distance)
                for at in points
                if at[0] == name
            ]
            if each:
                error = np.std(each, ddof=1) / seeds**0.5
                print(f"  {who}: {np.mean(each):.2f} ± {error:.2f}")
    return speeds


def main(peer=None):
    network = fm.MLP(2, width=64, time=0, key=jr.key(2))
    flow = fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(2), jnp.eye(2)), fm.Particles(DATA))
    scan, keys = by_hand(network)
    trainer = Trainer(
        lambda v, key: fm.flow_matching_loss(v, flow, key, BATCH), network,
        optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 100, STEPS)), 0.999, jr.key(1),
    )  # fmt: skip
    # The compiled loop of `learn` alone, as the scan by hand is timed: 500 steps, 40 times.
    loop = lambda: trainer.advance(trainer.start, 0, len(keys), len(keys))  # noqa: E731
    times, ratios = seconds([lambda: scan(keys), loop], 40)
    hand, learn = len(keys) / times
    print(f"steps/s: by hand {hand:.0f}, learn {learn:.0f}, ratio {ratios[1]:.3f}")
    begin = time.perf_counter()
    fm.learn(lambda v, k: fm.flow_matching_loss(v, flow, k, 100), network, key=jr.key(0), steps=1)
    print(f"the first step of a new loss: {time.perf_counter() - begin:.1f} s")
    draw = jax.jit(lambda mu, key: mu.sample(key, 256))
    for name, mu in (("equal", fm.Particles(DATA)), ("weighted", fm.Particles(DATA, DATA[:, 0]))):
        each = seconds([lambda mu=mu: [draw(mu, key) for key in keys[:200]]])[0][0] / 200
        print(f"256 of {len(DATA)} atoms, {name}: {1e3 * each:.3f} ms")
    for name, speed in quality(peer).items():
        print(f"steps/s: {name} {speed:.0f}, learn {learn / speed:.1f} times as many")


if __name__ == "__main__":
    main(*sys.argv[1:])
