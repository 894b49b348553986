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

# %% DeanKawasaki
# Two hundred particles in a double well as a density that fluctuates (C1), beside that of
# infinitely many (black) and a histogram of the particles themselves (grey).
law = fm.Langevin(lambda x: jnp.sum((x**2 - 1) ** 2), beta=2.0)
grid = fm.GridDensity(jnp.full(40, 1 / 4), -2.0, 2.0)
cloud = fm.initial.uniform(jr.key(0), 200, -2.0, 2.0)
points = fm.simulate(law, cloud, [0.0, 1.0], dt=0.002, key=jr.key(1)).final
ax = plot.measure(points, color="0.85", bins=40)
noisy = fm.DeanKawasaki(law, 200)
run = fm.simulate(noisy, grid, [0.0, 1.0], dt=0.001, key=jr.key(2))
ax.step(grid.centres()[:, 0], run.final.rho, "C1", where="mid")
ax.plot(grid.centres()[:, 0], fm.simulate(law, grid, [0.0, 1.0]).final.rho, "k")

# %% MassiveArratia
# Forty particles on the line stick where they meet, and the heavier they are (thick), the slower
# they move.
law, ts = fm.MassiveArratia(0.02), jnp.linspace(0.0, 1.0, 301)
start = fm.Particles(jnp.linspace(-1.0, 1.0, 40)[:, None])
run = fm.simulate(law, start, ts, dt=1 / 300, key=jr.key(0))
x = run.ys.x[..., 0]
mass = (x[:, :, None] == x[:, None, :]).sum(2)
plt.scatter(jnp.broadcast_to(ts[:, None], x.shape), x, s=mass / 2, c="C0", lw=0)
plt.xlabel("time")
plt.ylabel("x")

# %% ExcludingParticles
# Disks of two sizes, at the start in the left half of a box, fill it.
box = fm.Box(0.0, jnp.array([2.0, 1.0]))
x = jnp.stack(jnp.meshgrid(*[jnp.arange(8) / 8 + 0.07] * 2), -1).reshape(-1, 2)
kind, sizes = jnp.arange(64) % 2, jnp.array([0.12, 0.06])
disks = fm.Particles((x, kind), space=fm.Product((box, fm.Euclidean())))
law = fm.ExcludingParticles(sizes)
run = fm.simulate(law, disks, [0.0, 0.3], dt=2e-4, key=jr.key(0))
ax = plt.gca()
for i in range(64):
    ax.add_patch(plt.Circle(run.final.x[0][i], sizes[i % 2] / 2, color=f"C{i % 2}"))
ax.plot(*x.T, ".", color="0.8", ms=2)
ax.set_aspect("equal")

# %% CrossDiffusion
# Fast disks (lines) around slow ones (grey), and without them (dashed): the slow ones push the
# fast ones aside before they spread themselves.
x = jnp.linspace(-1.98, 1.98, 100)
bump = fm.GridDensity(jnp.exp(-8 * x**2) * (8 / jnp.pi) ** 0.5, -2.0, 2.0)
start = {"fast": fm.GridDensity(jnp.full(100, 0.25), -2.0, 2.0), "slow": bump}
for number, style in ((250, "-"), (1, "--")):
    numbers, speeds = {"fast": 50, "slow": number}, {"fast": 1.0, "slow": 0.01}
    sizes = {"fast": 0.02, "slow": 0.02}
    law = fm.CrossDiffusion(sizes, numbers, speeds, dimension=2)
    run = fm.simulate(law, start, [0.0, 0.05, 0.3])
    plt.plot(x, run.ys["fast"].rho.T, "C0" + style)
    plt.plot(x, run.ys["slow"].rho.T / 4, "0.7", zorder=0)

# %% ScorePorousMedium
# Particles without noise carry a gas into a porous medium: their density along the way, beside
# Barenblatt's.
cells = fm.initial.barenblatt(0.05, 2.0, 400, -1.5, 1.5)
start = fm.Particles(jnp.quantile(cells.sample(jr.key(0), 20000), (jnp.arange(200) + 0.5) / 200, 0))
law, ts = fm.ScorePorousMedium(2.0, fm.GaussianKernel(0.06)), jnp.array([0.05, 0.1, 0.4])
run = fm.simulate(law, start, ts, dt=0.0005)
for i, t in enumerate(ts):
    plt.hist(run.ys.x[i, :, 0], 30, density=True, color=f"C{i}", alpha=0.3)
    exact = fm.initial.barenblatt(t, 2.0, 400, -1.5, 1.5)
    plt.plot(exact.centres()[:, 0], exact.rho, f"C{i}")
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
