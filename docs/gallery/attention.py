"""Attention"""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt

import flowjax_measures as fm
from flowjax_measures import plot

# %% SelfAttention
# 128 tokens on the sphere gather in clusters.
tokens = fm.initial.uniform_on_sphere(jr.key(0), 128, 3)
run = fm.simulate(fm.SelfAttention(beta=9.0), tokens, jnp.linspace(0.0, 8.0, 41), dt=0.05)
print(fm.number_of_clusters(run.final, 0.3))
plot.sphere(run)

# %% CausalAttention
# Token k sees the tokens up to k: the first one stands still, and the others come to it in their
# order. Colour is the scalar product with the first.
tokens = fm.initial.uniform_on_sphere(jr.key(1), 64, 3)
law = fm.CausalAttention(beta=1.0)
run = fm.simulate(law, tokens, jnp.linspace(0.0, 12.0, 121), dt=0.05)
agreement = run.ys.x @ tokens.x[0]
plt.pcolormesh(run.ts, jnp.arange(64), agreement.T, cmap="RdBu_r", vmin=-1, vmax=1)
plt.xlabel("t")
plt.ylabel("token")
plt.colorbar()

# %% CausalCircle
# Angles drawn by those before them, early tokens dark.
angles = fm.Particles(2 * jnp.pi * jr.uniform(jr.key(0), (48, 1)))
law = fm.CausalCircle(beta=1.5, recency=5.0)
run = fm.simulate(law, angles, jnp.linspace(0.0, 8.0, 161), dt=0.05)
ax = plt.subplots()[1]
ax.set_prop_cycle(color=plt.get_cmap("viridis")(jnp.arange(48) / 48))
ax.plot(run.ts, run.ys.x[:, :, 0], linewidth=0.8)
ax.set(xlabel="t", ylabel="angle")

# %% CausalKinetic
# Infinitely many tokens: the density of angles (upwards) at each position in the context (to the
# right). A bump at the beginning of the context draws the rest to it.
position, angle = jnp.meshgrid(jnp.arange(24) / 24, 2 * jnp.pi * jnp.arange(32) / 32, indexing="ij")
bump = 1 + 0.9 * jnp.exp(-8 * position) * jnp.cos(angle - jnp.pi)
rho = fm.GridDensity(bump / (2 * jnp.pi), 0.0, jnp.array([1.0, 2 * jnp.pi]), (False, True))
run = fm.simulate(fm.CausalKinetic(beta=1.0), rho, [0.0, 1.2], dt=0.02)
plot.measure(run.final).set(aspect="auto", xlabel="position in the context", ylabel="angle")

# %% GraphAttention
# Two communities that hardly see each other become two clusters.
community = jnp.arange(80) % 2
weights = jnp.where(community[:, None] == community, 1.0, 0.02)
tokens = fm.initial.uniform_on_sphere(jr.key(2), 80, 3)
law = fm.GraphAttention(weights, beta=1.0)
run = fm.simulate(law, tokens, jnp.linspace(0.0, 12.0, 61), dt=0.05)
plot.sphere(run, c=community, cmap="coolwarm", s=40)

# %% BDiffusion
# Two phases that share a field without divergence: mixed, their sum stays 1.
field = lambda t, x: jnp.diag(2 + 1.9 * jnp.sin(2 * jnp.pi * x[::-1])) / 100
x = (jnp.arange(48) + 0.5) / 48
disc = jnp.where((x[:, None] - 0.5) ** 2 + (x - 0.5) ** 2 < 0.09, 0.99, 0.01)
mass = disc.mean()
phase = fm.GridDensity(disc / mass, jnp.zeros(2), jnp.ones(2), periodic=True)
run = fm.simulate(fm.BDiffusion(field), phase, [0.0, 0.2, 0.6], dt=0.004)
for ax, rho in zip(plt.subplots(1, 3, sharey=True)[1], run.ys.rho, strict=True):
    ax.imshow(mass * rho.T, origin="lower", extent=(0, 1, 0, 1), vmin=0, vmax=1)

# %% GraphonVlasov
# A density of tokens x by their label ξ, where near labels see each other: opinions along ξ.
near = lambda a, b: 10 * jnp.exp(-50 * (a - b) ** 2)
law = fm.GraphonVlasov(fm.HypergraphInteraction((lambda x, y: y - x,), (near,)))
xi, x = (jnp.arange(32)[:, None] + 0.5) / 32, (jnp.arange(64) + 0.5) / 16 - 2
rho = jnp.exp(-8 * (x - jnp.sin(6 * xi)) ** 2)
start = fm.GridDensity(rho / rho.mean() / 4, jnp.array([0.0, -2.0]), jnp.array([1.0, 2.0]))
run = fm.simulate(law, start, [0.0, 0.5], dt=0.01)
plt.imshow(run.final.rho.T, origin="lower", extent=(0, 1, -2, 2), aspect="auto")
plt.xlabel("label ξ")
plt.ylabel("token x")

# %% HypergraphInteraction
# Oscillators that turn to each other in pairs and in threes, K(x, y, z) = 2 sin(2y − z − x), end in
# one phase, up to whole turns.
pair = lambda x, y: jnp.sin(y - x)
three = lambda x, y, z: 2 * jnp.sin(2 * y - z - x)
phases = fm.Particles(3 * jr.normal(jr.key(0), (40, 1)))
run = fm.simulate(
    fm.HypergraphInteraction((pair, three)), phases, jnp.linspace(0.0, 10.0, 101), dt=0.1
)
plot.trajectory(run).set_ylabel("phase")

# %% InCoordinates
# Infinitely many tokens on S²: the density of height and longitude, from a bump that is nearly
# uniform. Its harmonics grow at the rates `growth_rate(k, 3)`.
height, longitude = jnp.meshgrid(jnp.linspace(-1, 1, 33)[:-1] + 1 / 32, jnp.linspace(0, 6.28, 48))
bump = 1 + 0.3 * jnp.sin(longitude.T) * jnp.sqrt(1 - height.T**2) + 0.2 * height.T
rho = fm.GridDensity(bump, jnp.array([-1.0, 0.0]), jnp.array([1.0, 2 * jnp.pi]), (False, True))
law = fm.InCoordinates(fm.SelfAttention(beta=4.0), fm.sphere_chart)
run = fm.simulate(law, rho, [0.0, 2.0], dt=0.005)
plot.measure(run.final).set(aspect="auto", xlabel="height", ylabel="longitude")

# %% InertialBlock
# Six accelerated blocks: the interaction of tokens under attention, at rest first, beside that
# along the first-order flow in as many looks at the tokens.
tokens = fm.Particles(jr.normal(jr.key(1), (32, 2)))
interaction = lambda x: jnp.mean(jnp.exp(0.2 * x @ x.T))
still = fm.FeedForward(jnp.eye(2), activation=jnp.zeros_like)
block = fm.InertialBlock(fm.SympFormer(beta=0.2), still, fm.LogLinear(), step=0.25)
at_rest = fm.Particles(fm.Phase(tokens.x, 0 * tokens.x))
ts, ax = jnp.linspace(0.0, 1.5, 7), plt.subplots()[1]
options = dict(dt=0.25, solver=diffrax.Euler())
run = fm.simulate(block, at_rest, ts, observe=lambda mu: interaction(mu.x.q), **options)
plot.curve(ts, run.ys, "interaction", ax=ax)
flow = fm.simulate(
    fm.SelfAttention(beta=0.2), tokens, ts, observe=lambda mu: interaction(mu.x), **options
)
plot.curve(ts, flow.ys, "interaction", ax=ax)
ax.set_yscale("log")
ax.legend(["accelerated", "first order"])

# %% L2Attention
# Its closure is exact where laws stay Gaussian: the band is two standard deviations of the
# `Gaussian`, the lines are 60 of 500 particles.
law = fm.L2Attention(value=jnp.array([[-1.0]]), beta=1.0)
ts = jnp.linspace(0.0, 3.0, 31)
closure = fm.simulate(law, fm.Gaussian(jnp.ones(1), jnp.eye(1)), ts)
cloud = fm.simulate(law, fm.Particles(1 + jr.normal(jr.key(0), (500, 1))), ts, dt=0.1)
ax = plot.trajectory(closure)
ax.plot(ts, cloud.ys.x[:, :60, 0], color="0.4", linewidth=0.4)

# %% LinearAttention
# In one dimension a variance obeys M' = 2βM² and blows up at t = 1/(2βM(0)) = 1; dots are the
# formula.
law = fm.LinearAttention(beta=0.5)
ts = jnp.linspace(0.0, 0.95, 40)
run = fm.simulate(law, fm.Gaussian(jnp.zeros(1), jnp.eye(1)), ts)
ax = plot.energy(run, lambda mu: mu.cov[0, 0])
ax.plot(ts, 1 / (1 - ts), ".")
ax.set(yscale="log", ylabel="variance")

# %% MeanShift
# On the sphere the flow of self-attention, to all digits: clusters merge over many scales of time.
tokens = fm.initial.uniform_on_sphere(jr.key(0), 64, 3)
ts = jnp.concatenate([jnp.zeros(1), jnp.logspace(-1, 4, 60)])
clusters = lambda mu: 1.0 * fm.number_of_clusters(mu, 0.2)
run = fm.simulate(fm.MeanShift(beta=16.0), tokens, ts, observe=clusters)
ax = plot.curve(run.ts[1:], run.ys[1:], "clusters")
ax.set(xscale="log", yscale="log")

# %% LogTime
# Four tokens on the circle in the time s = log t: pairs meet at t = e⁴ and, behind, at e¹³.
with jax.enable_x64(True):
    angle = jnp.array([0.3, 1.2, 2.9, 4.4])
    tokens = fm.Particles(jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1), space=fm.Sphere())
    law = fm.LogTime(fm.MeanShift(beta=18.0))
    run = fm.simulate(law, tokens, jnp.linspace(-3.0, 24.0, 200), solver=diffrax.Kvaerno5())
    x = run.ys.x
    ax = plot.curve(run.ts, jnp.unwrap(jnp.arctan2(x[..., 1], x[..., 0]), axis=0), "angle")
ax.set_xlabel("log t")

# %% Normalized
# How fast tokens align, by where a layer normalises: on the residual ("post", the sphere itself)
# angles fall as e⁻ᵗ, before the layer as 1/t, with the length (1 + t)^(-1/2) as its root.
law = fm.SelfAttention(beta=1.0)
tokens = fm.initial.uniform_on_sphere(jr.key(0), 32, 3)
flat, ts = fm.Particles(tokens.x), jnp.linspace(0.0, 30.0, 121)
scaled = fm.Normalized(law, "pre", lambda t: (1 + t) ** -0.5)
laws = {"post": (law, tokens), "pre": (fm.Normalized(law), flat), "scaled": (scaled, flat)}
ax = plt.subplots()[1]
for name, (system, start) in laws.items():
    x = fm.simulate(system, start, ts, dt=0.05).ys.x
    direction = x / jnp.linalg.norm(x, axis=2, keepdims=True)
    plot.curve(ts, direction.std(1).max(1), ax=ax).lines[-1].set_label(name)
ax.set(xscale="symlog", yscale="log", ylim=(1e-3, 1), ylabel="spread of directions")
ax.legend()

# %% FeedForward
# A perceptron as a drift of each token, ẋ = tanh(Mx), added to attention: tokens turn and gather.
turn = jnp.array([[-0.3, -2.0], [2.0, -0.3]])
law = fm.SelfAttention(beta=0.3, value=-0.3 * jnp.eye(2)) + fm.FeedForward(
    turn, activation=jnp.tanh
)
cloud = fm.Particles(2 * jr.normal(jr.key(0), (40, 2)))
run = fm.simulate(law, cloud, jnp.linspace(0.0, 4.0, 81), dt=0.05)
plot.measure(run.final, ax=plot.trajectory(run))

# %% AlignmentFlow
# The limit of β → ∞: directions turn to ± the leading eigenvector of VKᵀQ,
# and don't see each other.
law = fm.AlignmentFlow(query=jnp.diag(jnp.array([1.0, 1.5, 3.0])))
tokens = fm.initial.uniform_on_sphere(jr.key(0), 100, 3)
run = fm.simulate(law, tokens, jnp.linspace(0.0, 3.0, 31), dt=0.05)
plot.sphere(run)

# %% HeatFlow
# Brownian motion on the sphere, from its pole: the mean height is e⁻²ᵗ.
pole = fm.Particles(jnp.tile(jnp.array([0.0, 0.0, 1.0]), (2000, 1)), space=fm.Sphere())
ts = jnp.linspace(0.0, 2.0, 41)
height = lambda mu: mu.mean()[2]
run = fm.simulate(fm.HeatFlow(-1.0), pole, ts, dt=0.01, key=jr.key(0), observe=height)
ax = plot.energy(run, label="2000 points")
ax.plot(ts, jnp.exp(-2 * ts), "--", label="exp(-2t)")
ax.legend()

# %% HarmonicHeatFlow
# Coefficients of a density on the circle, here of a point mass cut at degree 24, under heat.
degrees, angle = jnp.arange(25), jnp.linspace(-jnp.pi, jnp.pi, 400)
start = jnp.where(degrees == 0, 0.5, 1.0)[:, None] / jnp.pi
law = fm.HarmonicHeatFlow(gamma=-1.0, dimension=2)
run = fm.simulate(law, start, [0.0, 0.02, 0.1, 0.5])
plt.plot(angle, (run.ys[:, :, 0] @ jnp.cos(jnp.outer(degrees, angle))).T)
plt.legend([f"t = {t:.2g}" for t in run.ts])
plt.xlabel("angle")

# %% PairingFlow
# The last phase in its own time: only the closest pair of clusters moves, here the first two.
x = jnp.array([[1.0, 0.0, 0.2], [0.6, 0.8, 0.1], [-0.5, 0.6, 0.6], [-0.3, -0.9, 0.3]])
clusters = fm.Particles(x, weights=jnp.array([0.4, 0.2, 0.2, 0.2]), space=fm.Sphere()).retract()
run = fm.simulate(fm.PairingFlow(), clusters, jnp.linspace(0.0, 2.0, 41), dt=0.05)
plot.sphere(run)

# %% RandomMLPNoise
# Tokens under random layers meet: distances to the first one fall at the rate λ = −σ²k(1) = −1/2
# of relu in three dimensions (dashed).
tokens = fm.initial.uniform_on_sphere(jr.key(0), 12, 3)
ts = jnp.linspace(0.0, 8.0, 161)
law = fm.RandomMLPNoise("relu", sigma=1.0)
run = fm.simulate(law, tokens, ts, dt=0.01, key=jr.key(1))
distance = jnp.linalg.norm(run.ys.x[:, 1:] - run.ys.x[:, :1], axis=2)
ax = plot.curve(ts, distance, "distance to the first token", linewidth=0.7)
ax.plot(ts, jnp.exp(-ts / 2), "k--")
ax.set_yscale("log")

# %% RandomQuadraticForm
# Under a common random quadratic potential every pair becomes equal or opposite.
tokens = fm.initial.uniform_on_sphere(jr.key(3), 20, 3)
ts = jnp.linspace(0.0, 4.0, 201)
run = fm.simulate(fm.RandomQuadraticForm(), tokens, ts, dt=0.005, key=jr.key(1))
plot.curve(ts, (run.ys.x[:, 1:] * run.ys.x[:, :1]).sum(2), "product with the first token")

# %% SinkhornAttention
# Weights with equal rows and columns. From a Gaussian the closure is exact: in one dimension the
# variance obeys s' = (√(1 + 4β²s²) − 1)/β (dots).
law = fm.SinkhornAttention(beta=1.0)
ts = jnp.linspace(0.0, 1.0, 21)
run = fm.simulate(law, fm.Gaussian(jnp.zeros(1), jnp.eye(1)), ts)
rate = lambda t, s, _: jnp.sqrt(1 + 4 * s**2) - 1
ode = diffrax.ODETerm(rate), diffrax.Tsit5(), 0.0, 1.0, 0.01, 1.0
exact = diffrax.diffeqsolve(*ode, saveat=diffrax.SaveAt(ts=ts)).ys
ax = plot.energy(run, lambda mu: mu.cov[0, 0])
ax.plot(ts, exact, ".")
ax.set_ylabel("variance")

# %% SympFormer
# Tokens with momenta under linear attention and V = −I: positions spiral inwards.
q, p = jr.normal(jr.key(0), (2, 24, 2))
tokens = fm.Particles(fm.Phase(q, 0.5 * p))
law = fm.SympFormer("linear", value=-jnp.eye(2), damping=0.4)
run = fm.simulate(
    law, tokens, jnp.linspace(0.0, 10.0, 201), dt=0.05, solver=fm.ConformalSymplecticEuler(0.4)
)
plot.measure(run.final, ax=plot.trajectory(run))

# %% TransformerBlock
# 48 blocks of attention, a perceptron and normalisations before them, of random weights: how the
# scalar products of normalised tokens rise with depth.
keys = jr.split(jr.key(5), 3)
tokens = fm.Particles(jr.normal(keys[0], (32, 16)))
weight, output = jr.normal(keys[1], (64, 16)) / 4, jr.normal(keys[2], (16, 64)) / 8
block = fm.TransformerBlock(
    fm.SelfAttention(), fm.FeedForward(weight, output=output), (fm.LayerNorm(), fm.LayerNorm()),
    step=0.1,
)  # fmt: skip
run = fm.simulate(block, tokens, jnp.linspace(0.0, 4.8, 49), dt=0.1, solver=diffrax.Euler())
unit = run.ys.x / jnp.linalg.norm(run.ys.x, axis=-1, keepdims=True)
products = jnp.einsum("tid,tjd->tij", unit, unit).reshape(49, -1)
plt.plot(jnp.arange(49), jnp.quantile(products, jnp.array([0.05, 0.5, 0.95]), axis=1).T)
plt.gca().set(xlabel="layer", ylabel="cosine of two tokens: 5, 50, 95%")

# %% WithConstant
# Matrices of tokens (x, 1) have biases: here keys that all tokens prefer, whatever they ask.
tokens = fm.Particles(jr.normal(jr.key(6), (64, 2)))
query = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
key = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
law = fm.WithConstant(fm.MeanShift(query, key))
plot.trajectory(fm.simulate(law, tokens, jnp.linspace(0.0, 2.0, 41), dt=0.05))
