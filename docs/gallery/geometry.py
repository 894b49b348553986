"""Fluids, graphs and geometry"""

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm

# %% ThinFilm
# A drop spreads on a wet ground, without and with thermal noise.
x = (jnp.arange(32.0) + 0.5) / 4
drop = fm.GridDensity(0.2 + jnp.exp(-((x - 4) ** 2)), 0.0, 8.0)
still = fm.simulate(fm.ThinFilm(), drop, [0.0, 0.3, 3.0], dt=1e-4)
noisy = fm.simulate(fm.ThinFilm(beta=500.0), drop, [0.0, 3.0], dt=1e-4, key=jr.key(0))
plt.plot(x, still.ys.rho.T, color="C0")
plt.plot(x, noisy.final.rho, color="C3")
plt.xlabel("x")
plt.ylabel("h")

# %% LaplaceLearning
# Two labels, at the crosses, spread along two moons.
angle = jnp.pi * jr.uniform(jr.key(0), (200,))
moon = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
side = jnp.arange(200) % 2
x = jnp.where(side[:, None] == 0, moon, jnp.array([1.0, 0.4]) - moon)
x = x + 0.07 * jr.normal(jr.key(1), (200, 2))
weights = jnp.exp(-(fm.path_metric(x, 4.0) ** 2) / 0.05)
known = jnp.arange(200) < 2
labels = fm.Particles(jnp.where(known, 1.0 - 2 * side, 0.0))
law = fm.LaplaceLearning(weights, known, scale=0.2)
run = fm.simulate(law, labels, [0.0, 100.0])
plt.scatter(*x.T, c=run.final.x, cmap="coolwarm", s=12)
plt.plot(*x[:2].T, "kx", markersize=12)

# %% MagneticGeodesic
# Charges on a sphere in a magnetic field of constant strength go round in circles.
q = fm.initial.normal(jr.key(2), 6, 3).x
charges = fm.Particles(fm.Phase(q, jr.normal(jr.key(1), (6, 3))), space=fm.PhaseSpace(fm.Sphere()))
ts = jnp.linspace(0.0, 4.0, 100)
run = fm.simulate(fm.MagneticGeodesic(2.0), charges.retract(), ts, dt=0.02)
ax = plt.figure().add_subplot(projection="3d")
for i in range(6):
    ax.plot(*run.ys.x.q[:, i].T)
ax.set_aspect("equal")

# %% EPDiff
# Peakons of the Camassa–Holm equation: the fast one gives its momentum to the slow one.
peakons = fm.EPDiff(lambda a, b: jnp.exp(-jnp.abs(a - b)) / 2)
start = fm.Particles(fm.Phase(jnp.array([-6.0, 0.0]), jnp.array([8.0, 2.0])))
run = fm.simulate(peakons, start, jnp.linspace(0.0, 8.0, 9), dt=0.005)
x = jnp.linspace(-8.0, 14.0, 500)
waves = jax.vmap(lambda mu: jax.vmap(lambda q: peakons.velocity(q, mu))(x))(run.ys)
plt.plot(x, (run.ts[:, None] + 0.6 * waves).T, color="C0")
plt.xlabel("x")
plt.ylabel("t")

# %% EulerArnold
# A cosine of the Korteweg–de Vries equation breaks into solitons.
x = jnp.arange(192) / 96
law = fm.EulerArnold(1.0, 0.0, dispersion=5e-4, length=2.0)
run = fm.simulate(law, jnp.cos(jnp.pi * x), [0.0, 0.3, 1.1])
plt.plot(x, run.ys.T)
plt.legend([f"t = {t:.1f}" for t in run.ts])
plt.xlabel("x")
plt.ylabel("u")

# %% Euler2D
# A shear layer of an ideal fluid rolls up into vortices.
x, y = jnp.meshgrid(*[2 * jnp.pi * jnp.arange(64.0) / 64] * 2, indexing="ij")
layer = jnp.exp(-(((y - jnp.pi) / 0.4) ** 2)) * (1 + 0.1 * jnp.cos(2 * x))
run = fm.simulate(fm.Euler2D(), layer - layer.mean(), [0.0, 15.0], dt=0.05)
plt.contourf(x, y, run.final, 20)
plt.gca().set_aspect("equal")

# %% QuasiGeostrophic
# A wave of Rossby and Haurwitz goes west (dashed: a while ago).
latitude, longitude = fm.sphere_grid(24)
wave = jnp.cos(4 * longitude) * (jnp.cos(latitude) ** 4 * jnp.sin(latitude))[:, None]
run = fm.simulate(fm.QuasiGeostrophic(rotation=2.0), wave, [0.0, 3.0], dt=0.05)
plt.contour(longitude, latitude, wave, [-0.1, 0.1], colors="0.6", linestyles="dashed")
plt.contourf(longitude, latitude, run.final, 20)

# %% InfiniteConductivity
# A charged fluid in the plane carries its vorticity less the magnetic field, here of four poles.
x, y = jnp.meshgrid(*[2 * jnp.pi * jnp.arange(64.0) / 64] * 2, indexing="ij")
law = fm.InfiniteConductivity(lambda p: 3 * jnp.sin(p[0]) * jnp.sin(p[1]))
start = jnp.stack([0.5 + 0.0 * x, jnp.exp(-4 * (x - 3) ** 2)])
run = fm.simulate(law, law.project(start), [0.0, 2.0], dt=0.02)
plt.contourf(x, y, law.vorticity(run.final), 20)
plt.gca().set_aspect("equal")

# %% TwoComponentHunterSaxton
# Points of a circle pile up where the speed falls, and the second field grows there.
x = jnp.arange(128.0) / 128
law = fm.TwoComponentHunterSaxton()
state = jnp.stack([jnp.sin(2 * jnp.pi * x) / 2, 0.5 + 0.0 * x])
run = fm.simulate(law, state, [0.0, 0.15, 0.3], dt=0.002)
plt.plot(x, run.ys[:, 1].T)
plt.legend([f"t = {t:.2f}" for t in run.ts])
plt.xlabel("x")
plt.ylabel("ρ")

# %% MagneticEPDiff
# A push in the middle of a compressible fluid becomes fronts, bent by the magnetic field.
x, y = jnp.meshgrid(*[2 * jnp.pi * jnp.arange(64.0) / 64] * 2, indexing="ij")
push = jnp.exp(-4 * ((x - 2) ** 2 + (y - 3) ** 2))
law = fm.MagneticEPDiff(field=jnp.array([0.0, 1.0]), alpha=0.5)
run = fm.simulate(law, jnp.stack([push, 0.0 * push]), [0.0, 2.0], dt=0.01)
plt.contourf(x, y, jnp.linalg.norm(run.final, axis=0), 20)
plt.gca().set_aspect("equal")

# %% EulerLagrange
# A double pendulum by a variational integrator: the energy (the line above) stays near its start.
arms = lambda q, v: jnp.stack([jnp.cos(q) * v, jnp.sin(q) * v]).cumsum(1)
kinetic = lambda q, v: jnp.sum(arms(q, v) ** 2) / 2
pendulum = fm.EulerLagrange(lambda q, v: kinetic(q, v) + 9.8 * jnp.sum(jnp.cos(q).cumsum()))
start = fm.Particles(fm.Phase(jnp.array([[2.0, 2.0]]), jnp.zeros((1, 2))))
ts = jnp.linspace(0.0, 5.0, 501)
run = fm.simulate(pendulum, start, ts, dt=0.01, solver=fm.VariationalIntegrator())
q = run.ys.x.q[:, 0]
plt.plot(jnp.sin(q).sum(1), -jnp.cos(q).sum(1))
energy = jax.vmap(lambda mu: mu.mean(pendulum.energy))(run.ys)
plt.plot(ts - 2.5, energy / 10)
plt.gca().set_aspect("equal")

# %% Generic
# A particle rings and warms a bath, which keeps the energy (dashed): position and temperature.
energy = lambda x: x[1] ** 2 / 2 + 2 * x[0] ** 2 + jnp.exp(x[2])


def friction(x):
    v = jnp.stack([0.0, 1.0, -x[1] * jnp.exp(-x[2])])
    return 0.3 * jnp.exp(x[2]) * jnp.outer(v, v)


turn = jnp.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
law = fm.Generic(energy, lambda x: x[2], turn, friction)
ts = jnp.linspace(0.0, 15.0, 151)
run = fm.simulate(law, jnp.array([1.0, 0.0, 0.0]), ts, dt=0.1, solver=fm.DiscreteGradient())
plt.plot(ts, run.ys[:, 0], ts, jnp.exp(run.ys[:, 2]))
plt.plot(ts, jax.vmap(energy)(run.ys), "k--")
plt.xlabel("t")

# %% SimplexFlow
# The master equation of a chain of three states, and the same with Wasserstein noise, on the
# simplex.
ring = fm.ProbabilityManifold(jnp.array([[0.0, 0.2, 0.1], [0.2, 0.0, 0.1], [0.1, 0.1, 0.0]]))
start = fm.Particles(jnp.array([[0.9, 0.06, 0.04]]), space=fm.Simplex())
ts = jnp.linspace(0.0, 8.0, 201)
still = fm.simulate(fm.SimplexFlow(ring), start, ts, dt=0.01)
law = fm.SimplexFlow(ring, temperature=0.02)
noisy = fm.simulate(law, start, ts, dt=0.001, key=jr.key(0))
corners = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
plt.fill(*corners.T, color="0.95")
for run in (noisy, still):
    plt.plot(*(run.ys.x[:, 0] @ corners).T)
plt.gca().set_aspect("equal")
