"""The study behind the defaults of `minimize`: success over steps, noises and rules for α.

    python benchmarks/consensus_defaults.py [runs]

Success is a value below 0.01 within the budget. Boxes are off centre.
"""

import itertools
import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm
from flowjax_measures.objectives import ackley, rastrigin

PROBLEMS = {
    "Rastrigin 2": (rastrigin, 2, -5.12, 4.8),
    "Rastrigin 5": (rastrigin, 5, -5.12, 4.8),
    "Ackley 20": (ackley, 20, -32.0, 28.0),
    "Rastrigin 20": (rastrigin, 20, -5.12, 4.8),
}


def success(objective, d, low, high, dt, scale, rule, n, runs):
    method = fm.ConsensusBased(objective, 1.0, scale / np.sqrt(dt), rule, "anisotropic")
    bounds = jnp.full(d, low), jnp.full(d, high)

    def solve(key):
        return fm.minimize(
            objective, bounds=bounds, key=key, method=method, dt=dt, particles=n, budget=100_000
        ).fun

    return float(np.mean(jax.jit(jax.vmap(solve))(jr.split(jr.key(0), runs)) < 0.01))


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rules = {"ESS 0.05": 0.05, "ESS 0.1": 0.1, "α = 1e5": None}
    print("| σ√dt | dt | α | N | " + " | ".join(PROBLEMS) + " |")
    grid = itertools.product((0.7, 0.8, 0.85, 0.9), (0.1,), rules, (200, 300, 400))
    for scale, dt, name, n in grid:
        rule = 1e5 if rules[name] is None else fm.EffectiveSampleSize(rules[name])
        rates = [success(*case, dt, scale, rule, n, runs) for case in PROBLEMS.values()]
        print(
            f"| {scale} | {dt} | {name} | {n} | " + " | ".join(f"{r:.2f}" for r in rates) + " |",
            flush=True,
        )
