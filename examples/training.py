"""Training: a wide network fits points, by its gradient flow and under minibatches.

`python examples/training.py [--fast]` writes `training.png`.
"""

import sys

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

fast = "--fast" in sys.argv
neurons, end = (50, 2.0) if fast else (1000, 40.0)
inputs = jr.normal(jr.key(0), (40, 4))
data = inputs, jnp.sin(inputs[:, 0]) * inputs[:, 1]
net = fm.ShallowNetwork(jnp.tanh, data, regularization=1e-3)
start = fm.initial.neurons(jr.key(1), neurons, 4)
ts = jnp.linspace(0.0, end, 41)
flow = fm.simulate(net, start, ts, dt=0.05, observe=net.risk)
ax = plot.energy(flow, color="k")
ends = []
for eta in (0.02, 0.1):
    sgd = fm.StochasticMeanField(net, eta)
    run = fm.simulate(sgd, start, ts, dt=0.05, key=jr.key(2), observe=net.risk)
    plot.energy(run, ax=ax)
    ends.append(f"η = {eta}: {run.ys[-1]:.3f}")
ax.set(yscale="log", ylabel="risk")
ax.legend(["gradient flow", "minibatches, η = 0.02", "η = 0.1"])
plt.savefig("training.png", dpi=110)
print(f"risk of {neurons} neurons: {flow.ys[0]:.3f} → flow {flow.ys[-1]:.3f}, {', '.join(ends)}")
