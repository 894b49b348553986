"""Sampling: two modes by Langevin's equation and by Stein variational gradient descent.

`python examples/sampling.py [--fast]` writes `sampling.png`.
"""

import sys

import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import flowjax_measures as fm
from flowjax_measures import plot

fast = "--fast" in sys.argv
n, end = (50, 2.0) if fast else (500, 20.0)


def potential(x):
    """A crescent with two ends."""
    return (x[0] ** 2 + x[1] ** 2 - 2) ** 2 / 2 + (x[1] - 0.5) ** 2 / 2


start = fm.initial.normal(jr.key(0), n, 2)
kernel = fm.GaussianKernel(0.5)
laws = {
    "Langevin": (fm.Langevin(potential), 0.01),
    "SVGD": (fm.GradientFlow(fm.KL(potential), fm.Stein(kernel)), 0.1),
}
line = np.linspace(-4, 4, 400)
mesh = np.stack(np.meshgrid(line, line), -1)
weight = np.exp(-(((mesh**2).sum(-1) - 2) ** 2) / 2 - (mesh[..., 1] - 0.5) ** 2 / 2)
exact = (weight * mesh[..., 1]).sum() / weight.sum()
figure, axes = plt.subplots(1, 2, figsize=(8, 4))
words = []
for ax, (name, (law, dt)) in zip(axes, laws.items(), strict=True):
    final = fm.simulate(law, start, [0.0, end], dt=dt, key=jr.key(1)).final
    plot.measure(final, ax=plot.contours(potential, -2.5, 2.5, ax=ax, levels=[0.5, 1, 2, 4]))
    ax.set_title(name)
    words.append(f"{name} {float(final.mean()[1]):.3f}")
figure.savefig("sampling.png", dpi=110)
print(f"mean height, exact {exact:.3f}: {', '.join(words)} (n = {n}, error about {n**-0.5:.3f})")
