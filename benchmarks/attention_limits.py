"""Attention: acceleration, random depth and width, gradients of long runs.

python benchmarks/attention_limits.py [acceleration | depth | gradients]
"""

import sys

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.interpolate import barycentric_interpolate
from scipy.linalg import expm

import flowjax_measures as fm

TARGET = 1e-3


def acceleration(beta=4.0, n=64, seeds=4, budget=400):
    """Evaluations until 1 − E/E_max < 1e-3, from a hemisphere of S², at the best step of each."""

    def gap(q):
        mu = fm.Particles(q)
        return 1 - fm.interaction_energy(mu, beta) * 2 * beta * jnp.exp(-beta)

    def start(seed):
        x = jr.normal(jr.key(seed), (n, 3))
        return fm.Particles(x.at[:, 2].set(jnp.abs(x[:, 2])), space=fm.Sphere()).retract().x

    def count(gaps):
        below = np.asarray(gaps) < TARGET
        return float(below.argmax() + 1) if below.any() else np.inf

    def steps(system, mu, h, solver, position):
        ts = tuple(h * k for k in range(budget + 1))
        return fm.simulate(
            system, mu, ts, dt=h, solver=solver, observe=lambda m: gap(position(m)), throw=False
        ).ys[1:]

    first = fm.SelfAttention(beta=beta)

    def plain(x, h):
        return steps(first, fm.Particles(x, space=fm.Sphere()), h, diffrax.Euler(), lambda m: m.x)

    def inertial(solver, damping):
        def run(x, h):
            mu = fm.Particles(fm.Phase(x, 0 * x), space=fm.PhaseSpace(fm.Sphere()))
            system = fm.SympFormer(beta=beta, damping=damping)
            return steps(system, mu, h, solver(damping), lambda m: m.x.q)

        return run

    def nesterov(x, h):
        """Extrapolation by (k − 1)/(k + 2) in R³, then one step of the flow from the sphere."""
        normal = jax.vmap(fm.Sphere().nearest)

        def step(carry, k):
            x, before = carry
            y = normal(x + (k - 1) / (k + 2) * (x - before))
            new = normal(y + h * first(0.0, fm.Particles(y, space=fm.Sphere())).drift.x)
            return (new, x), gap(new)

        return jax.jit(lambda x: jax.lax.scan(step, (x, x), jnp.arange(1.0, budget + 1))[1])(x)

    damping = 1.0
    methods = {
        "first order, Euler": (plain, (0.25, 0.5, 1.0, 2.0, 4.0)),
        "Nesterov": (nesterov, (0.25, 0.5, 1.0, 2.0)),
        "SympFormer, exponential Euler": (
            inertial(fm.ExponentialEuler, damping), (0.05, 0.1, 0.2, 0.4)
        ),
        "SympFormer, Adams-Bashforth 2": (
            inertial(fm.ConformalAdamsBashforth2, damping), (0.05, 0.1, 0.2, 0.4)
        ),
    }  # fmt: skip
    for name, (run, sizes) in methods.items():
        table = {h: np.median([count(run(start(s), h)) for s in range(seeds)]) for h in sizes}
        best = min(table, key=lambda h: table[h])
        print(f"{name:32s} {table[best]:6.0f} evaluations at h = {best}   {table}", flush=True)


def acceleration_of_linear(budget=4000, h=0.25):
    """The same for linear attention in a potential of condition 100, from a Gaussian."""
    value, cov = -jnp.diag(jnp.array([1.0, 0.01])), jnp.eye(2)
    energy = lambda mu: -jnp.trace(value @ mu.cov[:2, :2]) / 2  # noqa: E731
    ts = tuple(h * k for k in range(budget + 1))

    def report(name, system, cov):
        mu = fm.Gaussian(jnp.zeros(len(cov)), cov)
        trace = fm.simulate(system, mu, ts, dt=h, solver=diffrax.Euler(), observe=energy).ys
        below = np.asarray(trace) < TARGET * float(trace[0])
        print(f"linear, {name}: {below.argmax() if below.any() else np.inf} evaluations")

    report("first order", fm.LinearAttention(value=value), cov)
    both = jnp.diag(jnp.array([1.0, 1.0, 1e-3, 1e-3]))
    for alpha in (0.05, 0.1, 0.2, 0.5):
        system = fm.SympFormer("linear", value=value, damping=alpha)
        report(f"inertial, α = {alpha}", system, both)


def overlap_of_the_limit(u0, attention_beta=1.0, d=3, nodes=96):
    """E u² at time 1 of u = ⟨X, Y⟩ in the limit, a diffusion on [−1, 1] by collocation.

    du = [2p(1 − u²) − (d − 1) k(1) u + (d − 2 + u²) k(u)] dt + √(2(1 − u²)(k(1) − u k(u))) dW.
    """
    u = np.cos(np.pi * np.arange(nodes + 1) / nodes)
    c = np.where((np.arange(nodes + 1) % nodes) == 0, 2.0, 1.0) * (-1.0) ** np.arange(nodes + 1)
    gaps = u[:, None] - u + np.eye(nodes + 1)
    slope = np.outer(c, 1 / c) / gaps
    slope -= np.diag(slope.sum(1))
    k = (np.sqrt(1 - u**2) + (np.pi - np.arccos(u)) * u) / (2 * np.pi)
    p = 1 / (1 + np.exp(attention_beta * (1 - u)))
    drift = 2 * p * (1 - u**2) - (d - 1) * u / 2 + (d - 2 + u**2) * k
    generator = drift[:, None] * slope + ((1 - u**2) * (0.5 - u * k))[:, None] * (slope @ slope)
    return float(barycentric_interpolate(u, expm(generator) @ u**2, u0))


def depth(replicas=400_000):
    """Two tokens under random ReLU layers: E⟨x, y⟩² at time 1 against the stochastic limit."""
    start = jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
    system = fm.SelfAttention(beta=1.0)

    def mean(one, seed, batch):
        overlap = lambda key: jnp.vdot(*one(key)) ** 2  # noqa: E731
        values = jax.lax.map(overlap, jr.split(jr.key(seed), replicas), batch_size=batch)
        return float(values.mean()), float(values.std() / np.sqrt(replicas))

    def network(width, count, seed):
        draw = lambda k: fm.random_layers(system, "relu", start, k, width=width, depth=count)  # noqa: E731
        return mean(draw, seed, 20_000)

    def report(name, counts, exact, values):
        gaps = [abs(value - exact) for value, _ in values]
        for count, (value, noise), gap in zip(counts, values, gaps, strict=True):
            print(f"{name} {count:3d}: {value:.4f} ± {noise:.4f}, off by {gap:.4f}")
        print(f"slope in the {name}: {np.polyfit(np.log(counts), np.log(gaps), 1)[0]:.2f}")

    exact = overlap_of_the_limit(0.6)
    print(f"limit {exact:.5f} (80 nodes: {overlap_of_the_limit(0.6, nodes=80):.5f})")
    noisy = system + fm.RandomMLPNoise("relu")
    mu = fm.Particles(start, space=fm.Sphere())
    euler = lambda h: lambda k: fm.simulate(noisy, mu, [0.0, 1.0], dt=h, key=k).final.x  # noqa: E731
    report("steps", (4, 8, 16), exact, [mean(euler(1 / n), n, 20_000) for n in (4, 8, 16)])
    depths = (2, 4, 8, 16)
    report("depth", depths, exact, [network(8, n, 10 + n) for n in depths])
    # One layer of infinite width, whose field is Gaussian.
    kernel = fm.RandomMLPNoise("relu").kernel
    root = jnp.linalg.cholesky(jax.vmap(lambda x: jax.vmap(lambda y: kernel(x, y))(start))(start))
    drift = system(0.0, mu).drift.x

    def wide(key):
        moved = start + drift + root @ jr.normal(key, start.shape)
        return moved / jnp.linalg.norm(moved, axis=1, keepdims=True)

    one, noise = mean(wide, 2, 20_000)
    print(f"one layer of infinite width {one:.4f} ± {noise:.4f}")
    widths = (2, 4, 8, 16)
    report("width", widths, one, [network(n, 1, 20 + n) for n in widths])


def gradients(n=16, d=8):
    """How far the derivative of a run means something: float32 beside float64, as time grows."""
    jax.config.update("jax_enable_x64", True)
    keys = jr.split(jr.key(0), 4)
    q, k, v = (jr.normal(key, (d, d)) / np.sqrt(d) for key in keys[:3])
    x = jr.normal(keys[3], (n, d))

    def loss(dtype, time):
        system = fm.SelfAttention(*(m.astype(dtype) for m in (q, k, v)), beta=4.0)
        ts = (0.0, time)

        def final(x):
            mu = fm.Particles(x, space=fm.Sphere()).retract()
            return jnp.sum(fm.simulate(system, mu, ts, dt=0.05).final.x[:, 0])

        return jax.grad(final)(x.astype(dtype))

    for time in (1.0, 3.0, 10.0, 30.0, 100.0):
        exact, rounded = (np.asarray(loss(t, time), float) for t in (jnp.float64, jnp.float32))
        size = np.linalg.norm(exact)
        print(f"T = {time:5.0f}: |gradient| {size:9.3g}, float32 off by "
              f"{np.linalg.norm(rounded - exact) / size:.1e} of it", flush=True)  # fmt: skip


STUDIES = {
    "acceleration": (acceleration, acceleration_of_linear),
    "depth": (depth,),
    "gradients": (gradients,),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or STUDIES:
        for study in STUDIES[name]:
            study()
