"""Sampling"""

import jax.numpy as jnp
import jax.random as jr

import flowjax_measures as fm
from flowjax_measures import plot

# %% Langevin
# 2000 points in a double well, from one of its sides; lines are the density on a grid at the same
# times.
well = lambda x: jnp.sum((x**2 - 1) ** 2)
law, times = fm.Langevin(well, beta=2.0), [0.0, 1.0, 20.0]
grid = fm.GridDensity(jnp.exp(-8 * (jnp.linspace(-2.475, 2.475, 100) - 1) ** 2), -2.5, 2.5)
cloud = fm.Particles(1 + jr.normal(jr.key(0), (2000, 1)) / 4)
pde = fm.simulate(law, grid, times)
sde = fm.simulate(law, cloud, times, dt=0.01, key=jr.key(1))
ax = plot.measure(sde.final, color="0.8", bins=40)
ax.plot(grid.centres()[:, 0], (pde.ys.rho / pde.ys.rho.sum(1, keepdims=True) * 20).T)
ax.legend([f"t = {t:.0f}" for t in pde.ts])

# %% UnderdampedLangevin
# A Gaussian of positions and momenta turns in phase space, from dark to light, and settles at the
# Gibbs law.
law = fm.UnderdampedLangevin(fm.Quadratic(1.0), friction=0.5, beta=4.0)
start = fm.Gaussian(jnp.array([3.0, 0.0]), 0.05 * jnp.eye(2))
run = fm.simulate(law, start, jnp.linspace(0.0, 12.0, 25))
plot.trajectory(run).set(xlabel="position", ylabel="momentum")
