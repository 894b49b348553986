"""Transformers: tokens cluster with depth; with a larger β more clusters last.

`python examples/transformers.py [--fast]` writes `transformers.png`.
"""

import sys

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

fast = "--fast" in sys.argv
n, end = (32, 5.0) if fast else (256, 30.0)
tokens = fm.initial.uniform_on_sphere(jr.key(0), n, 3)
ts = jnp.linspace(0.0, end, 61)
ax = plt.subplots()[1]
counts = {}
for beta in (1.0, 4.0, 16.0):
    run = fm.simulate(
        fm.SelfAttention(beta=beta), tokens, ts, dt=0.05,
        observe=lambda mu: fm.number_of_clusters(mu, 0.2),
    )  # fmt: skip
    plot.curve(ts, run.ys, "clusters", ax=ax)
    counts[beta] = int(run.ys[-1])
ax.set_yscale("log")
ax.legend([f"β = {beta:g}" for beta in counts])
ax.figure.savefig("transformers.png", dpi=110)
print(f"{n} tokens after t = {end:g}: clusters by β: {counts}")
