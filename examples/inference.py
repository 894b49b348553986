"""Inference: the law of a flock from five unlabelled snapshots of it.

`python examples/inference.py [--fast]` writes `inference.png`.
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

fast = "--fast" in sys.argv
n, steps = (20, 5) if fast else (100, 150)


class Flock(fm.AbstractMeanField):
    """Points that attract each other from afar and repel from near."""

    pull: float
    push: float
    reach: float

    def rates(self, t, x, mu):
        def force(y):
            near = jnp.exp(-jnp.sum((x - y) ** 2) / (2 * self.reach**2))
            return (x - y) * (-self.pull + self.push / self.reach**2 * near)

        return fm.Rates(mu.mean(force))


truth = Flock(1.0, 2.0, 0.6)
start = fm.initial.normal(jr.key(0), n, 2)
ts = jnp.linspace(0.0, 2.0, 6)
run = fm.simulate(truth, start, ts, dt=0.1)
snapshots = [jax.tree.map(lambda a, k=k: a[k], run.ys) for k in range(6)]
result = fm.fit(Flock(0.4, 1.0, 1.0), (ts, snapshots), loss="energy_distance", steps=steps, dt=0.1)
found = result.system
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
plot.measure(run.final, ax=plot.trajectory(run, ax=left))
right.semilogy(result.losses)
right.set(xlabel="step", ylabel="loss")
figure.savefig("inference.png", dpi=110)
values = ", ".join(f"{float(v):.3f}" for v in (found.pull, found.push, found.reach))
print(f"pull, push, reach = {values} (true 1, 2, 0.6) after {len(result.losses)} steps")
