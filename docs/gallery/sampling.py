"""Sampling"""

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

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

# %% IndependentProjection
# The best product of two laws (colours) for a target whose coordinates depend on each other
# (lines).
banana = lambda x: x[0] ** 2 / 2 + 2 * (x[1] - x[0] ** 2 / 2) ** 2
grid = fm.GridDensity(jnp.full((30, 30), 1 / 30.0), [-3.0, -2.0], [3.0, 3.0])
run = fm.simulate(fm.IndependentProjection(banana), grid, [0.0, 4.0], dt=0.004)
ax = plot.measure(run.final)
x = grid.centres()
ax.contour(*x.T.swapaxes(1, 2), jnp.exp(-jnp.apply_along_axis(banana, 2, x)), colors="C1")

# %% PolyhedralMeanField
# The best product of a skew law and its neighbour by increasing maps of few pieces: with one piece
# a Gaussian, with more its shape (black, at rest among all products).
target = lambda x: x[0] ** 4 / 4 + x[0] + (x[1] - x[0]) ** 2 / 2
s = jnp.linspace(-2.5, 2.0, 400)
for pieces in (1, 3, 12):
    begin = fm.MonotoneMap.of_gaussian(jnp.zeros(2), 1.0, pieces)
    found = fm.simulate(fm.PolyhedralMeanField(target), begin, [0.0, 8.0]).final
    first = fm.MonotoneMap(found.shift[:1], found.slopes[:1], found.knots)
    plt.plot(s, jnp.exp(jax.vmap(first.log_density)(s[:, None])), label=f"K = {pieces}")
p = jnp.exp(-(s**4) / 4 - s - s**2 / 2 + found.shift[1] * s)
plt.plot(s, p / jnp.trapezoid(p, s), "k--", lw=1)
plt.legend()
plt.xlabel("first coordinate")

# %% Jarzynski
# A trap moves and stiffens: points lag behind (grey), their weights say where the Gibbs law is
# (orange) and, by the mass, the free energy.
trap = lambda t, x: (1 + 3 * t) * jnp.sum((x - t) ** 2) / 2
law, start = fm.Jarzynski(trap), fm.initial.normal(jr.key(0), 4000, 1)
solver = fm.AnnealedImportance()
run = fm.simulate(law, start, [0.0, 1.0], dt=0.01, key=jr.key(1), solver=solver)
x, weights = run.final.x[:, 0], jnp.exp(run.final.log_w)
plt.hist(x, 60, density=True, color="0.8", label="points")
plt.hist(x, 60, weights=weights, density=True, color="C1", histtype="step", label="weighted")
z = jnp.linspace(-2.0, 3.0, 200)
plt.plot(z, jnp.exp(-2 * (z - 1) ** 2) * (2 / jnp.pi) ** 0.5, "k--", label="Gibbs law")
plt.title(f"free energy {law.free_energy(run.final):.3f}, exactly {jnp.log(2.0):.3f}")
plt.legend()

# %% HellingerKantorovichBrownian
# A random measure on a circle: atoms exchange no mass, light ones (thin) run, heavy ones (thick)
# rest, and in the end each dies or lives by its own Bessel process.
law = fm.HellingerKantorovichBrownian(alpha=0.002, beta=0.1, theta=1.0)
circle = fm.Product(fm.Atom(fm.Torus(), fm.Euclidean()))
atoms = fm.Particles(fm.Atom(jr.uniform(jr.key(0), (12, 1)), jnp.full(12, 0.1)), space=circle)
ts = jnp.linspace(0.0, 2.0, 401)
run = fm.simulate(law, atoms, ts, dt=0.005, key=jr.key(1))
mass = jnp.maximum(run.ys.x.s, 0.0)
plt.scatter(jnp.broadcast_to(ts[:, None], mass.shape), run.ys.x.x[..., 0], s=60 * mass, alpha=0.3)
plt.xlabel("time")
plt.ylabel("x")

# %% Lindblad
# A qubit turns about an axis and loses its phase along another: as under friction, it settles
# fastest at one strength, and more dissipation slows it down.
x, z = jnp.array([[0.0, 1.0], [1.0, 0.0]]), jnp.diag(jnp.array([1.0, -1.0]))
ts, up = jnp.linspace(0.0, 12.0, 121), jnp.diag(jnp.array([1.0, 0.0])).astype(complex)
for gamma in (0.2, 1.0, 5.0):
    law = fm.Lindblad(x / 2, [z], gamma)
    run = fm.simulate(law, up, ts, dt=0.02, observe=lambda rho: rho[0, 0].real)
    plt.plot(ts, run.ys, label=rf"$\gamma$ = {gamma}, gap {law.gap():.2f}")
plt.legend()
plt.xlabel("time")
plt.ylabel("population of the first level")

# %% StochasticLocalization
# What is believed of a point among five, as it is observed with less and less noise: the mean of
# each path's belief ends at one of them.
spots = fm.Particles(jnp.array([[-2.0, 0.0], [0.0, 1.5], [0.5, -1.0], [2.0, 0.5], [1.0, 2.5]]))
law, ts = fm.StochasticLocalization(spots), jnp.linspace(0.0, 8.0, 161)
start = fm.Particles(jnp.zeros((12, 2)))
run = fm.simulate(law, start, ts, dt=0.05, key=jr.key(0))
beliefs = jax.vmap(lambda t, mu: jax.vmap(lambda c: law.mean(t, c))(mu.x))(run.ts, run.ys)
for i in range(12):
    plt.plot(*beliefs[:, i].T, lw=0.8)
plt.plot(*spots.x.T, "ko")

# %% FollmerProcess
# Brownian paths from one point, driven as little as can be, are a mixture of two Gaussians at time
# one.
parts = (jnp.array([[-1.5], [1.0]]), jnp.array([[[0.05]], [[0.4]]]))
law, ts = fm.FollmerProcess(fm.Particles(parts)), jnp.linspace(0.0, 1.0, 101)
run = fm.simulate(law, fm.Particles(jnp.zeros((2000, 1))), ts, dt=0.01, key=jr.key(0))
plt.plot(ts, run.ys.x[:, :40, 0], color="0.7", lw=0.6)
x = jnp.linspace(-3.0, 3.0, 200)
plt.plot(1 + jnp.exp(jax.vmap(lambda y: law.log_density(1.0, y))(x[:, None])) / 2, x, "C1")
plt.xlabel("time")

# %% FlemingViot
# A population on a circle whose members move, die, and are replaced by copies of others: it holds
# together, and wanders.
law = fm.FlemingViot(fm.Langevin(lambda x: 0.0 * jnp.sum(x), beta=100.0), resampling=1.0)
ring, ts = fm.GridDensity(jnp.ones(60), 0.0, 1.0, True), jnp.linspace(0.0, 6.0, 200)
run = fm.simulate(law, ring, ts, dt=0.005, key=jr.key(3))
plt.imshow(run.ys.rho.T, extent=(0.0, 6.0, 0.0, 1.0), aspect="auto", origin="lower", vmax=6.0)
plt.xlabel("time")
plt.ylabel("place")
