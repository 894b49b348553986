"""Errors of transport maps estimated from samples, against their number, in 2, 5 and 10 dimensions.

Run: `python benchmarks/maps.py`. μ is standard normal, ν its image under T(x) = x + tanh(x)/2, a
gradient of a convex function. Entropic maps with ε = 2 n^{−1/(d′ + 4)}, d′ = 2⌈d/2⌉, for which
the mean of |T̂ − T|² falls at least like n^{−4/(2(d′ + 4))} ([pooladian2021]); beside them the
exact plan between the samples, continued by the nearest sample.
"""

import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm

SIZES, SEEDS = (125, 250, 500, 1000), 3


def truth(x):
    return x + jnp.tanh(x) / 2


def errors(key, n: int, d: int) -> tuple[float, float]:
    """Mean squares of what both maps miss, at points of their own."""
    one, two, three = jr.split(key, 3)
    x, fresh = jr.normal(one, (n, d)), jr.normal(three, (500, d))
    y = truth(jr.normal(two, (n, d)))
    mu, nu = fm.Particles(x), fm.Particles(y)
    epsilon = 2 * n ** (-1 / (2 * math.ceil(d / 2) + 4))
    entropic = jax.vmap(fm.entropic_map(mu, nu, epsilon))(fresh)
    nearest = jnp.argmin(jnp.sum((fresh[:, None] - x) ** 2, axis=-1), axis=1)
    exact = (n * fm.coupling(mu, nu) @ y)[nearest]
    return tuple(float(jnp.mean(jnp.sum((t - truth(fresh)) ** 2, 1))) for t in (entropic, exact))


def main() -> None:
    for d in (2, 5, 10):
        table = np.array(
            [
                np.mean([errors(jr.key(100 * n + k), n, d) for k in range(SEEDS)], axis=0)
                for n in SIZES
            ]
        )
        slopes = np.polyfit(np.log(SIZES), np.log(table), 1)[0]
        least = -2 / (2 * math.ceil(d / 2) + 4)
        print(f"d = {d}, n = {SIZES}")
        for name, column, slope in zip(("entropic", "nearest"), table.T, slopes, strict=True):
            values = ", ".join(f"{value:.3g}" for value in column)
            print(f"    {name}: {values}; slope {slope:.2f}")
        print(f"    of the bound for entropic maps {least:.2f}")


if __name__ == "__main__":
    main()
