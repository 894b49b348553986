"""How soon `minimize` meets the targets of the 24 functions of BBOB, beside CMA-ES and SciPy.

    python benchmarks/consensus_bbob.py METHOD [DIMENSIONS] [RUNS] [BUDGET]
    python benchmarks/consensus_bbob.py default 2,5,10,20 15 1000

METHOD is `default`, `polish` (the default and a descent by derivatives at the end), a method of
`minimize` by name, `cma` (pycma, BIPOP restarts; needs cma),
`evolution` or `annealing` (SciPy's). BUDGET is evaluations over d. A row says for a dimension
which share of all pairs of a run and a target f − f* = 10², 10¹, …, 10⁻⁸ is met within BUDGET · d
evaluations, by group of functions, and of all within a tenth and within the whole. Every run has
its own instance, the same for all methods. Float64.
"""

import functools
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from bbob import GROUPS, NUMBERS, Problem, problem

import flowjax_measures as fm

TARGETS = 10.0 ** np.arange(2, -9, -1)


def ours(options):
    @functools.partial(jax.jit, static_argnums=2)
    def runs(problems, keys, budget):
        """The lowest value of every step, their number, and evaluations and value at the end."""

        def run(best, r, q, peaks, key):
            f = Problem(problems.number, best, r, q, peaks)
            box = jnp.full(best.size, -5.0), jnp.full(best.size, 5.0)
            lowest = lambda mu: jnp.min(jax.vmap(f)(places(mu)))  # noqa: E731
            result = fm.minimize(
                f,
                bounds=box,
                key=key,
                budget=budget,
                observe=lowest,
                **(options(f) if callable(options) else options),
            )
            return result.history, result.nit, result.nfev, result.fun

        return jax.vmap(run)(problems.best, problems.r, problems.q, problems.peaks, keys)

    def solve(problems, keys, budget):
        """For every run evaluations and the best values by then."""
        stacked = jax.tree.map(lambda *a: jnp.asarray(np.stack(a)), *problems)
        stacked = eqx.tree_at(lambda p: p.number, stacked, jnp.asarray(problems[0].number))
        history, nit, nfev, fun = map(np.asarray, runs(stacked, keys, budget))
        found = []
        for row, n, calls, last in zip(history, nit, nfev, fun, strict=True):
            values = np.append(np.fmin.accumulate(row[:n]), last)
            counts = np.append(np.arange(1, n + 1) * (calls // n), calls)
            found.append((counts, values))
        return found

    return solve


def places(mu):
    return jax.tree.leaves(mu.x)[0]


def theirs(minimizer):
    """A minimiser that calls a function of many points at once."""

    many = jax.jit(lambda f, x: jax.vmap(f)(x))

    def solve(problems, keys, budget):
        found = []
        for seed, f in enumerate(problems):
            counts, values, d = [0], [np.inf], f.best.size

            def measured(x, f=f, counts=counts, values=values, d=d):
                x = np.atleast_2d(x)
                if counts[-1] >= budget:
                    return np.full(len(x), 1e300)
                # Few shapes, so that few are compiled.
                padded = np.zeros((2 ** int(np.ceil(np.log2(len(x)))), d))
                padded[: len(x)] = x
                energies = np.asarray(many(f, padded))[: len(x)]
                counts.append(counts[-1] + len(x))
                values.append(min(values[-1], np.min(energies)))
                return energies

            minimizer(measured, d, seed, budget)
            found.append((np.array(counts), np.array(values)))
        return found

    return solve


def cma(measured, d, seed, budget):
    import cma

    options = {"maxfevals": budget, "bounds": [-5, 5], "verbose": -9, "seed": seed + 1}
    options |= {"ftarget": -1}
    generator = np.random.default_rng(seed)
    cma.fmin2(
        None, lambda: generator.uniform(-4, 4, d), 2.0, options, restarts=9, bipop=True,
        parallel_objective=lambda x: measured(np.asarray(x)).tolist(),
    )  # fmt: skip


def evolution(measured, d, seed, budget):
    from scipy.optimize import differential_evolution

    differential_evolution(
        lambda x: measured(x.T), [(-5, 5)] * d, maxiter=budget // (15 * d), rng=seed, tol=0,
        vectorized=True, updating="deferred", polish=False,
    )  # fmt: skip


def annealing(measured, d, seed, budget):
    from scipy.optimize import dual_annealing

    dual_annealing(lambda x: measured(x)[0], [(-5, 5)] * d, maxfun=budget, rng=seed, maxiter=10**6)


def met(found, calls):
    """For each run the share of the targets that it met in so many evaluations."""
    lowest = [np.min(v[n <= calls], initial=np.inf) for n, v in found]
    return np.mean([np.mean(v <= TARGETS) for v in lowest])


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    name = sys.argv[1]
    dimensions = [int(d) for d in sys.argv[2].split(",")] if len(sys.argv) > 2 else [2, 5]
    runs, factor = (int(a) for a in (sys.argv[3:] + ["15", "1000"][len(sys.argv[3:]) :]))
    peers = {f.__name__: theirs(f) for f in (cma, evolution, annealing)}
    plain = {"default": {}, "polish": {"polish": "bfgs"}}
    solve = peers.get(name) or ours(plain.get(name, {"method": name}))
    print(f"| method | d | {' | '.join(GROUPS)} | all, a tenth | all | s |")
    for d in dimensions:
        start, budget = time.perf_counter(), factor * d
        shares = {}
        for number in NUMBERS:
            keys = jr.split(jr.fold_in(jr.key(number), d), runs)
            problems = [problem(number, d, seed) for seed in range(runs)]
            found = solve(problems, keys, budget)
            shares[number] = met(found, budget // 10), met(found, budget)
        groups = [np.mean([shares[n][1] for n in group]) for group in GROUPS.values()]
        everything = np.mean(list(shares.values()), axis=0)
        cells = " | ".join(f"{share:.2f}" for share in (*groups, *everything))
        print(f"| {name} | {d} | {cells} | {time.perf_counter() - start:.0f} |", flush=True)
