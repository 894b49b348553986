"""Flows and swarms"""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

# %% GradientFlow
# Points flow to a ring (grey) down the energy distance.
angle = 2 * jnp.pi * jnp.arange(200) / 200
ring = fm.Particles(2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1))
energy = fm.MMD(ring, fm.EnergyDistance())
start = fm.initial.normal(jr.key(0), 200, 2, scale=0.3)
run = fm.simulate(fm.GradientFlow(energy), start, jnp.linspace(0.0, 60.0, 61), dt=0.1)
ax = plot.measure(ring, ax=plot.trajectory(run), color="0.8", s=40)
plot.measure(run.final, ax=ax, color="C3")

# %% McKeanVlasov
# The same law from 500 particles (bars) and as a density on a grid (lines): attraction against a
# double well chooses one side.
well = lambda x: jnp.sum((x**2 - 1) ** 2)
law = fm.McKeanVlasov(well, fm.QuadraticKernel(1.0), beta=2.0)
grid = fm.GridDensity(jnp.exp(-4 * (jnp.linspace(-2.475, 2.475, 100) - 0.3) ** 2), -2.5, 2.5)
pde = fm.simulate(law, grid, [0.0, 0.5, 4.0])
cloud = fm.Particles(0.3 + jr.normal(jr.key(0), (500, 1)) / 8**0.5)
sde = fm.simulate(law, cloud, [0.0, 4.0], dt=0.01, key=jr.key(1))
ax = plot.measure(sde.final, color="0.8")
ax.plot(grid.centres()[:, 0], (pde.ys.rho / pde.ys.rho.sum(1, keepdims=True) * 20).T)
ax.legend([f"t = {t:.1f}" for t in pde.ts])

# %% LocalizedAttraction
# Strong attraction of short range on a circle: the density gathers in clusters, which coalesce.
law = fm.LocalizedAttraction(strength=100.0, width=0.2)
noise = 1 + 0.05 * jr.normal(jr.key(0), (96,))
rho = fm.GridDensity(noise / noise.mean(), 0.0, 1.0, periodic=True)
run = fm.simulate(law, rho, jnp.linspace(0.0, 0.15, 151))
plot.trajectory(run).set_ylabel("x")

# %% SliceMatching
# Points match the projections of a crescent (grey), on one basis after the other.
angle = jnp.pi * jr.uniform(jr.key(0), (400,))
bow = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1) + 0.1 * jr.normal(jr.key(1), (400, 2))
law = fm.SliceMatching(fm.Particles(bow), fm.orthonormal_bases(jr.key(2), 30, 2), 0.5)
start = fm.initial.normal(jr.key(3), 400, 2, scale=0.5)
run = fm.simulate(law, start, [0.0, 30.0], dt=0.5, solver=diffrax.Euler())
ax = plot.measure(fm.Particles(bow), color="0.8")
plot.measure(run.final, ax=ax, s=8)

# %% Swarming
# Self-propelled points that attract and repel form a mill. Their speed settles near √(a/b).
q = jr.normal(jr.key(1), (150, 2))
p = jnp.stack([-q[:, 1], q[:, 0]], 1)
law = fm.Swarming(2.0, 2.0, 20.0, 1.0, attraction_length=10.0, repulsion_length=0.2)
swarm = fm.Particles(fm.Phase(q, p))
run = fm.simulate(law, swarm, [0.0, 60.0])
z = run.final.x
plt.quiver(*z.q.T, *z.p.T, jnp.linalg.norm(z.p, axis=1), cmap="viridis", pivot="mid")
plt.colorbar(label="speed")
plt.gca().set_aspect("equal")

# %% RadialInteraction
# Opinions that listen to those less than 1 away gather in clusters about 2 apart.
near = lambda r: jax.nn.sigmoid(50 * (1 - r))
opinions = fm.initial.uniform(jr.key(0), 200, 0.0, 10.0)
law = fm.RadialInteraction(near)
run = fm.simulate(law, opinions, jnp.linspace(0.0, 60.0, 121), dt=0.2)
plot.trajectory(run).set_ylabel("opinion")

# %% AcceleratedFlow
# Down a narrow valley: relative entropy to a Gaussian of condition number 100, by the gradient flow
# and with momentum.
energy = fm.KL(fm.Quadratic(jnp.diag(jnp.array([1.0, 0.01]))))
start, ts = fm.Gaussian(jnp.array([2.0, 20.0]), jnp.eye(2)), jnp.linspace(0.0, 120.0, 121)
lifted = fm.Gaussian(jnp.array([2.0, 20.0, 0.0, 0.0]), jnp.diag(jnp.array([1.0, 1.0, 0.0, 0.0])))
value = lambda mu: energy(fm.Gaussian(mu.m[:2], mu.cov[:2, :2]))
first = fm.simulate(fm.GradientFlow(energy), start, ts, observe=value).ys
second = fm.simulate(fm.AcceleratedFlow(energy, damping=0.2), lifted, ts, observe=value).ys
best = energy(fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.array([1.0, 100.0]))))
plt.semilogy(ts, first - best, label="gradient flow")
plt.semilogy(ts, second - best, label="accelerated")
plt.ylim(1e-5)
plt.xlabel("time")
plt.ylabel("relative entropy")
plt.legend()

# %% ParabolicMongeAmpere
# Sinkhorn's iterations are steps of a flow of optimal maps: their laws (lines, from dark to light)
# go from the reference to the source (dots).
source = lambda x: jnp.sum(jnp.cos(2 * jnp.pi * x))
target = lambda x: 0.5 * jnp.sum(jnp.sin(2 * jnp.pi * x))
law, psi = fm.ParabolicMongeAmpere(source, target), jnp.zeros(128)
ts = jnp.linspace(0.0, 0.08, 9)
run = fm.simulate(law, psi, ts, observe=law.density, solver=fm.SinkhornIterations(0.001))
x = law.centres(psi)
for k, rho in enumerate(run.ys.rho):
    plt.plot(x, rho, color=plt.cm.viridis(k / 8))
p = jnp.exp(-jnp.cos(2 * jnp.pi * x))
plt.plot(x[::4], (p / p.mean())[::4], "k.")
plt.xlabel("x")
plt.ylabel("density")

# %% KineticFlow
# Particles with momenta in two wells, pushed apart by their entropy and slowed by friction.
energy = fm.PotentialEnergy(lambda x: jnp.sum(x[1:] ** 2) / 2)
energy = energy + 0.3 * fm.KernelEntropy(fm.GaussianKernel(0.3))
law = fm.KineticFlow(lambda q: jnp.sum((q**2 - 1) ** 2) / 4, energy, friction=0.3)
start = fm.Particles(fm.Phase(0.1 * jr.normal(jr.key(6), (60, 1)), 0.8 + jnp.zeros((60, 1))))
run = fm.simulate(law, start, jnp.linspace(0.0, 10.0, 101), dt=0.05)
plt.plot(run.ys.x.q[..., 0], run.ys.x.p[..., 0], "C0", linewidth=0.4)
plt.plot(run.final.x.q, run.final.x.p, "k.")
plt.xlabel("q")
plt.ylabel("p")
