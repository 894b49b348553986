"""Consensus beside CMA-ES at equal evaluations: 100,000, Rastrigin and Ackley, d = 20, 20 runs.

    python benchmarks/consensus_cma.py METHOD             # default, tuned, resampling, restarts
    python benchmarks/consensus_cma.py evosax 100 0.3     # population, first step

Float32. Boxes are off centre: [−5.12, 4.8]^d and [−32, 28]^d; all start uniformly in the box,
CMA-ES with the step size 0.3 times its width. Success is a value below 0.01.
`evosax` needs evosax, `restarts` (BIPOP) needs cma.
"""

import sys
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm
from flowjax_measures.objectives import ackley, rastrigin

D, BUDGET, RUNS = 20, 100_000, 20
PROBLEMS = {"Rastrigin": (rastrigin, -5.12, 4.8), "Ackley": (ackley, -32.0, 28.0)}


def report(name, solve):
    """One row: success and the median of the best values on both problems."""
    cells = []
    for objective, low, high in PROBLEMS.values():
        start = time.process_time()
        values = np.asarray(solve(objective, low, high))
        seconds = time.process_time() - start
        cells.append(f"{np.mean(values < 0.01):.2f} | {np.median(values):.2g} | {seconds:.0f}")
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def consensus(n=200, scale=0.85, dt=0.1, rule=0.05, drift=1.0, budget=BUDGET):
    def solve(objective, low, high):
        rate = fm.EffectiveSampleSize(rule) if rule < 1 else rule
        method = fm.ConsensusBased(objective, drift, scale / dt**0.5, rate, "anisotropic")

        def run(key):
            return fm.minimize(
                objective, bounds=(jnp.full(D, low), jnp.full(D, high)), key=key, method=method,
                particles=n, dt=dt, budget=budget,
            ).fun  # fmt: skip

        return jax.jit(jax.vmap(run))(jr.split(jr.key(0), RUNS))

    return solve


def default():
    """`minimize` as it comes."""

    def solve(objective, low, high):
        box = jnp.full(D, low), jnp.full(D, high)
        run = lambda key: fm.minimize(objective, bounds=box, key=key, budget=BUDGET).fun  # noqa: E731
        return jax.jit(jax.vmap(run))(jr.split(jr.key(0), RUNS))

    report("minimize, default", solve)


def resampling():
    """100 points, shaken where nothing better was found in 50 steps."""
    for push in (0.2, 0.5, 1.0):

        def solve(objective, low, high, push=push):
            def run(key):
                box = jnp.full(D, low), jnp.full(D, high)
                return fm.minimize(
                    objective, bounds=box, key=key, budget=BUDGET, particles=100, patience=50,
                    resampling=push,
                ).fun  # fmt: skip

            return jax.jit(jax.vmap(run))(jr.split(jr.key(0), RUNS))

        report(f"N = 100, patience 50, resampling {push}", solve)


def tuned():
    """Numbers of points, exploration and sharpness around the default."""
    for n, scale, rule in (
        (100, 0.85, 0.05), (400, 0.85, 0.05), (200, 1.0, 0.05), (100, 1.0, 0.05), (100, 1.0, 0.1),
        (200, 1.0, 0.02), (200, 0.9, 0.05), (200, 0.95, 0.03),
    ):  # fmt: skip
        report(f"N = {n}, σ√dt = {scale}, ESS {rule}", consensus(n, scale, 0.1, rule))


def evosax(size, width):
    """CMA-ES of evosax with a population and a first step, a fraction of the box."""
    from evosax.algorithms import CMA_ES

    def solve(objective, low, high):
        strategy = CMA_ES(population_size=size, solution=jnp.zeros(D))
        params = strategy.default_params.replace(std_init=width * (high - low))

        def run(key):
            place, first, rest = jr.split(key, 3)
            mean = jr.uniform(place, (D,), minval=low, maxval=high)
            state = strategy.init(first, mean, params)

            def generation(carry, k):
                state, best = carry
                ask, tell = jr.split(k)
                population, state = strategy.ask(ask, state, params)
                values = jax.vmap(objective)(population)
                state, _ = strategy.tell(tell, population, values, state, params)
                return (state, jnp.fmin(best, jnp.nanmin(values))), None

            keys = jr.split(rest, BUDGET // size)
            return jax.lax.scan(generation, (state, jnp.inf), keys)[0][1]

        return jax.jit(jax.vmap(run))(jr.split(jr.key(0), RUNS))

    report(f"evosax CMA-ES, population {size}, first step {width} of the box", solve)


def restarts():
    """BIPOP-CMA-ES of pycma, with the box as its bounds."""
    import cma

    def solve(objective, low, high):
        function = _rastrigin if objective is rastrigin else _ackley
        values = []
        for seed in range(RUNS):
            generator, best = np.random.default_rng(seed), [np.inf]

            def measured(points, best=best):
                energies = function(np.asarray(points))
                best[0] = min(best[0], np.min(energies))
                return energies.tolist()

            options = {
                "maxfevals": BUDGET, "bounds": [low, high], "verbose": -9, "seed": seed + 1,
                "ftarget": 1e-6,
            }  # fmt: skip
            start = lambda g=generator: g.uniform(low, high, D)  # noqa: E731
            cma.fmin2(
                None, start, 0.3 * (high - low), options, restarts=9, bipop=True,
                parallel_objective=measured,
            )  # fmt: skip
            values.append(best[0])
        return values

    report("pycma BIPOP", solve)


def _rastrigin(x):
    return np.sum(x**2 + 10 * (1 - np.cos(2 * np.pi * x)), axis=-1)


def _ackley(x):
    ripples = np.mean(np.cos(2 * np.pi * x), axis=-1)
    return -20 * np.exp(-0.2 * np.sqrt(np.mean(x**2, axis=-1))) - np.exp(ripples) + 20 + np.e


if __name__ == "__main__":
    print("| method | Rastrigin: success | median | CPU s | Ackley: success | median | CPU s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    if sys.argv[1] == "evosax":
        evosax(int(sys.argv[2]), float(sys.argv[3]))
    else:
        methods = {f.__name__: f for f in (default, tuned, resampling, restarts)}
        methods[sys.argv[1]]()
