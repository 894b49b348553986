"""Interpolants and generative flows"""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

# %% StochasticInterpolant
# Flow matching from a normal law to eight atoms, with its exact velocity; right, as it is learned.
angle = 2 * jnp.pi * jnp.arange(8) / 8
atoms = fm.Particles(3 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1))
source = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
flow = fm.StochasticInterpolant(source, atoms)
start = fm.Particles(source.sample(jr.key(0), 150))
loss = lambda v, key: fm.flow_matching_loss(v, flow, key, 256)
net = fm.MLP(2, width=64, key=jr.key(1))
net = fm.learn(loss, net, key=jr.key(2), steps=5000, learning_rate=4e-3).network
axes = plt.subplots(1, 2, sharex=True, sharey=True)[1]
for ax, law in zip(axes, (flow, fm.ProbabilityFlow(net)), strict=True):
    run = fm.simulate(law, start, jnp.linspace(0.0, 1.0, 51), dt=0.02, solver=diffrax.Euler())
    plot.trajectory(run, ax=ax)
    plot.measure(start, ax=ax, color="0.6", s=8)
    plot.measure(atoms, ax=ax, color="C3")

# %% ProbabilityFlow
# With an exact score the flow and the diffusion have one law, with a learned one nearly; a wrong
# score parts them.
one, two = fm.Gaussian(jnp.zeros(1), jnp.eye(1)), fm.Gaussian(jnp.ones(1), 0.1 * jnp.eye(1))
exact = fm.StochasticInterpolant(one, two)
wrong = lambda t, x: exact.score(t, x) + 0.4 * x
loss = lambda s, key: fm.score_matching_loss(s, exact, key, 256)
net = fm.learn(loss, fm.MLP(1, width=64, key=jr.key(0)), key=jr.key(1), steps=2000).network
cases = (exact.score, None, "k"), (exact.score, 1.0, "C1--"), (net, 1.0, "C0:"), (wrong, 1.0, "C3")
for score, noise, style in cases:
    law = fm.ProbabilityFlow(exact.velocity, score, noise)
    run = fm.simulate(law, one, jnp.linspace(0.0, 1.0, 41), observe=lambda mu: mu.cov[0, 0])
    plt.plot(run.ts, run.ys, style)
plt.legend(["flow", "diffusion", "diffusion, learned score", "diffusion, wrong score"])
plt.gca().set(xlabel="t", ylabel="variance")

# %% LogLikelihood
# The density of three points of data under a flow at t = 0.7, by the divergence along its paths;
# right, under the flow of a velocity that was learned.
centres = fm.Particles(jnp.array([[2.0, 0.0], [-1.0, 1.0], [0.0, -2.0]]))
flow = fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(2), jnp.eye(2)), centres)
loss = lambda v, key: fm.flow_matching_loss(v, flow, key, 256)
net = fm.learn(loss, fm.MLP(2, width=64, key=jr.key(0)), key=jr.key(1), steps=3000).network
line = jnp.linspace(-3.0, 3.0, 40)
points = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
state = fm.Particles((points, jnp.zeros(len(points))))
for ax, law in zip(plt.subplots(1, 2)[1], (flow, fm.ProbabilityFlow(net)), strict=True):
    latent, change = fm.simulate(fm.LogLikelihood(law, 0.7), state, [0.0, 0.7], dt=0.02).final.x
    log_density = jax.vmap(flow.source.log_density)(latent) + change
    ax.contourf(line, line, jnp.exp(log_density).reshape(40, 40), 20)
    ax.set_aspect("equal")

# %% McKeanPontryagin
# States and costates of a Schrödinger bridge between Gaussians on the line, without noise; right,
# the diffusion of a drift that was learned from the bridge's pairs.
one, two = fm.Gaussian(-jnp.ones(1), 0.1 * jnp.eye(1)), fm.Gaussian(jnp.ones(1), 0.4 * jnp.eye(1))
bridge = fm.schroedinger_bridge(one, two, sigma=1.0)
q = one.sample(jr.key(0), 60)
p = jax.vmap(lambda x: bridge.rates(0.0, x, None).velocity)(q)
law = fm.McKeanPontryagin(0.5 * jnp.eye(1), jnp.eye(1))
run = fm.simulate(law, fm.Particles(fm.Phase(q, p)), jnp.linspace(0.0, 1.0, 41))
loss = lambda u, key: fm.bridge_matching_loss(u, bridge, key, 256)
net = fm.learn(loss, fm.MLP(1, width=64, key=jr.key(1)), key=jr.key(2), steps=2000).network
learned = fm.ProbabilityFlow(net, lambda t, x: 0 * x, 0.5)
other = fm.simulate(learned, fm.Particles(q), run.ts, dt=0.005, key=jr.key(3))
for ax, x in zip(plt.subplots(1, 2, sharey=True)[1], (run.ys.x.q, other.ys.x), strict=True):
    ax.plot(run.ts, x[..., 0], "C0", linewidth=0.6)
    ax.set(xlabel="t")

# %% EnergyBasedModel
# Two wells whose depths are learned from data, of which a quarter is on the left: no walker passes
# the barrier, their weights (orange) do.
wells = lambda theta, x: -jnp.logaddexp(theta[0] - (x[0] + 2) ** 2, -((x[0] - 2) ** 2))
side = lambda share: jnp.where(jnp.arange(2000) < 2000 * share, -2.0, 2.0)[:, None]
noise = jr.normal(jr.key(0), (2, 2000, 1)) * 0.5**0.5
walkers = fm.Particles(side(0.5) + noise[0], jnp.full(2000, -jnp.log(2000.0)))
law = fm.EnergyBasedModel(wells, fm.Particles(side(0.25) + noise[1]))
state = dict(parameters=fm.Particles(jnp.zeros((1, 1))), walkers=walkers)
run = fm.simulate(law, state, [0.0, 30.0], dt=0.05, key=jr.key(1)).final
x, weights = run["walkers"].x[:, 0], jnp.exp(run["walkers"].log_w)
plt.hist((side(0.25) + noise[1])[:, 0], 60, density=True, color="0.8")
plt.hist(x, 60, weights=weights, density=True, color="C1", histtype="step")
exact = jnp.logaddexp(0.0, run["parameters"].x[0, 0]) - jnp.log(2.0)
plt.title(f"log Z {law.log_z(run):.3f}, exactly {exact:.3f}; grey: data")

# %% EquilibriumMatching
# One velocity for all times: paths slow down nowhere before they reach the atoms. Right, a network
# has learned it.
atoms = fm.Particles(jnp.array([[2.0, 0.0], [-1.0, 1.5], [0.0, -2.0]]))
source = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
flow = fm.EquilibriumMatching(fm.StochasticInterpolant(source, atoms))
start = fm.Particles(source.sample(jr.key(0), 60))
loss = lambda v, key: fm.flow_matching_loss(v, flow, key, 256)
net = fm.MLP(2, width=64, time=0, key=jr.key(1))
net = fm.learn(loss, net, key=jr.key(2), steps=2000).network
axes = plt.subplots(1, 2, sharex=True, sharey=True)[1]
for ax, law in zip(axes, (flow, fm.ProbabilityFlow(net)), strict=True):
    run = fm.simulate(law, start, jnp.linspace(0.0, 5.0, 101), dt=0.05, solver=diffrax.Euler())
    plot.trajectory(run, ax=ax)
    plot.measure(atoms, ax=ax, color="C3")

# %% StoppedFlow
# One velocity for all times, learned from a crescent (grey): points run past it (left), and stop in
# its law where they do so at a rate that was learned beside it (right).
angle = jnp.pi * jr.uniform(jr.key(0), (4000,))
bow = 2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1) + 0.2 * jr.normal(jr.key(1), (4000, 2))
source = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
matching = fm.EquilibriumMatching(fm.StochasticInterpolant(source, fm.Particles(bow)))
velocity = lambda nets, key: fm.flow_matching_loss(nets[0], matching, key, 256)
loss = lambda nets, key: velocity(nets, key) + fm.stopping_loss(nets[1], matching, key, 256)
nets = [fm.MLP(2, width=64, time=0, key=jr.key(k), out=o) for k, o in ((2, 2), (3, "scalar"))]
net, log_rate = fm.learn(loss, nets, key=jr.key(4), steps=3000, learning_rate=3e-3).network
flow, rate = fm.ProbabilityFlow(net), lambda t, x: jnp.exp(log_rate(t, x))
x, e = source.sample(jr.key(5), 400), jr.exponential(jr.key(6), (400,))
axes = plt.subplots(1, 2, sharex=True, sharey=True)[1]
cases = (flow, fm.Particles(x)), (fm.StoppedFlow(flow, rate), fm.Particles((x, e)))
for ax, (law, start) in zip(axes, cases, strict=True):
    final = fm.simulate(law, start, [0.0, 5.0], dt=0.02, solver=diffrax.Euler()).final
    made = jax.tree.leaves(final.x)[0]
    ax.scatter(*bow[::4].T, c="0.85", s=3)
    ax.scatter(*made.T, c="C3", s=8)
axes[0].set(xlim=(-5.0, 5.0), ylim=(-4.0, 5.0))

# %% PoissonFlow
# Points follow the electric field from the charges of a Gaussian to those of three atoms; right,
# the field as a network has learned it.
atoms = fm.Particles(jnp.array([[2.0, 0.0], [-1.0, 1.5], [0.0, -2.0]]))
source = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
flow = fm.PoissonFlow(source, atoms, unit_speed=True)
start = fm.Particles(source.sample(jr.key(0), 60))
loss = lambda v, key: fm.flow_matching_loss(v, flow, key, 256)
net = fm.MLP(2, width=64, time=0, key=jr.key(1))
net = fm.learn(loss, net, key=jr.key(2), steps=4000, learning_rate=3e-3).network
axes = plt.subplots(1, 2, sharex=True, sharey=True)[1]
axes[0].set(xlim=(-4.0, 4.5), ylim=(-4.0, 4.5))
for ax, law in zip(axes, (flow, fm.ProbabilityFlow(net)), strict=True):
    run = fm.simulate(law, start, jnp.linspace(0.0, 6.0, 301), dt=0.02, solver=diffrax.Euler())
    plot.trajectory(run, ax=ax)
    plot.measure(atoms, ax=ax, color="C3")

# %% DriftingFlow
# Points drift to a crescent (grey) by the difference of two kernel means; right, a generator has
# learned to make such points in one step.
angle = jnp.pi * jr.uniform(jr.key(0), (300,))
bow = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1) + 0.1 * jr.normal(jr.key(1), (300, 2))
flow = fm.DriftingFlow(fm.Particles(bow), fm.GaussianKernel(0.3))
start = fm.initial.normal(jr.key(2), 300, 2, scale=0.3)
run = fm.simulate(flow, start, [0.0, 20.0], dt=0.1)
draws = lambda key: 0.3 * jr.normal(key, (256, 2))
loss = lambda net, key: fm.drifting_loss(lambda z: net(0.0, z), flow, draws(key))
net = fm.learn(loss, fm.MLP(2, width=64, time=0, key=jr.key(3)), key=jr.key(4), steps=2000).network
made = fm.Particles(jax.vmap(lambda z: net(0.0, z))(start.x))
for ax, mu in zip(plt.subplots(1, 2, sharex=True, sharey=True)[1], (run.final, made), strict=True):
    plot.measure(fm.Particles(bow), ax=ax, color="0.8")
    plot.measure(mu, ax=ax, s=8)

# %% BlindDenoising
# Data on a line in 64 dimensions: the noise of the points follows the level that theory gives, with
# the exact denoiser and with a network.
line = jnp.zeros((41, 64)).at[:, 0].set(jnp.linspace(-1.0, 1.0, 41))
levels = jnp.geomspace(0.02, 4.0, 60)
law = fm.BlindDenoising(fm.Particles(line), levels, lambda t: 2 * jnp.exp(-t))
start = fm.initial.normal(jr.key(0), 50, 64, scale=2.0)
off = lambda mu: jnp.sqrt(jnp.mean(mu.x[:, 1:] ** 2))
loss = lambda f, key: fm.denoising_loss(lambda y: f(0.0, y), law, key, 256)
net = fm.MLP(64, width=128, time=0, key=jr.key(2))
net = fm.learn(loss, net, key=jr.key(3), steps=2000).network
learned = fm.BlindDenoising(law.data, levels, law.diffusion, learned=lambda y: net(0.0, y))
ts = jnp.linspace(0.0, 4.0, 41)
for system, label in ((law, "noise of the points"), (learned, "with a network")):
    run = fm.simulate(system, start, ts, dt=0.02, key=jr.key(1), observe=off)
    plt.semilogy(run.ts, run.ys, label=label)
plt.semilogy(run.ts, 2 * jnp.exp(-run.ts / 2), "k--", label=r"$\sigma_t$")
plt.legend()
plt.gca().set_xlabel("t")

# %% ConditionalFlow
# A network learns two moons with their labels, which are then asked for: each makes its moon.
angle = jnp.pi * jr.uniform(jr.key(0), (2000,))
label = jr.bernoulli(jr.key(1), 0.5, (2000,)).astype(int)
moon = jnp.stack([jnp.cos(angle) + label, (1 - 2 * label) * (jnp.sin(angle) - 0.25)], 1)
data = fm.Particles((2 * moon + 0.1 * jr.normal(jr.key(2), (2000, 2)), label))
source = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
loss = lambda v, key: fm.conditional_flow_matching_loss(v, source, data, key, 256)
network = fm.MLP(2, key=jr.key(3), width=64, labels=2)
learned = fm.learn(loss, network, key=jr.key(4), steps=3000, learning_rate=3e-3).network
start = fm.Particles((source.sample(jr.key(5), 600), jnp.arange(600) % 2))
final = fm.simulate(fm.ConditionalFlow(learned), start, [0.0, 1.0], dt=0.02).final
plt.scatter(*data.x[0].T, c="0.85", s=3)
plt.scatter(*final.x[0].T, c=final.x[1], cmap="coolwarm", s=8)

# %% GuidedFlow
# The sum of coordinates was seen (line): the prior (grey) is guided there (red), in the middle by
# its exact velocity, on the left by a learned one; right, exactly.
means, covs = 2.0 * jnp.array([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]]), jnp.full(3, 0.15)
prior = fm.Particles((means, covs[:, None, None] * jnp.eye(2)))
matrix, seen, noise = jnp.ones((1, 2)), jnp.array([0.8]), 0.05 * jnp.eye(1)
source = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
flow = fm.StochasticInterpolant(source, prior)
loss = lambda v, key: fm.flow_matching_loss(v, flow, key, 256)
net = fm.learn(loss, fm.MLP(2, width=64, key=jr.key(1)), key=jr.key(2), steps=3000).network
exact = fm.StochasticInterpolant(source, fm.linear_posterior(prior, matrix, seen, noise))
guided = [fm.GuidedFlow(v, matrix, seen, noise) for v in (net, flow.velocity)]
start = fm.Particles(source.sample(jr.key(0), 400))
cases = (flow, "0.8", 0), (guided[0], "C3", -5), (guided[1], "C3", 0), (exact, "C0", 5)
for law, color, shift in cases:
    x = fm.simulate(law, start, [0.0, 1.0], dt=0.02).final.x
    plt.scatter(x[:, 0] + shift, x[:, 1], c=color, s=5)
    plt.axline((0.8 + shift, 0.0), slope=-1.0, c="k", lw=0.7)
plt.gca().set(xlim=(-9, 9), ylim=(-4, 4))

# %% KacFlow
# From noise of finite speed to two atoms: the cones (grey) are never left. Orange: as a network has
# learned it.
data = fm.Particles(jnp.array([[-1.0], [1.0]]))
flow = fm.KacFlow(data, damping=9.0, speed=3.0)
start = fm.Particles(data.sample(jr.key(0), 60) + flow.noise(jr.key(1), 60, 1))
run = fm.simulate(flow, start, jnp.linspace(0.0, 1.0, 101), dt=0.01)
ts = run.ts[:, None]
for side in (-1, 1):
    plt.plot(ts, data.x.T + side * 3 * (1 - ts), "0.7")
plt.plot(run.ts, run.ys.x[..., 0], "C0", linewidth=0.6)
loss = lambda v, key: fm.flow_matching_loss(v, flow, key, 256)
net = fm.learn(loss, fm.MLP(1, width=64, key=jr.key(2)), key=jr.key(3), steps=2000).network
few = fm.Particles(start.x[::4])
run = fm.simulate(fm.ProbabilityFlow(net), few, jnp.linspace(0.0, 1.0, 101), dt=0.01)
plt.plot(run.ts, run.ys.x[..., 0], "C1", linewidth=0.9)
plt.gca().set(xlabel="t", ylabel="x", ylim=(-3, 3))

# %% FlowMap
# Four steps from Kac's noise to four atoms: of Euler on the exact velocity (left), and of the map
# that a network has distilled from it (right).
data = fm.Particles(jnp.array([[2.0, 2.0], [-2.0, 2.0], [-2.0, -2.0], [2.0, -2.0]]))
flow = fm.KacFlow(data, damping=9.0, speed=3.0)
velocity = lambda t, x: flow.rates(t, x, None).velocity
loss = lambda u, key: fm.distillation_loss(u, velocity, flow, key, 256)
net = fm.MLP(2, width=64, condition=1, key=jr.key(0))
net = fm.learn(loss, net, key=jr.key(1), steps=3000, learning_rate=3e-3).network
start = fm.Particles(data.sample(jr.key(2), 300) + flow.noise(jr.key(3), 300, 2))
axes = plt.subplots(1, 2, sharex=True, sharey=True)[1]
ts, euler = jnp.linspace(0.0, 1.0, 5), diffrax.Euler()
for ax, law in zip(axes, (flow, fm.FlowMap(net, 0.25)), strict=True):
    run = fm.simulate(law, start, ts, dt=0.25, solver=euler)
    plot.trajectory(run, ax=ax)
    plot.measure(run.final, ax=ax, color="C1", s=8)
    plot.measure(data, ax=ax, color="C3")

# %% LeastSquaresFlow
# The W₂ geodesic between Gaussians, its velocity solved for in the quadratic potentials.
one = fm.Gaussian(jnp.zeros(2), jnp.diag(jnp.array([1.0, 0.1])))
two = fm.Gaussian(jnp.array([4.0, 1.0]), jnp.diag(jnp.array([0.1, 1.0])))
quadratic = lambda x: jnp.concatenate([x, jnp.outer(x, x)[jnp.triu_indices(2)]])
flow = fm.LeastSquaresFlow(lambda t: fm.mccann(one, two, t), quadratic)
start = fm.Particles(one.sample(jr.key(0), 80))
run = fm.simulate(flow, start, jnp.linspace(0.0, 1.0, 31), dt=1 / 30)
ax = plot.trajectory(run)
plot.measure(start, ax=ax, color="0.6", s=8)
plot.measure(run.final, ax=ax, color="C3", s=8)
