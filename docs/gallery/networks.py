"""Networks and manifolds of functions"""

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

# %% ResidualNetwork
# The risk of residual networks of 8 blocks under gradient descent, for widths 2, 8 and 32.
inputs = jr.normal(jr.key(0), (20, 3))
data = inputs, jnp.sin(2 * inputs[:, :1])
ax = plt.subplots()[1]
for width in (2, 8, 32):
    net = fm.ResidualNetwork(8, width, 32, data)
    weights = net.weights(jr.key(1))
    run = fm.simulate(net, weights, jnp.linspace(0.0, 20.0, 41), dt=0.1, observe=net.risk)
    plot.energy(run, ax=ax).lines[-1].set_label(f"width {width}")
ax.set_ylabel("risk")
ax.legend()

# %% ResidualTransformer
# Transformers of 8 layers learn a mean, with 4, 16 and 64 heads, and in the limit of many.
words = jr.normal(jr.key(0), (10, 4, 2))
data = words, jnp.sin(2 * words[:, :, :1].mean(1))
ax, ts = plt.subplots()[1], jnp.linspace(0.0, 4.0, 9)
for heads in (4, 16, 64):
    net = fm.ResidualTransformer(8, heads, 32, 1, data, clip=1.0)
    weights = net.weights(jr.key(1))
    run = fm.simulate(net, weights, ts, dt=0.25, observe=net.risk)
    plot.energy(run, ax=ax).lines[-1].set_label(f"{heads} heads")
limit, start = net.limit(weights, jr.key(2), 8, 128)
plot.energy(fm.simulate(limit, start, ts, dt=0.25, observe=limit.risk), ax=ax)
ax.lines[-1].set(label="limit", color="black", linestyle="--")
ax.set_ylabel("risk")
ax.legend()

# %% ControlledFlow
# A lattice under a neural ODE with eight random controls; right, under polynomial fields whose
# controls were learned, to bend it by x₂ + x₁².
controls = 2 * jr.normal(jr.key(3), (8, 2, 3))
law = fm.ControlledFlow(lambda x, w: jnp.tanh(w[:, :2] @ x + w[:, 2]), controls)
powers = lambda x: jnp.concatenate([jnp.ones(1), x, jnp.outer(x, x).ravel()])
field = fm.ControlLinear(lambda x: jnp.kron(powers(x)[:, None], jnp.eye(2)))


def loss(u, key):
    x = jr.uniform(key, (64, 2), minval=-1, maxval=1)
    moved = fm.simulate(fm.ControlledFlow(field, u), fm.Particles(x), [0.0, 1.0], dt=0.125).final.x
    return jnp.mean((moved - x.at[:, 1].add(x[:, 0] ** 2)) ** 2)


u = fm.learn(loss, jnp.zeros((8, 14)), key=jr.key(4), steps=300, learning_rate=0.03).network
lattice = jnp.stack(jnp.meshgrid(*[jnp.linspace(-1.0, 1.0, 21)] * 2), -1).reshape(-1, 2)
for ax, flow in zip(plt.subplots(1, 2)[1], (law, fm.ControlledFlow(field, u)), strict=True):
    run = fm.simulate(flow, fm.Particles(lattice), [0.0, 1.0], dt=0.125 / 4)
    x, y = jnp.moveaxis(run.final.x.reshape(21, 21, 2), -1, 0)
    ax.plot(x, y, "C0", x.T, y.T, "C0", linewidth=0.8)
    ax.set_aspect("equal")

# %% ContractiveFlow
# A network of four layers that brings all points closer to each other, a lattice here.
net = fm.ContractiveFlow(
    jr.normal(jr.key(7), (4, 6, 2)) / 2, jr.normal(jr.key(8), (4, 6)), jnp.tanh
)
line = jnp.linspace(-1.5, 1.5, 21)
lattice = jnp.stack(jnp.meshgrid(line, line), -1)
run = fm.simulate(net, fm.Particles(lattice.reshape(-1, 2)), [0.0, 1.0], dt=0.25 / 8)
for colour, grid in (("0.8", lattice), ("C0", run.final.x.reshape(21, 21, 2))):
    x, y = jnp.moveaxis(grid, -1, 0)
    plt.plot(x, y, colour, x.T, y.T, colour, linewidth=0.8)
plt.gca().set_aspect("equal")

# %% MultiIndexFlow
# A learner finds two hidden directions of a Gaussian model one after the other: overlaps
# rest at saddles.
law = fm.MultiIndexFlow((jnp.zeros(2), jnp.diag(jnp.array([2.0, 0.7]))))
start = fm.Particles(0.2 * jr.normal(jr.key(4), (1, 2, 2)))
run = fm.simulate(law, start, jnp.linspace(0.0, 80.0, 161), observe=lambda mu: mu.x[0].ravel())
plot.curve(run.ts, run.ys, "entries of M")

# %% UnconstrainedFeatures
# Features of three classes collapse to the corners of a triangle.
law = fm.UnconstrainedFeatures(3, 8, weight_decay=0.02)
run = fm.simulate(law, law.start(jr.key(5), width=2, scale=1.0), jnp.linspace(0.0, 300.0, 151))
for i, name in enumerate(law.labels):
    plt.plot(*run.ys[1][:, :, i].T, f"C{name}", linewidth=0.6)
plt.scatter(*run.final[1], c="k", zorder=3)
plt.gca().set_aspect("equal")

# %% NaturalGradient
# Two bumps solve the Allen–Cahn equation in their amplitudes and places: the function over time.
model = fm.AllenCahn(-8.0, 8.0, epsilon=1.0, background=-1.0)
law = fm.NaturalGradient(model.embedding, model.energy)
theta = jnp.array([2.0, 2.0]), jnp.array([-1.6, 1.6])
run = fm.simulate(law, theta, jnp.linspace(0.0, 1.0, 6), dt=0.01)
x = jnp.linspace(-8.0, 8.0, 200)
u = jax.vmap(lambda theta: jax.vmap(lambda x: model.value(theta, x))(x))(run.ys)
plt.plot(x, u.T)
plt.legend([f"t = {t:.1f}" for t in run.ts])

# %% DiracFrenkel
# A heat equation projected on three Gaussians of fixed width, which can move and fade, not spread.
model = fm.AllenCahn(-8.0, 8.0, well=lambda u: 0 * u)
law = fm.DiracFrenkel(model.embedding, model.field, ridge=1e-2)
theta = jnp.array([1.0, -1.0, 1.0]), jnp.array([-3.0, 0.0, 3.0])
run = fm.simulate(law, theta, jnp.linspace(0.0, 3.0, 5), dt=0.02)
x = jnp.linspace(-8.0, 8.0, 200)
u = jax.vmap(lambda theta: jax.vmap(lambda x: model.value(theta, x))(x))(run.ys)
plt.plot(x, u.T)
plt.legend([f"t = {t:.2f}" for t in run.ts])
