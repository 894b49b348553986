"""Attention: acceleration, random depth and width, gradients of long runs.

python benchmarks/attention_limits.py [acceleration | depth | gradients]
"""

import sys

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

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


def acceleration_of_linear(budget=4000):
    """The same for linear attention in a potential of condition 100, from a Gaussian."""
    d, kappa = 2, 100.0
    value = -jnp.diag(jnp.array([1.0, 1 / kappa]))
    energy = lambda cov: -jnp.trace(value @ cov) / 2  # noqa: E731
    cov = jnp.eye(d)
    whole = energy(cov)

    def evaluations(trace):
        below = np.asarray(trace) < TARGET * whole
        return int(below.argmax()) if below.any() else np.inf

    for h in (0.25, 0.5, 1.0):
        ts = tuple(h * k for k in range(budget + 1))
        run = fm.simulate(
            fm.LinearAttention(value=value), fm.Gaussian(jnp.zeros(d), cov), ts, dt=h,
            solver=diffrax.Euler(), observe=lambda mu: energy(mu.cov), throw=False,
        )  # fmt: skip
        print(f"linear, first order      h = {h}: {evaluations(run.ys)}")
    for alpha in (0.05, 0.1, 0.2, 0.5):
        for h in (0.25, 0.5):
            ts = tuple(h * k for k in range(budget + 1))
            both = jnp.block([[cov, 0 * cov], [0 * cov, 1e-3 * cov]])
            run = fm.simulate(
                fm.SympFormer("linear", value=value, damping=alpha),
                fm.Gaussian(jnp.zeros(2 * d), both), ts, dt=h, solver=diffrax.Euler(),
                observe=lambda mu: energy(mu.cov[:2, :2]), throw=False,
            )  # fmt: skip
            print(f"linear, inertial α = {alpha} h = {h}: {evaluations(run.ys)}")


def depth(replicas=200_000, d=3):
    """Two tokens under random ReLU layers: E⟨x, y⟩² at time 1 against the stochastic limit."""
    start = jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
    system = fm.SelfAttention(beta=1.0)

    def mean(one, seed, batch=10_000):
        values = jax.lax.map(one, jr.split(jr.key(seed), replicas), batch_size=batch)
        return float(values.mean()), float(values.std() / np.sqrt(replicas))

    def overlap(x):
        return jnp.vdot(x[0], x[1]) ** 2

    def network(width, count, seed):
        draw = lambda k: fm.random_layers(system, "relu", start, k, width=width, depth=count)  # noqa: E731
        return mean(lambda k: overlap(draw(k)), seed, 10_000 if width < 64 else 1000)

    def limit(steps, seed):
        mu, noisy = fm.Particles(start, space=fm.Sphere()), system + fm.RandomMLPNoise("relu")
        run = lambda k: fm.simulate(noisy, mu, [0.0, 1.0], dt=1 / steps, key=k).final.x  # noqa: E731
        return mean(lambda k: overlap(run(k)), seed)

    # Extrapolated to no step: the weak order is 1.
    (a, e), (b, f) = limit(16, 0), limit(32, 1)
    exact, error = 2 * b - a, np.hypot(e, 2 * f)
    print(f"limit {exact:.4f} ± {error:.4f}")
    depths, gaps = np.array([1, 2, 4, 8]), []
    for count in depths.tolist():
        value, noise = network(16, count, 10 + count)
        gaps.append(abs(value - exact))
        print(f"depth {count:3d}, width 16: {value:.4f} ± {noise:.4f}, off by {gaps[-1]:.4f}")
    print("slope in the depth", np.polyfit(np.log(depths), np.log(gaps), 1)[0])
    wide, noise = limit(1, 2)
    print(f"one layer of infinite width {wide:.4f} ± {noise:.4f}")
    widths, gaps = np.array([1, 2, 4, 8]), []
    for width in widths.tolist():
        value, noise = network(width, 1, 20 + width)
        gaps.append(abs(value - wide))
        print(f"depth 1, width {width:3d}: {value:.4f} ± {noise:.4f}, off by {gaps[-1]:.4f}")
    print("slope in the width", np.polyfit(np.log(widths), np.log(gaps), 1)[0])


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
