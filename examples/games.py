"""Games: two populations, one that minimises and one that maximises, meet at the saddle point.

`python examples/games.py [--fast]` writes `games.png`.
"""

import sys

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm

fast = "--fast" in sys.argv
n, end = (30, 2.0) if fast else (300, 12.0)


def payoff(x, y):
    """What x pays y; its saddle point is x = (1, −1), y = (0.5, 0.5), with ripples around it."""
    u, v = x - jnp.array([1.0, -1.0]), y - 0.5
    ripples = jnp.sum(jnp.sin(3 * u) ** 2) - jnp.sum(jnp.sin(3 * v) ** 2)
    return jnp.vdot(u, u) + jnp.vdot(u, v) - jnp.vdot(v, v) + 2 * ripples


players = {"min": fm.initial.normal(jr.key(0), n, 2), "max": fm.initial.normal(jr.key(1), n, 2)}
law = fm.SaddleConsensus(payoff, sigma=0.6, noise="anisotropic")
run = fm.simulate(law, players, jnp.linspace(0.0, end, 121), dt=0.02, key=jr.key(2))
for name, color in (("min", "C0"), ("max", "C3")):
    x = run.ys[name].x
    plt.plot(x[..., 0], x[..., 1], color=color, linewidth=0.3, alpha=0.5)
    plt.plot(*x[-1].mean(0), "ko")
plt.savefig("games.png", dpi=110)
x, y = (run.final[name].mean() for name in ("min", "max"))
print(f"saddle at {x[0]:.3f}, {x[1]:.3f} (true 1, -1) and {y[0]:.3f}, {y[1]:.3f} (true 0.5, 0.5)")
