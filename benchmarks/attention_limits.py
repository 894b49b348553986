"""Attention: acceleration, random depth and width, gradients of long runs, long times.

python benchmarks/attention_limits.py [acceleration | depth | gradients | long | phases]
"""

import sys

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm
from flowjax_measures._numerics._cubature import factor

TARGET = 1e-3


def acceleration(beta=4.0, n=64, seeds=4):
    """Evaluations of softmax attention on S² until 1 − E/E_max is small, each method at its best.

    Tokens from a hemisphere; with A = I they meet at the rate 1 and no other, with A = diag(1,
    0.98, 0.5) the cluster then turns to the first axis at the rate 0.02.
    """
    steps, dampings = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 4.0), (0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 8)
    sphere = fm.Sphere()

    def start(seed):
        x = jr.normal(jr.key(seed), (n, 3))
        return fm.Particles(x.at[:, 1].set(jnp.abs(x[:, 1])), space=sphere).retract().x

    def problem(name, a, target, budget):
        energy = lambda x: jnp.mean(jnp.exp(beta * (x @ a @ x.T - jnp.max(a))))  # noqa: E731
        first = fm.SelfAttention(a, value=a, beta=beta)

        def run(system, mu, h, solver, position):
            ts, gap = tuple(h * k for k in range(budget + 1)), lambda m: 1 - energy(position(m))
            return fm.simulate(system, mu, ts, dt=h, solver=solver, observe=gap, throw=False).ys[1:]

        def plain(x, h, alpha):
            mu = fm.Particles(x, space=sphere)
            return run(first, mu, h, diffrax.Euler(), lambda m: m.x)

        def inertial(solver):
            def method(x, h, alpha):
                mu = fm.Particles(fm.Phase(x, 0 * x), space=fm.PhaseSpace(sphere))
                system = fm.SympFormer(matrix=a, beta=beta, damping=alpha)
                return run(system, mu, h, solver(alpha), lambda m: m.x.q)

            return method

        def nesterov(x, h, alpha):
            """Extrapolation by (k − 1)/(k + 2) in R³, then one step of the flow from the sphere."""
            normal = jax.vmap(sphere.nearest)

            def step(carry, k):
                x, before = carry
                y = normal(x + (k - 1) / (k + 2) * (x - before))
                new = normal(y + h * first(0.0, fm.Particles(y, space=sphere)).drift.x)
                return (new, x), 1 - energy(new)

            return jax.lax.scan(step, (x, x), jnp.arange(1.0, budget + 1))[1]

        for label, method, alphas, cost in (
            ("first order", plain, (0.0,), 1),
            ("Nesterov", nesterov, (0.0,), 1),
            ("exponential Euler", inertial(fm.ExponentialEuler), dampings, 1),
            ("Adams-Bashforth 2", inertial(fm.ConformalAdamsBashforth2), dampings, 1),
            ("symplectic Euler", inertial(fm.ConformalSymplecticEuler), dampings, 2),
        ):
            table = {}
            for h in steps:
                over = jax.vmap(lambda x, c, h=h: method(x, h, c), (0, None))  # noqa: B023
                gaps = jax.jit(jax.vmap(over, (None, 0)))(
                    jnp.stack([start(s) for s in range(seeds)]), jnp.asarray(alphas, float)
                )
                below = np.asarray(gaps) < target
                count = np.where(below.any(-1), cost * (below.argmax(-1) + 1.0), np.inf)
                table |= dict(zip([(h, c) for c in alphas], np.median(count, 1), strict=True))
            (h, c), best = min(table.items(), key=lambda item: item[1])
            print(f"{name}, {label}: {best:.1f} evaluations at h = {h}, damping {c}", flush=True)

    problem("A = I", jnp.eye(3), 1e-3, 200)
    problem("A = diag(1, 0.98, 0.5)", jnp.diag(jnp.array([1.0, 0.98, 0.5])), 1e-4, 1000)


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


def characteristic(one, seed, replicas, batch=10_000):
    """E cos⟨ω, x⟩ and E sin⟨ω, x⟩ of clouds x = one(key), a row for each of many batches.

    128 frequencies ω from N(0, I), the same for all laws: the distance of two laws' features is the
    maximum mean discrepancy of cos⟨ω, x − y⟩ averaged over them, in place of Gauss's kernel.
    """

    def features(key):
        cloud = one(key).ravel()
        phase = jr.normal(jr.key(99), (128, cloud.size)) @ cloud
        return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)])

    mean = jax.jit(lambda key: jax.vmap(features)(jr.split(key, batch)).mean(0))
    return np.array([mean(key) for key in jr.split(jr.key(seed), replicas // batch)], float)


def discrepancy(a, b):
    """MMD² of two laws without bias, and its standard error by leaving batches out.

    Products of different batches: what is random in them has mean 0.
    """
    gram = (a - b) @ (a - b).T * 2 / a.shape[1]
    n, own, rows = len(gram), np.diag(gram), gram.sum(1)
    total = gram.sum() - own.sum()
    without = (total - 2 * (rows - own)) / ((n - 1) * (n - 2))
    return total / (n * (n - 1)), np.sqrt((n - 1) * np.mean((without - without.mean()) ** 2))


def wide_layers(system, noise, start, key, depth):
    """`random_layers` of infinite width: Gaussian layers, Euler-Maruyama steps of the limit."""
    h = 1 / depth
    normal = lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731

    def layer(x, key):
        gram = jax.vmap(lambda a: jax.vmap(lambda b: noise.kernel(a, b))(x))(x)
        move = h * system(0.0, fm.Particles(x, space=fm.Sphere())).drift.x
        return normal(x + move + np.sqrt(h) * factor(gram) @ jr.normal(key, x.shape)), None

    return jax.lax.scan(layer, start, jr.split(key, depth))[0]


def depth(replicas=200_000, tokens=4):
    """Random ReLU layers beside the stochastic limit: the law of the cloud of tokens at time 1."""
    start = fm.initial.uniform_on_sphere(jr.key(3), tokens, 3)
    system, noise = fm.SelfAttention(beta=1.0), fm.RandomMLPNoise("relu")

    def network(width, count, seed):
        def one(key):
            if width == np.inf:
                return wide_layers(system, noise, start.x, key, count)
            return fm.random_layers(system, "relu", start.x, key, width=width, depth=count)

        return characteristic(one, seed, replicas)

    def report(name, counts, laws, limit):
        squares, errors = np.array([discrepancy(law, limit) for law in laws]).T
        mmd, errors = np.sqrt(squares), errors / (2 * np.sqrt(squares))
        for row in zip(counts, mmd, errors, strict=True):
            print("{} {:3d}: MMD {:.5f} ± {:.5f}".format(name, *row))
        weights = {"w": mmd / errors, "cov": "unscaled"}
        slope, cov = np.polyfit(np.log(counts), np.log(mmd), 1, **weights)
        print(f"slope in the {name}: {slope[0]:.3f} ± {np.sqrt(cov[0, 0]):.3f}", flush=True)

    counts = (4, 8, 16, 32)
    wide = {k: network(np.inf, k, 10 + k) for k in (1, *counts, 256)}
    report("depth at infinite width", counts, [wide[k] for k in counts], wide[256])
    report("depth at width 32", counts, [network(32, k, 100 + k) for k in counts], wide[256])
    report("width at depth 1", counts, [network(k, 1, 200 + k) for k in counts], wide[1])

    def euler(n):
        mu, ts = start, [0.0, 1.0]
        return lambda k: fm.simulate(system + noise, mu, ts, dt=1 / n, key=k).final.x

    steps = [characteristic(euler(k), 300 + k, replicas // 4) for k in counts[:3]]
    report("steps of the limit", counts[:3], steps, wide[256][: len(steps[0])])


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


class WithoutRetraction(fm.AbstractMeanField):
    """Repulsive attention, V = −I, tangent to the sphere but in flat space."""

    beta: float = 2.0

    def rates(self, t, x, mu):
        v = -mu.mean(logits=lambda y: self.beta * jnp.vdot(x, y))
        return fm.Rates(v - jnp.vdot(x, v) * x)


def long_context(n):
    """Tokens of S² around a circle, where their density has the modes 2 and 3, by quantiles."""
    grid = np.linspace(0, 2 * np.pi, 4097)
    quantile = grid + 0.02 * np.sin(2 * grid) / 2 + 0.02 * (np.sin(3 * grid + 1) - np.sin(1)) / 3
    angle = np.interp((np.arange(n) + 0.5) / n * 2 * np.pi, quantile, grid)
    height = (np.arange(n) * (np.sqrt(5) - 1) / 2) % 1 - 0.5
    across = np.sqrt(1 - height**2)
    x = np.stack([across * np.cos(angle), across * np.sin(angle), height], 1)
    return fm.Particles(jnp.asarray(x), space=fm.Sphere())


def phases(sizes=((128, 5.0), (512, 10.0), (2048, 20.0))):
    """Alignment, heat and pairing in one run, with β growing as √N: each beside its limit."""
    plane, span = jnp.diag(jnp.array([1.0, 1.0, 0.0])), 0.15
    for n, beta in sizes:
        start, attention = long_context(n), fm.SelfAttention(value=plane, beta=beta)
        ts = np.array([0.0, 1.0, 3.0, 3 + beta * span, 3 + 4 * beta])
        run = fm.simulate(attention, start, ts, dt=0.1).ys.x
        limit = fm.simulate(fm.alignment_flow(value=plane), start, ts[:2], dt=0.1).final.x
        aligned = float(jnp.linalg.norm(run[1] - limit, axis=1).max())
        angle = jnp.arctan2(run[..., 1], run[..., 0])
        # The heat phase in its own time s: the k-th mode grows at the rate k².
        mode = jnp.abs(jnp.mean(jnp.exp(1j * jnp.array([2, 3])[:, None, None] * angle), -1))
        rates = np.log(mode[:, 3] / mode[:, 2]) / span
        clusters = fm.merge_clusters(fm.Particles(run[-1], space=fm.Sphere()), 0.02)
        merged = fm.coarsen(fm.MeanShift(beta=beta), clusters, 0.02, solver=diffrax.Tsit5())
        pairs = fm.pairing_dynamics(clusters, beta, radius=0.02)
        print(f"N {n:4d} β {beta:2.0f}: alignment off by {aligned:.4f} at t = 1; rates of the heat "
              f"phase {np.round(rates, 2)} (4, 9); {clusters.size()} clusters, log t of merges "
              f"{np.round(merged.log_times, 3)} (pairing {np.round(pairs.log_times, 3)})",
              flush=True)  # fmt: skip


def long():
    """Stiff steps to t = 1e13, adjoints that run backwards, and runs without retraction."""
    jax.config.update("jax_enable_x64", True)
    angle = np.array([0.0, 1.2, 2.9, 4.4])
    x = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    run = fm.simulate(
        fm.MeanShift(beta=40.0), fm.Particles(x, space=fm.Sphere()), [0.0, 1e13], max_steps=200_000,
        solver=diffrax.Kvaerno5(), stepsize_controller=diffrax.PIDController(1e-6, 1e-9),
    )  # fmt: skip
    print(f"four clusters, β = 40, to t = 1e13: {run.stats['num_steps']} steps of Kvaerno5")

    keys = jr.split(jr.key(0), 4)
    q, k, v = (jr.normal(key, (8, 8)) / np.sqrt(8) for key in keys[:3])
    system, start = fm.SelfAttention(q, k, v, 4.0), jr.normal(keys[3], (16, 8))

    def gradient(adjoint, time):
        def final(x):
            field = lambda t, x, args: system(t, fm.Particles(x, space=fm.Sphere())).drift.x  # noqa: E731
            return diffrax.diffeqsolve(
                diffrax.ODETerm(field), diffrax.Tsit5(), 0.0, time, 0.01, x, adjoint=adjoint,
                stepsize_controller=diffrax.PIDController(1e-6, 1e-8),
            ).ys[-1, :, 0].sum()  # fmt: skip

        return jax.grad(final)(start / jnp.linalg.norm(start, axis=1, keepdims=True))

    for time in (1.0, 3.0, 10.0):
        true, back = (
            gradient(a, time)
            for a in (diffrax.RecursiveCheckpointAdjoint(), diffrax.BacksolveAdjoint())
        )
        off = jnp.linalg.norm(true - back) / jnp.linalg.norm(true)
        print(f"BacksolveAdjoint, T = {time:.0f}: off by {off:.1e}", flush=True)

    tokens = fm.initial.uniform_on_sphere(jr.key(0), 6, 3).x
    for dtype in (jnp.float64, jnp.float32):
        mu = fm.Particles(tokens.astype(dtype))
        run = fm.simulate(WithoutRetraction(), mu, [0.0, 50.0], dt=0.1, throw=False)
        print(f"without retraction, {dtype.__name__}: NaN at t = {run.stats['bad_time']:.1f}")


STUDIES = {
    "acceleration": (acceleration, acceleration_of_linear),
    "depth": (depth,),
    "gradients": (gradients,),
    "long": (long,),
    "phases": (phases,),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or STUDIES:
        for study in STUDIES[name]:
            study()
