"""Stochastic gradient descent"""

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import optax

import flowjax_measures as fm
from flowjax_measures import plot

# %% StochasticModifiedEquation
# From a point, the law of the parameters of a regression: mean and two standard deviations of the
# equation, and SGD's own, exact, as dots.
loss = lambda w, example: (jnp.vdot(example[0], w) - example[1]) ** 2 / 2
data = jr.normal(jr.key(0), (10, 1)), jr.normal(jr.key(1), (10,))
eta, start = 0.1, fm.Gaussian(jnp.array([2.0]), jnp.zeros((1, 1)))
law = fm.StochasticModifiedEquation(loss, data, eta, order=2)
run = fm.simulate(law, start, jnp.linspace(0.0, 5.0, 51))
ax = plot.trajectory(run)
for k in range(0, 51, 5):
    sgd = fm.sgd_moments(loss, data, eta, 1, start, k)
    ax.errorbar(k * eta, sgd.m[0], 2 * sgd.cov[0, 0] ** 0.5, fmt="k.", linewidth=1)

# %% StochasticModifiedFlow
# Two initial points under the same minibatches: of SGD (dots) and of the flow (lines), of which
# each has its own randomness.
loss = lambda w, example: (jnp.vdot(example[0], w) - example[1]) ** 2 / 2
data = jr.normal(jr.key(11), (5, 2)), jr.normal(jr.key(12), (5,))
points = fm.Particles(jnp.array([[1.0, -0.5], [0.2, 0.7]]))
eta, ts = 0.05, jnp.arange(0.0, 3.01, 0.05)
sgd = fm.simulate(fm.minibatch(loss, data, 1, optax.sgd(eta)), points, ts, dt=eta, key=jr.key(0))
law = fm.StochasticModifiedFlow(loss, data, eta)
flow = fm.simulate(law, points, ts, dt=eta / 8, key=jr.key(0))
plt.plot(sgd.ys.x[..., 0], sgd.ys.x[..., 1], ".", markersize=3)
plt.gca().set_prop_cycle(None)
plt.plot(flow.ys.x[..., 0], flow.ys.x[..., 1])

# %% MomentumModifiedEquation
# Heavy balls in an oblong bowl, as SGD with momentum 0.9 (dots) and as its equation (lines).
loss = lambda w, z: (w[0] - z[0]) ** 2 / 2 + 5 * (w[1] - z[1]) ** 2
data, eta = 0.3 * jr.normal(jr.key(0), (50, 2)), 0.01
sgd = fm.minibatch(loss, data, 1, optax.sgd(eta, momentum=0.9))
params = fm.Particles(jnp.array([[3.0, 2.0]]))
steps = fm.simulate(sgd, sgd.start(params), jnp.arange(121.0), dt=1, key=jr.key(0)).ys
law = fm.MomentumModifiedEquation(loss, data, eta, momentum=0.9, order=2)
points = fm.Particles(fm.Phase(params.x, jnp.zeros((1, 2))))
run = fm.simulate(law, points, jnp.linspace(0.0, 12.0, 121), dt=0.02, key=jr.key(0))
ax = plot.trajectory(run)
ax.plot(*steps.x.params[:, 0].T, ".", markersize=3)

# %% RMSpropModifiedEquation
# The loss along RMSprop (dots) and along its equation; time is (number of steps) × η.
loss = lambda w, z: jnp.sum(jnp.array([0.5, 5.0]) * (w - z) ** 2)
data, eta = 0.3 * jr.normal(jr.key(0), (50, 2)), 0.02
risk = lambda w: jnp.mean(jax.vmap(lambda z: loss(w, z))(data))
optimizer = fm.minibatch(loss, data, 5, optax.rmsprop(eta, 0.95, initial_scale=10.0))
start = jnp.array([[3.0, 2.0]])
see = lambda mu: risk(mu.x.params[0])
steps = fm.simulate(
    optimizer,
    optimizer.start(fm.Particles(start)),
    jnp.arange(301.0),
    dt=1,
    key=jr.key(0),
    observe=see,
)
law = fm.RMSpropModifiedEquation(loss, data, eta, 5, 0.95)
state = fm.Particles(fm.Moments(start, (), jnp.full((1, 2), 10.0)))
run = fm.simulate(law, state, eta * steps.ts, dt=eta, key=jr.key(0), observe=see)
ax = plot.curve(run.ts, run.ys, "loss")
ax.plot(run.ts, steps.ys, ".", markersize=2)
ax.set_yscale("log")

# %% AdamModifiedEquation
# The loss along Adam (dots) and along its equation; time is (number of steps) × η.
loss = lambda w, z: jnp.sum(jnp.array([0.5, 5.0]) * (w - z) ** 2)
data, eta = 0.3 * jr.normal(jr.key(0), (50, 2)), 0.03
risk = lambda w: jnp.mean(jax.vmap(lambda z: loss(w, z))(data))
optimizer = fm.minibatch(loss, data, 5, optax.adam(eta, 0.9, 0.95))
start = fm.Particles(jnp.array([[3.0, 2.0]]))
see = lambda mu: risk(mu.x.params[0])
steps = fm.simulate(
    optimizer, optimizer.start(start), jnp.arange(301.0), dt=1, key=jr.key(0), observe=see
)
law, zero = fm.AdamModifiedEquation(loss, data, eta, 5, 0.9, 0.95), jnp.zeros((1, 2))
state = fm.Particles(fm.Moments(start.x, zero, zero))
run = fm.simulate(law, state, eta * steps.ts, dt=eta / 4, key=jr.key(0), observe=see)
ax = plot.curve(run.ts, run.ys, "loss")
ax.plot(run.ts, steps.ys, ".", markersize=2)
ax.set_yscale("log")

# %% StreamingLeastSquares
# The risk of one-pass SGD in dimension 400 (dots) and of its limit; time is (number of steps) / d.
d, gamma, noise = 400, 0.8, 0.3
eigenvalues, key = jnp.linspace(0.2, 1.8, d), jr.key(0)


def step(error, key):
    z = jnp.sqrt(eigenvalues) * jr.normal(key, (d,))
    slope = z @ error + noise * jr.normal(jr.fold_in(key, 1))
    return error - gamma / d * slope * z, (eigenvalues @ error**2 + noise**2) / 2


risks = jax.lax.scan(step, jnp.ones(d) / d**0.5, jr.split(key, 8 * d))[1]
state = fm.Particles((eigenvalues, jnp.ones(d)))
risk = lambda mu: (mu.mean(lambda x: x[0] * x[1]) + noise**2) / 2
law = fm.StreamingLeastSquares(gamma, noise)
run = fm.simulate(law, state, jnp.linspace(0.0, 8.0, 81), observe=risk)
ax = plot.curve(run.ts, run.ys, "risk")
ax.plot(jnp.arange(8 * d)[::20] / d, risks[::20], ".", markersize=2)

# %% ShallowNetwork
# 200 neurons in the mean-field scaling fit seven points; lines are the network at four times.
x = jnp.array([-1.0, -0.7, -0.35, 0.0, 0.3, 0.65, 1.0])
data = jnp.stack([x, jnp.ones(7)], 1), jnp.array([0.3, 0.6, -0.3, -0.5, 0.1, 0.7, 0.2])
net = fm.ShallowNetwork(jax.nn.relu, data)
neurons = fm.initial.neurons(jr.key(0), 200, 2, law="balanced")
run = fm.simulate(net, neurons, [0.0, 10.0, 100.0, 1000.0], dt=0.1)
line = jnp.linspace(-1.2, 1.2, 200)
shown = fm.ShallowNetwork(jax.nn.relu, (jnp.stack([line, jnp.ones(200)], 1), line))
plt.plot(line, jax.vmap(shown.predictions)(run.ys).T)
plt.plot(x, data[1], "ko")
plt.legend([f"t = {t:.0f}" for t in run.ts])

# %% StochasticMeanField
# The risk of 300 neurons under minibatches: five realisations, and the flow without noise.
data = jr.normal(jr.key(0), (12, 3)), jr.normal(jr.key(1), (12,))
net = fm.ShallowNetwork(jnp.tanh, data)
neurons, ts = fm.initial.neurons(jr.key(2), 300, 3), jnp.linspace(0.0, 4.0, 81)
flow = fm.simulate(net, neurons, ts, dt=0.05, observe=net.risk)
ax = plot.energy(flow, color="k")
for seed in range(5):
    law = fm.StochasticMeanField(net, eta=0.03)
    run = fm.simulate(law, neurons, ts, dt=0.05, key=jr.key(seed), observe=net.risk)
    plot.energy(run, ax=ax, linewidth=0.6)
ax.set_ylabel("risk")

# %% MeanFieldLangevin
# A density in a double well with attraction between points, at a temperature: it symmetrises
# slowly.
energy = fm.PotentialEnergy(lambda x: jnp.sum((x**2 - 1) ** 2)) + fm.InteractionEnergy(
    fm.QuadraticKernel(0.3)
)
law = fm.MeanFieldLangevin(energy, temperature=0.5)
x = jnp.linspace(-2.475, 2.475, 100)
rho = fm.GridDensity(jnp.exp(-8 * (x - 1) ** 2), -2.5, 2.5)
run = fm.simulate(law, rho, jnp.linspace(0.0, 12.0, 121))
plot.trajectory(run).set_ylabel("x")

# %% SelfInteractingLangevin
# One walker in the field of its own past: the past (blue) goes to the Gibbs law (dashed), as it
# would with many walkers.
well = lambda x: jnp.sum((x**2 - 1) ** 2)
law = fm.SelfInteractingLangevin(fm.PotentialEnergy(well), temperature=0.5, forgetting=0.01)
x = jnp.linspace(-2.475, 2.475, 100)
state = {
    "walkers": fm.Particles(jnp.ones((1, 1))),
    "past": fm.GridDensity(jnp.ones(100) / 5, -2.5, 2.5),
}
run = fm.simulate(law, state, [0.0, 400.0], dt=0.01, key=jr.key(0))
gibbs = jnp.exp(-2 * (x**2 - 1) ** 2)
ax = plot.measure(run.final["past"])
ax.plot(x, gibbs / gibbs.sum() * 20, "k--")
