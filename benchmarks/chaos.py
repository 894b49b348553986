"""Propagation of chaos in a convex potential that is not quadratic.

Run: `python benchmarks/chaos.py`. dX = −X³ dt − (X − X̄) dt + √2 dW: how far E X² of one of N
particles is from its limit, against N. The limit is a grid's, and the steps' own error is taken off
by a run of 2048 particles with the same steps.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm

SYSTEM = fm.McKeanVlasov(lambda x: jnp.sum(x**4) / 4, fm.QuadraticKernel(1.0), beta=1.0)
END, DT = 2.0, 0.02


def second_moment(n, total=4_000_000, batch=64_000):
    """E X² of a particle among n, and its standard error, from `total` particles."""
    repeats, groups = batch // n, total // batch

    def one(key):
        start, run = jr.split(key)
        mu = fm.Particles(0.5 * jr.normal(start, (n, 1)))
        final = fm.simulate(SYSTEM, mu, [0.0, END], dt=DT, key=run).final
        return jnp.mean(final.x**2)

    batches = jax.jit(lambda key: jax.vmap(one)(jr.split(key, max(repeats, 1))))
    values = np.concatenate([np.asarray(batches(jr.key(g))) for g in range(groups)])
    return values.mean(), values.std() / np.sqrt(len(values))


def main():
    blank = fm.GridDensity(jnp.ones(200), -4.0, 4.0)
    rho = jnp.exp(-2 * blank.centres()[:, 0] ** 2)
    mu = fm.GridDensity(rho / jnp.sum(rho) / blank.cell, -4.0, 4.0)
    grid = float(fm.simulate(SYSTEM, mu, [0.0, END]).final.mean(lambda x: x[0] ** 2))
    limit, error = second_moment(2048)
    print(f"limit: grid {grid:.5f}, 2048 particles {limit:.5f} ± {error:.5f}")
    numbers, gaps = (4, 8, 16, 32), []
    for n in numbers:
        value, error = second_moment(n)
        gaps.append(limit - value)
        print(f"N = {n:3d}: {value:.5f} ± {error:.5f}, below the limit by {gaps[-1]:.5f}")
    print(f"slope {np.polyfit(np.log(numbers), np.log(np.abs(gaps)), 1)[0]:.2f}")


if __name__ == "__main__":
    main()
