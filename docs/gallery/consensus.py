"""Consensus and ensembles"""

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot
from flowjax_measures.objectives import ackley, himmelblau, rastrigin

# %% ConsensusBased
# 100 points find the global minimum of Rastrigin's function, without a derivative.
start = fm.initial.uniform(jr.key(0), 100, jnp.full(2, -4.0), jnp.full(2, 4.0))
law = fm.ConsensusBased(rastrigin, sigma=0.8, noise="anisotropic")
run = fm.simulate(law, start, jnp.linspace(0.0, 8.0, 81), dt=0.1, key=jr.key(1))
print(law.consensus(run.final))
ax = plot.contours(rastrigin, -4.5, 4.5, levels=5)
plot.measure(start, ax=plot.trajectory(run, ax=ax, alpha=0.3))
plot.measure(run.final, ax=ax, color="C3")

# %% ConsensusBasedSampling
# A Gaussian target is met exactly by its law, here by 400 points. Lines: levels of the target.
target = lambda x: 2 * (x[0] - 1) ** 2 + (x[1] - x[0]) ** 2
law = fm.ConsensusBasedSampling(target, alpha=1.0)
start = fm.initial.normal(jr.key(0), 400, 2, scale=2.0)
run = fm.simulate(law, start, [0.0, 10.0], dt=0.05, key=jr.key(1))
plot.measure(run.final, ax=plot.contours(target, -1.5, 3.5))

# %% PolarizedConsensus
# With a kernel between points each of the four minima of Himmelblau's function keeps its cluster.
start = fm.initial.uniform(jr.key(0), 200, jnp.full(2, -5.0), jnp.full(2, 5.0))
law = fm.PolarizedConsensus(himmelblau, sigma=0.4, kernel_width=0.7)
run = fm.simulate(law, start, jnp.linspace(0.0, 8.0, 81), dt=0.1, key=jr.key(1))
ax = plot.contours(himmelblau, -5.5, 5.5)
plot.trajectory(run, ax=ax, alpha=0.3)
plot.measure(run.final, ax=ax, color="C3")

# %% MemoryConsensus
# Every point remembers its best place; memories are black.
start = fm.initial.uniform(jr.key(0), 60, jnp.full(2, -4.0), jnp.full(2, 4.0)).x
law = fm.MemoryConsensus(ackley, sigma=0.8, noise="anisotropic", memory_rate=20.0)
memories = fm.Particles(fm.Memory(start, start))
run = fm.simulate(law, memories, jnp.linspace(0.0, 4.0, 81), dt=0.02, key=jr.key(1))
ax = plot.trajectory(run, ax=plot.contours(ackley, -4.5, 4.5), alpha=0.25)
plot.measure(fm.Particles(run.final.x.best), ax=ax, color="k")

# %% AdamConsensus
# Adam's moments of X − c: points come at one speed, which falls in time, and overshoot.
start = fm.initial.uniform(jr.key(0), 60, jnp.full(2, -4.0), jnp.full(2, 4.0)).x
law = fm.AdamConsensus(rastrigin, lambda t: 2 * jnp.exp(-t / 2), sigma=0.3)
points = fm.Particles(fm.AdamPoint(start, jnp.zeros_like(start), jnp.zeros_like(start)))
run = fm.simulate(law, points, jnp.linspace(0.0, 8.0, 81), dt=0.1, key=jr.key(1))
ax = plot.contours(rastrigin, -4.5, 4.5, levels=5)
plot.trajectory(run, ax=ax, alpha=0.3)
plot.measure(fm.Particles(run.final.x.x), ax=ax, color="C3")

# %% CovarianceConsensus
# Points learn the shape of Rosenbrock's valley, and follow it to its end at (1, 1).
valley = lambda x: jnp.log(0.1 + 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)
law = fm.CovarianceConsensus(valley, drift_rate=8.0, sigma=3.3)
start = fm.Particles(jnp.array([-1.0, 1.0]) + 0.1 * jr.normal(jr.key(0), (60, 2)))
run = fm.simulate(law, start, jnp.linspace(0.0, 6.0, 61), dt=0.1, key=jr.key(1))
ax = plot.contours(valley, -1.5, 1.5)
for k in range(0, 60, 6):
    plot.measure(fm.Particles(run.ys.x[k]), ax=ax, color=plt.get_cmap("viridis")(k / 60))
plot.measure(run.final, ax=ax, color="C3")
ax.axis([-1.5, 1.5, -0.5, 1.5])

# %% RegularizedConsensus
# The lowest place of Himmelblau's function on a circle (black), by a penalty and a force, in steps
# of a hundred times the force's own time.
circle = lambda x: jnp.sum(x**2) - 16
law = fm.RegularizedConsensus(himmelblau, circle, sigma=0.5, alpha=1.0, epsilon=1e-3, nu=1.0)
start = fm.initial.uniform(jr.key(0), 60, jnp.full(2, -5.0), jnp.full(2, 5.0))
ts, solver = jnp.linspace(0.0, 8.0, 81), fm.ConstrainedEuler()
run = fm.simulate(law, start, ts, dt=0.1, key=jr.key(1), solver=solver)
ax = plot.contours(himmelblau, -5.5, 5.5)
ax.add_patch(plt.Circle((0, 0), 4, fill=False))
plot.measure(run.final, ax=plot.trajectory(run, ax=ax, alpha=0.3), color="C3")
ax.axis([-5.5, 5.5, -5.5, 5.5])

# %% MirrorConsensus
# Points of the simplex as softmax of points that move freely; the minimum is the cross.
goal = jnp.array([0.1, 0.2, 0.7])
objective = lambda p: jnp.sum((p - goal) ** 2) + 0.02 * jnp.sum(jnp.cos(40 * (p - goal)) < 0)
law = fm.MirrorConsensus(objective, jax.nn.softmax, sigma=0.5, alpha=200.0, noise="anisotropic")
start = fm.initial.normal(jr.key(0), 100, 3, scale=2.0)
run = fm.simulate(law, start, jnp.linspace(0.0, 30.0, 151), dt=0.1, key=jr.key(1))
p = jax.nn.softmax(run.ys.x)
plt.plot(p[..., 0], p[..., 1], color="0.6", linewidth=0.5)
plt.plot(p[-1, :, 0], p[-1, :, 1], "o", markersize=3)
plt.plot([0, 1, 0, 0], [0, 0, 1, 0], "k", linewidth=0.8)
plt.plot(*goal[:2], "rx")

# %% ParetoConsensus
# Two squared distances, to (0, 0) and to (1, 0): each point seeks its own compromise, and together
# they are the front √g₁ + √g₂ = 1 (black).
distances = lambda x: jnp.stack([jnp.sum(x**2), jnp.sum((x - jnp.array([1.0, 0.0])) ** 2)])
share = jnp.linspace(0.02, 0.98, 100)
law = fm.ParetoConsensus(distances, jnp.stack([share, 1 - share], 1), sigma=0.7, alpha=1000.0)
start = fm.Particles((jr.normal(jr.key(0), (100, 2)), jnp.arange(100)))
run = fm.simulate(law, start, jnp.linspace(0.0, 8.0, 9), dt=0.05, key=jr.key(1))
for state, color in ((start, "0.7"), (run.final, "C3")):
    plt.plot(*jax.vmap(distances)(state.x[0]).T, ".", color=color)
plt.plot(share**2, (1 - share) ** 2, "k", linewidth=0.8)
plt.axis([-0.1, 2.5, -0.1, 2.5])

# %% SaddleConsensus
# x minimises, y maximises x² − y² + 2 sin(3x)² − 2 sin(3y)²: both populations end at 0.
game = lambda x, y: jnp.sum(x**2 - y**2 + 2 * jnp.sin(3 * x) ** 2 - 2 * jnp.sin(3 * y) ** 2)
players = {
    "min": fm.initial.uniform(jr.key(0), 60, -3.0, 3.0),
    "max": fm.initial.uniform(jr.key(1), 60, -3.0, 3.0),
}
law = fm.SaddleConsensus(game, sigma=0.8)
run = fm.simulate(law, players, jnp.linspace(0.0, 6.0, 121), dt=0.05, key=jr.key(2))
ax = plt.subplots()[1]
for name, color in (("max", "C3"), ("min", "C0")):
    lines = ax.plot(run.ts, run.ys[name].x[..., 0], color=color, linewidth=0.5, alpha=0.6)
    lines[0].set_label(f"who {name}imises")
ax.legend()

# %% SwarmConsensus
# With inertia points swing through the consensus.
start = fm.initial.uniform(jr.key(0), 60, jnp.full(2, -4.0), jnp.full(2, 4.0)).x
law = fm.SwarmConsensus(rastrigin, sigma=0.6, noise="anisotropic", inertia=0.5)
swarm = fm.Particles(fm.Phase(start, jnp.zeros_like(start)))
run = fm.simulate(law, swarm, jnp.linspace(0.0, 20.0, 401), dt=0.05, key=jr.key(1))
ax = plot.contours(rastrigin, -4.5, 4.5, levels=5)
plot.trajectory(run, ax=ax, alpha=0.3)
plot.measure(run.final, ax=ax, color="C3")

# %% EnsembleKalmanInversion
# An ensemble moves to where a nonlinear model meets the data, and shrinks on the way, without a
# derivative. Lines: the misfit.
model = lambda u: jnp.stack([u[0] + u[1], u[0] * jnp.exp(u[1])])
data = model(jnp.array([1.0, 0.5]))
law = fm.EnsembleKalmanInversion(model, data, 0.05)
run = fm.simulate(law, fm.initial.normal(jr.key(0), 40, 2), jnp.linspace(0.0, 20.0, 201))
ax = plot.contours(lambda u: jnp.log(jnp.sum((model(u) - data) ** 2) + 0.01), -2.5, 2.5)
plot.measure(run.final, ax=plot.trajectory(run, ax=ax), color="C3")

# %% EnsembleKalmanSampler
# 400 points sample a posterior, without a derivative of the model. Lines: its levels.
model = lambda u: jnp.stack([u[0] + 0.3 * u[1] ** 2, u[1]])
data, noise = jnp.array([1.0, 0.5]), 0.3
law = fm.EnsembleKalmanSampler(model, data, noise, jnp.zeros(2), 2.0)
start = fm.initial.normal(jr.key(0), 400, 2)
run = fm.simulate(law, start, [0.0, 6.0], dt=0.02, key=jr.key(1))
minus_log = lambda u: jnp.sum((model(u) - data) ** 2) / (2 * noise) + jnp.sum(u**2) / 4
plot.measure(run.final, ax=plot.contours(minus_log, -2.5, 3.0))

# %% KalmanWassersteinFlow
# Preconditioned by its own covariance a Gaussian reaches a target of condition 100 at one rate for
# all directions.
law = fm.KalmanWassersteinFlow(lambda x: (x[0] ** 2 + 100 * x[1] ** 2) / 2)
start = fm.Gaussian(jnp.array([2.0, 1.0]), jnp.diag(jnp.array([0.1, 0.5])))
run = fm.simulate(law, start, jnp.linspace(0.0, 4.0, 17))
plot.trajectory(run)

# %% InferredGradient
# Each point descends the slope that it infers from the values of the points around it; there is no
# derivative.
start = fm.initial.uniform(jr.key(0), 120, jnp.full(2, -5.0), jnp.full(2, 5.0))
law = fm.InferredGradient(himmelblau, rate=0.02, kernel_width=0.7)
run = fm.simulate(law, start, jnp.linspace(0.0, 10.0, 101), dt=0.05)
ax = plot.trajectory(run, ax=plot.contours(himmelblau, -5.5, 5.5))
plot.measure(run.final, ax=ax, color="C3")

# %% AdaptivePareto
# Points whose preferences repel each other's images cover a front evenly (black), from preferences
# that were all in its middle.
distances = lambda x: jnp.stack([jnp.sum(x**2), jnp.sum((x - jnp.array([1.0, 0.0])) ** 2)])
law = fm.AdaptivePareto(distances, sigma=0.7, alpha=1000.0, adaptation=0.5, reach=0.3)
start = fm.Particles((jr.normal(jr.key(0), (100, 2)), 0.3 * jr.normal(jr.key(1), (100, 2))))
run = fm.simulate(law, start, jnp.linspace(0.0, 12.0, 13), dt=0.05, key=jr.key(2))
for state, color in ((start, "0.7"), (run.final, "C3")):
    plt.plot(*jax.vmap(distances)(state.x[0]).T, ".", color=color)
s = jnp.linspace(0.0, 1.0, 100)
plt.plot(s**2, (1 - s) ** 2, "k", linewidth=0.8)
plt.axis([-0.1, 1.5, -0.1, 1.5])

# %% EqualityConstraint
# Consensus on the unit circle: a lowest point on it of Rastrigin's function, shifted to (1, 1).
bowl = lambda x: rastrigin(x - jnp.array([1.0, 1.0]))
law = fm.ConsensusBased(bowl, sigma=0.5, alpha=50.0, noise="anisotropic")
law = law + fm.EqualityConstraint(lambda x: jnp.vdot(x, x) - 1, 0.1)
start = fm.initial.uniform(jr.key(0), 100, jnp.full(2, -2.0), jnp.full(2, 2.0))
run = fm.simulate(law, start, jnp.linspace(0.0, 6.0, 121), dt=0.01, key=jr.key(1))
ax = plot.trajectory(run, ax=plot.contours(bowl, -2.0, 2.0, levels=6), alpha=0.3)
plot.measure(run.final, ax=ax, color="C3")
ax.add_patch(plt.Circle((0, 0), 1, fill=False))
