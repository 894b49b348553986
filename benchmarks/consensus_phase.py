"""Success of consensus-based optimisation, beside published rates.

    JAX_ENABLE_X64=1 python benchmarks/consensus_phase.py truncated
    JAX_ENABLE_X64=1 python benchmarks/consensus_phase.py notebook

`truncated`: Fornasier, Richtárik, Riedl, Sun (arXiv 2310.16610), rates of 100 runs from the
authors' data (github.com/KonstantinRiedl/CBOGlobalConvergenceAnalysis): d = 4, N = 100, λ = 1,
dt = 0.01, T = 50, α = 1e5, isotropic noise, X₀ ~ N(1, 2000 I); success is f(consensus) < 0.1. One
program sweeps over (σ, M). `notebook`: the performance evaluation in CBXpy's documentation.
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm
from flowjax_measures.objectives import ackley, rastrigin

SIGMAS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
LIMITS = (1.0, 2.0, 5.0, 10.0, np.inf)
# Rows σ, columns M.
PUBLISHED = {
    "Rastrigin": [[0.28, 0.38, 0.47, 0.42, 0.32],
        [0.7, 0.66, 0.63, 0.61, 0.55],
        [0.82, 0.83, 0.84, 0.71, 0.86],
        [0.95, 0.94, 0.97, 0.93, 0.84],
        [1.0, 1.0, 1.0, 0.99, 0.89],
        [1.0, 1.0, 1.0, 0.94, 0.02],
        [1.0, 1.0, 0.9, 0.59, 0.0],
        [1.0, 0.94, 0.49, 0.24, 0.0]],
    "Ackley": [[0.89, 0.93, 0.86, 0.91, 0.88],
        [0.99, 1.0, 0.99, 1.0, 1.0],
        [1.0, 1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0, 1.0, 0.13],
        [1.0, 1.0, 1.0, 0.89, 0.0],
        [1.0, 1.0, 0.78, 0.31, 0.0]],
}  # fmt: skip
RUNS = 100


def shallow(x):
    return rastrigin(x, amplitude=2.5)


def truncated():
    """Rates of as many runs as the published ones, and z of their difference."""
    cells = jnp.asarray([(sigma, limit) for sigma in SIGMAS for limit in LIMITS])
    scores = []
    for name, objective in (("Rastrigin", shallow), ("Ackley", ackley)):

        def run(sigma, limit, key, objective=objective):
            start, noise = jr.split(key)
            mu = fm.Particles(1 + np.sqrt(2000.0) * jr.normal(start, (100, 4)))
            system = fm.ConsensusBased(objective, 1.0, sigma, 1e5, "isotropic", limit)
            final = fm.simulate(system, mu, [0.0, 50.0], dt=0.01, key=noise, throw=False).final
            return objective(system.consensus(final)) < 0.1

        def cell(inputs, run=run):
            parameters, keys = inputs
            return jnp.mean(jax.vmap(lambda key: run(*parameters, key))(keys))

        keys = jr.split(jr.key(0), (len(cells), RUNS))
        rates = jax.jit(lambda c, k, cell=cell: jax.lax.map(cell, (c, k)))(cells, keys)
        rates = np.asarray(rates).reshape(len(SIGMAS), len(LIMITS))
        published = np.array(PUBLISHED[name])
        pooled = (rates + published) / 2
        error = np.sqrt(2 * pooled * (1 - pooled) / RUNS)
        z = np.where(error > 0, (rates - published) / np.where(error > 0, error, 1), 0)
        scores.extend(z.ravel())
        for i, sigma in enumerate(SIGMAS):
            row = [f"{published[i, j]:.2f}, {rates[i, j]:.2f}" for j in range(len(LIMITS))]
            print(f"| {name} | {sigma} | " + " | ".join(row) + " |", flush=True)
    scores = np.array(scores)
    differ = scores[abs(scores) > 1e-9]
    print(
        f"{scores.size} cells, {differ.size} not equal: largest |z| {abs(differ).max():.1f}, "
        f"mean {differ.mean():+.2f}, deviation {differ.std():.2f}"
    )


def notebook():
    """Rastrigin, d = 20, N = 40, σ = 10.1, α from 30 by 1.05 a step to 1e5, 5000 steps."""
    dt, d = 0.01, 20

    def alpha(t):
        return jnp.minimum(jnp.exp(np.log(30.0) + jnp.minimum(t / dt, 1e3) * np.log(1.05)), 1e5)

    system = fm.ConsensusBased(rastrigin, 1.0, 10.1, alpha, "anisotropic")

    def run(key):
        start, noise = jr.split(key)
        mu = fm.Particles(jr.uniform(start, (40, d), minval=-3.0, maxval=3.0))
        final = fm.simulate(system, mu, [0.0, 50.0], dt=dt, key=noise, throw=False).final
        return jnp.max(jnp.abs(system.consensus(final, 50.0)))

    worst = np.asarray(jax.jit(jax.vmap(run))(jr.split(jr.key(0), RUNS)))
    print(f"success {np.mean(worst < 0.25):.2f} of {RUNS} runs; largest distance {worst.max():.1e}")


if __name__ == "__main__":
    {"truncated": truncated, "notebook": notebook}[sys.argv[1]]()
