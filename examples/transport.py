"""Optimal transport: a disc flows to a ring, down the Sinkhorn divergence.

`python examples/transport.py [--fast]` writes `transport.png`.
"""

import sys

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

fast = "--fast" in sys.argv
n, steps = (24, 4) if fast else (150, 20)
angle = 2 * jnp.pi * jnp.arange(n) / n
ring = fm.Particles(jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1))
disc = fm.initial.normal(jr.key(0), n, 2, scale=0.3)
energy = fm.SinkhornDivergence(ring, 0.05)
ts = jnp.linspace(0.0, 0.2 * steps, steps + 1)
run = fm.simulate(fm.GradientFlow(energy), disc, ts, dt=0.2)
ax = plot.measure(ring, ax=plot.trajectory(run), color="0.8", s=60)
plot.measure(run.final, ax=ax, color="C3")
plt.savefig("transport.png", dpi=110)
gap = fm.wasserstein(run.final, ring)
print(
    f"{n} points: divergence {energy(disc):.3f} → {energy(run.final):.2e}, W2 at the end {gap:.3f}"
)
