"""One velocity of n particles against n, by each way to take its sums; writes docs/scaling.png.

    python benchmarks/scaling.py [seconds]

float32, CPU time, the best of three interleaved calls; a way stops where the next n would take more
than `seconds` (default 10). Exponents are slopes over the last factor of ten in n. Then the energy
distance in three dimensions by slices: its error and time against the number of directions.
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from attention import best

import flowjax_measures as fm

SIZES = [1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
BUMP = fm.fourier_kernel(lambda z: jnp.exp(jnp.cos(2 * jnp.pi * z[0])), 1.0, 8)
FEATURES = fm.random_fourier_kernel(jr.key(1), fm.GaussianKernel(), 128, 3)
SLICES = fm.SlicedEnergyDistance(fm.sphere_directions(jr.key(2), 32, 3))


def interaction(kernel):
    return fm.GradientFlow(fm.InteractionEnergy(kernel))


def velocity(system, x):
    return system(0.0, fm.Particles(x)).drift.x


def batched(x):
    attraction = interaction(fm.GaussianKernel())
    solver = fm.RandomBatch(2, jr.key(3))
    mu = fm.Particles(x)
    return fm.simulate(attraction, mu, [0.0, 0.1], dt=0.1, solver=solver, throw=False).final.x


WAYS = {
    "attention, d = 3, tiles": (3, partial(velocity, fm.SelfAttention(beta=2.0))),
    "energy distance, d = 3, tiles": (3, partial(velocity, interaction(fm.EnergyDistance()))),
    "… 32 slices, sorted": (3, partial(velocity, interaction(SLICES))),
    "energy distance, d = 1, sorted": (1, partial(velocity, interaction(fm.EnergyDistance()))),
    "Gaussian kernel, d = 3, 128 random cosines": (3, partial(velocity, interaction(FEATURES))),
    "… random batches of 2, one step": (3, batched),
    "periodic kernel, d = 1, 8 modes": (1, partial(velocity, interaction(BUMP))),
}


def times(dimension, function, limit):
    found = {}
    for n in SIZES:
        last = list(found.items())[-2:]
        if len(last) == 2:
            (m, s), (k, t) = last
            growth = max(np.log(t / s) / np.log(k / m), 1)
            if t * (n / k) ** growth > limit:
                break
        x = jr.normal(jr.key(0), (n, dimension), jnp.float32)
        run = jax.jit(function).lower(x).compile()
        found[n] = best({"": partial(run, x)}, 3)[""][0]
    return found


def exponent(found):
    last = max(found)
    kept = {n: t for n, t in found.items() if n >= last / 10}
    return np.polyfit(np.log(list(kept)), np.log(list(kept.values())), 1)[0]


def picture(table):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4.5))
    for name, found in table.items():
        ax.loglog(list(found), list(found.values()), "o-", label=f"{name}: n^{exponent(found):.2f}")
    ax.set(xlabel="n", ylabel="CPU seconds of one velocity")
    ax.legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig("docs/scaling.png", dpi=110)


def slices(n=3000):
    """Relative error in the mean square and time of the velocity, by slices and by pairs."""
    x = jr.normal(jr.key(4), (n, 3), jnp.float32)
    system = interaction(fm.EnergyDistance())
    run = jax.jit(partial(velocity, system)).lower(x).compile()
    exact, pairs = run(x), best({"": partial(run, x)}, 3)[""][0]
    print(f"energy distance, d 3, n {n}: by pairs {pairs * 1e3:.0f} ms; directions: error, ms")
    for count in (8, 32, 128, 512):
        kernel = fm.SlicedEnergyDistance(fm.sphere_directions(jr.key(5), count, 3))
        run = jax.jit(partial(velocity, interaction(kernel))).lower(x).compile()
        error = jnp.linalg.norm(run(x) - exact) / jnp.linalg.norm(exact)
        seconds = best({"": partial(run, x)}, 3)[""][0]
        print(f"  {count}: {error:.3f}, {seconds * 1e3:.0f}", flush=True)


def main(limit=10.0):
    print(f"jax {jax.__version__}, {jax.devices()[0]}, float32, CPU seconds")
    table = {}
    for name, (dimension, function) in WAYS.items():
        table[name] = times(dimension, function, float(limit))
        text = "  ".join(f"{n}: {t:.2g}" for n, t in table[name].items())
        print(f"{name}: exponent {exponent(table[name]):.2f};  {text}", flush=True)
    picture(table)
    slices()


if __name__ == "__main__":
    main(*sys.argv[1:])
