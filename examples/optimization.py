"""Optimisation: the global minimum of a rugged function, without a derivative.

`python examples/optimization.py [--fast]` writes `optimization.png`.
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot
from flowjax_measures.objectives import rastrigin

fast = "--fast" in sys.argv
d, runs = (2, 4) if fast else (10, 50)
bounds = (jnp.full(d, -5.12), jnp.full(d, 5.12))


def search(key):
    """One run: the best point and its value."""
    result = fm.minimize(rastrigin, bounds=bounds, key=key, particles=50 * d, budget=3000 * d)
    return result.x, result.fun


points, values = jax.vmap(search)(jr.split(jr.key(0), runs))
found = float(jnp.mean(jnp.abs(points).max(axis=1) < 0.25))
ax = plot.contours(lambda x: rastrigin(jnp.zeros(d).at[:2].set(x)), -2.0, 2.0, levels=8)
ax.plot(points[:, 0], points[:, 1], "C3o", markersize=4)
ax.set_title(f"{runs} runs in dimension {d}")
plt.savefig("optimization.png", dpi=110)
print(
    f"d = {d}: {found:.0%} of {runs} runs found the minimum; median value {jnp.median(values):.2g}"
)
