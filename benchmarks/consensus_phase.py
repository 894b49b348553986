"""Success of truncated consensus-based optimisation, beside the published phase diagram.

    JAX_ENABLE_X64=1 python benchmarks/consensus_phase.py

Fornasier, Richtárik, Riedl, Sun (arXiv 2310.16610): d = 4, N = 100, λ = 1, dt = 0.01, T = 50,
α = 1e5, isotropic noise, X₀ ~ N(1, 2000 I); success is f(consensus) < 0.1. The whole table is one
vmapped sweep over (σ, M).
"""

import jax
import jax.random as jr
import numpy as np

import flowjax_measures as fm
from flowjax_measures.objectives import ackley, rastrigin

CELLS = {
    "Rastrigin": [(0.4, 1.0, 0.70), (0.4, np.inf, 0.55), (1.0, np.inf, 0.89), (1.6, 5.0, 0.49),
                  (1.2, np.inf, 0.02)],
    "Ackley": [(1.2, np.inf, 0.13)],
}  # fmt: skip
RUNS = 100


def shallow(x):
    return rastrigin(x, amplitude=2.5)


if __name__ == "__main__":
    ts = np.array([0.0, 50.0])
    for name, objective in (("Rastrigin", shallow), ("Ackley", ackley)):

        def run(sigma, limit, key, objective=objective):
            start, noise = jr.split(key)
            mu = fm.Particles(1 + np.sqrt(2000.0) * jr.normal(start, (100, 4)))
            system = fm.ConsensusBased(objective, 1.0, sigma, 1e5, "isotropic", limit)
            final = fm.simulate(system, mu, ts, dt=0.01, key=noise, throw=False).final
            return objective(system.consensus(final)) < 0.1

        cells = np.array(CELLS[name])
        keys = jr.split(jr.key(0), (len(cells), RUNS))
        sweep = jax.vmap(jax.vmap(run, in_axes=(None, None, 0)))
        wins = np.asarray(jax.jit(sweep)(cells[:, 0], cells[:, 1], keys)).mean(1)
        for (sigma, limit, published), rate in zip(cells, wins, strict=True):
            # Both are rates of RUNS runs.
            pooled = (rate + published) / 2
            z = (rate - published) / np.sqrt(2 * pooled * (1 - pooled) / RUNS)
            print(
                f"| {name} | {sigma} | {limit} | {published:.2f} | {rate:.2f} | {z:+.1f} |",
                flush=True,
            )
