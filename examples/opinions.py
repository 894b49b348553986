"""Opinions: bounded confidence, from 500 people and from the density of infinitely many.

`python examples/opinions.py [--fast]` writes `opinions.png`.
"""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

fast = "--fast" in sys.argv
n, cells, end = (50, 40, 2.0) if fast else (500, 200, 40.0)


class Opinions(fm.AbstractMeanField):
    """People move to the mean opinion of those less than 1 away."""

    def rates(self, t, x, mu):
        heard = mu.mean(lambda y: jax.nn.sigmoid(50 * (1 - jnp.abs(y - x))) * (y - x))
        return fm.Rates(heard, fm.Isotropic(0.05))


ts = jnp.linspace(0.0, end, 81)
people = fm.initial.uniform(jr.key(0), n, 0.0, 10.0)
crowd = fm.GridDensity(jnp.full(cells, 0.1), 0.0, 10.0)
sde = fm.simulate(Opinions(), people, ts, dt=0.05, key=jr.key(1))
pde = fm.simulate(Opinions(), crowd, ts)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
plot.trajectory(sde, ax=left).set(ylabel="opinion", title=f"{n} people")
plot.trajectory(pde, ax=right).set(title="infinitely many")
figure.savefig("opinions.png", dpi=110)
parties = int(fm.number_of_clusters(sde.final, 0.4))
rho = pde.final.rho
peaks = int(jnp.sum((rho[1:-1] > rho[:-2]) & (rho[1:-1] > rho[2:]) & (rho[1:-1] > 2 * rho.mean())))
print(f"parties after t = {end:g}: {parties} of {n} people, {peaks} of the density")
