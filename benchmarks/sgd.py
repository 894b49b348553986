"""Studies of SGD beside its limits: `python benchmarks/sgd.py STUDY`.

slopes      weak errors on linear regression by simulation, batch 1
pair        covariance of two points under the same minibatches: flow, and symmetric root
digits      a network on the digits: SGD, SVAG and the limits over seeds, small to large steps
speed       minibatch training beside a hand-written scan; steps of the modified flow and memory
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from _timing import interleaved

import flowjax_measures as fm


def square(params, example):
    z, y = example
    return (jnp.vdot(z, params) - y) ** 2 / 2


def regression():
    return jr.normal(jr.key(11), (5, 2)), jr.normal(jr.key(12), (5,))


START = jnp.array([1.0, -0.5])


def slopes(runs=100_000):
    etas = [1 / 4, 1 / 8, 1 / 16]
    exact = fm.compare(square, regression(), etas, START)
    found = fm.compare(square, regression(), etas, START, runs=runs, key=jr.key(0))
    for name, errors in found.errors.items():
        worst = int(np.argmax(np.max(errors, axis=0)))
        slope = found.slopes[name]
        print(
            f"{name}: slope {slope.value:.2f} [{slope.lower:.2f}, {slope.upper:.2f}], errors",
            [
                f"{e:.4f} ± {s:.4f} (exact {x:.4f})"
                for e, s, x in zip(
                    errors[:, worst],
                    found.standard_errors[name][:, worst],
                    exact.errors[name][:, worst],
                    strict=True,
                )
            ],
        )


def pair(eta=0.05, time=0.5, runs=100_000):
    """tr Cov(θ, θ') of two points on opposite sides of the minimum."""
    best = jnp.linalg.lstsq(*regression())[0]
    points = fm.Particles(best + jnp.array([[2.0, -1.5], [-2.0, 1.5]]))
    joint = lambda x, e: square(x[:2], e) + square(x[2:], e)  # noqa: E731
    dirac = fm.Gaussian(points.x.ravel(), jnp.zeros((4, 4)))
    truth = fm.sgd_moments(joint, regression(), eta, 1, dirac, round(time / eta))
    flow = fm.simulate(
        fm.StochasticModifiedEquation(joint, regression(), eta, 1, 2), dirac, [0.0, time]
    ).final
    root = fm.StochasticModifiedEquation(square, regression(), eta, 1, 2, shared=True)

    def one(key):
        return fm.simulate(
            root, points, [0, time], dt=eta / 4, key=key, solver=fm.SmallNoiseHeun(), throw=False
        ).final.x

    ends = jax.lax.map(one, jr.split(jr.key(0), runs), batch_size=4096)
    centred = ends - ends.mean(0)
    products = jnp.sum(centred[:, 0] * centred[:, 1], -1)
    sgd, smf = (float(jnp.trace(g.cov[:2, 2:])) for g in (truth, flow))
    value, error = float(products.mean()), float(products.std() / np.sqrt(runs))
    print(f"η = {eta}: SGD {sgd:.6f}, flow {smf:.6f} ({smf / sgd - 1:+.2%}),")
    print(f"symmetric root {value:.6f} ± {error:.6f} ({value / sgd - 1:+.1%})")


def digits_data():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = jnp.asarray(x[order] / 16.0, jnp.float32), jnp.asarray(y[order], jnp.int32)
    return (x[:1400], y[:1400]), (x[1400:], y[1400:])


def network(sizes, key):
    keys = jr.split(key, len(sizes) - 1)
    return [
        {"w": jr.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
        for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def entropy(params, example):
    """Cross-entropy of one image."""
    x, y = example
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    logits = x @ params[-1]["w"] + params[-1]["b"]
    return jax.nn.logsumexp(logits) - logits[y]


def mean_entropy(params, data):
    return jnp.mean(jax.vmap(lambda e: entropy(params, e))(data))


def digits(time=10.0, seeds=24, batch=16):
    train, test = digits_data()
    start = fm.Particles(jax.tree.map(lambda a: a[None], network((64, 24, 10), jr.key(0))))
    keys = jr.split(jr.key(1), seeds)

    def observe(mu):
        params = jax.tree.map(lambda a: a[0], mu.x)
        squares = sum(jnp.sum(a**2) for a in jax.tree.leaves(params))
        return mean_entropy(params, train), mean_entropy(params, test), squares

    print("| η | process | training loss | test loss | ‖θ‖² | sd of training loss |")
    print("|---|---|---|---|---|---|")
    for eta in (0.1, 0.4):

        def flow(order, eta=eta):
            system = fm.StochasticModifiedFlow(entropy, train, eta, batch, order=order)
            return system, eta / 4, fm.OneSweep()

        def sgd(factor, eta=eta):
            system = fm.minibatch(
                entropy, train, batch, optax.sgd(eta / factor),
                amplification=None if factor == 1 else factor,
            )  # fmt: skip
            return system, eta / factor, None

        risk = fm.GradientFlow(fm.PotentialEnergy(lambda p: mean_entropy(p, train)))
        processes = {
            "SGD": sgd(1),
            "SVAG, l = 4": sgd(4),
            "SVAG, l = 16": sgd(16),
            "modified flow, order 1": flow(1),
            "modified flow, order 2": flow(2),
            "gradient flow": (risk, 0.1, None),
        }
        for name, (system, dt, solver) in processes.items():

            def one(key, system=system, dt=dt, solver=solver):
                final = fm.simulate(
                    system, start, [0, time], dt=dt, key=key, solver=solver, throw=False
                ).final
                return observe(final)

            runs = keys[:1] if isinstance(system, fm.GradientFlow) else keys
            values = np.array(jax.jit(jax.vmap(one))(runs))
            mean, spread = values.mean(1), values.std(1)
            cells = [
                f"{m:.4f} ± {s / np.sqrt(seeds - 1):.4f}" for m, s in zip(mean, spread, strict=True)
            ]
            print(f"| {eta} | {name} | " + " | ".join(cells) + f" | {spread[0]:.4f} |", flush=True)


def handwritten(loss, data, batch, optimizer, steps):
    """The loop that one would write."""
    n = jax.tree.leaves(data)[0].shape[0]

    @jax.jit
    def run(params, key):
        def step(carry, i):
            params, state = carry
            index = jr.randint(jr.fold_in(key, i), (batch,), 0, n)
            examples = jax.tree.map(lambda a: a[index], data)
            mean = lambda p: jnp.mean(jax.vmap(lambda e: loss(p, e))(examples))  # noqa: E731
            update, state = optimizer.update(jax.grad(mean)(params), state, params)
            return (optax.apply_updates(params, update), state), None

        start = (params, optimizer.init(params))
        return jax.lax.scan(step, start, jnp.arange(steps))[0][0]

    return run


def speed():
    train, _ = digits_data()
    params = network((64, 24, 10), jr.key(0))
    cloud = fm.Particles(jax.tree.map(lambda a: a[None], params))
    for name, optimizer in (("sgd", optax.sgd(0.1)), ("adam", optax.adam(1e-3))):
        for batch in (16, 128):
            bare = handwritten(entropy, train, batch, optimizer, 1000)
            system = fm.minibatch(entropy, train, batch, optimizer)
            start = system.start(cloud)
            ours = jax.jit(
                lambda start, key, system=system: (
                    fm.simulate(system, start, [0, 1000], dt=1, key=key, throw=False).final.x
                )
            )
            runs = {
                "bare": partial(bare, params, jr.key(0)),
                "ours": partial(ours, start, jr.key(0)),
            }
            times = interleaved(runs, 9)
            print(
                f"{name}, batch {batch}: hand-written scan {times['bare'] * 1e3:.1f} ms, "
                f"ratio {times['ours'] / times['bare']:.2f}"
            )


def sweep():
    """Steps on d = 105,010 parameters and n = 10,000 examples, float32."""
    n, steps = 10_000, 4
    data = jr.normal(jr.key(0), (n, 64)), jr.randint(jr.key(1), (n,), 0, 10)
    params = network((64, 1400, 10), jr.key(2))
    cloud = fm.Particles(jax.tree.map(lambda a: a[None], params))

    def descend(params):
        def step(p, _):
            gradient = jax.grad(mean_entropy)(p, data)
            return jax.tree.map(lambda a, g: a - 0.01 * g, p, gradient), None

        return jax.lax.scan(step, params, length=steps)[0]

    def flow(order, solver):
        system = fm.StochasticModifiedFlow(entropy, data, 0.01, 32, order=order)
        return lambda cloud: (
            fm.simulate(
                system, cloud, [0, 0.01 * steps], dt=0.01, key=jr.key(0), solver=solver, throw=False
            ).final.x
        )

    programs = {
        "gradient descent": (descend, params),
        "flow, order 1, one sweep": (flow(1, fm.OneSweep()), cloud),
        "flow, order 1, Euler": (flow(1, None), cloud),
        "flow, order 2, one sweep": (flow(2, fm.OneSweep()), cloud),
    }
    compiled = {k: jax.jit(f).lower(a).compile() for k, (f, a) in programs.items()}
    times = interleaved({k: lambda k=k: compiled[k](programs[k][1]) for k in programs}, 5)
    for name, program in compiled.items():
        memory = program.memory_analysis().temp_size_in_bytes / 2**20
        ratio = times[name] / times["gradient descent"]
        step = times[name] / steps * 1e3
        print(f"{name}: {step:.0f} ms a step, ratio {ratio:.2f}, {memory:.0f} MiB")


if __name__ == "__main__":
    study = sys.argv[1]
    if study in ("slopes", "pair"):
        jax.config.update("jax_enable_x64", True)
    for arguments in [(0.05,), (0.025,), (0.0125,)] if study == "pair" else [()]:
        globals()[study](*arguments)
