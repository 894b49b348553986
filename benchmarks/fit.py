"""Parameters from measures: recovery, sampling noise, what is not identified, routes, likelihoods.

Figures in README.md. float64.

Run: `python benchmarks/fit.py [kernel] [fresh] [attention] [rotation] [routes] [likelihood]`.
"""

import sys
import time
import warnings
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

jax.config.update("jax_enable_x64", True)

import flowjax_measures as fm  # noqa: E402
from flowjax_measures.fitting._objective import value_and_gradient  # noqa: E402
from flowjax_measures.fitting._pose import pose  # noqa: E402

TS = np.linspace(0.0, 2.0, 6)
TRUTH = np.array([1.0, 2.0, 0.6])


class AttractionRepulsion(eqx.Module):
    """Minus its gradient in x is −a z + (b/ℓ²) z e^{−|z|²/2ℓ²} with z = x − y."""

    a: float
    b: float
    length: float

    def __call__(self, x, y):
        r = jnp.sum((x - y) ** 2)
        return self.a * r / 2 + self.b * jnp.exp(-r / (2 * self.length**2))


class Rotation(fm.AbstractMeanField):
    """dx = (−decay + ω J) x dt."""

    decay: float
    omega: float

    def rates(self, t, x, mu):
        return fm.Rates(-self.decay * x + self.omega * jnp.stack([-x[1], x[0]]))


class Pull(fm.AbstractMeanField):
    """dx = −(α x + β (x − mean)) dt + σ dW."""

    alpha: float
    beta: float
    sigma: float

    def rates(self, t, x, mu):
        drift = -self.alpha * x - self.beta * (x - mu.mean())
        return fm.Rates(drift, fm.Isotropic(self.sigma))


def swarm(a, b, length):
    return fm.McKeanVlasov(kernel=AttractionRepulsion(a, b, length), beta=None)


def cloud(seed, n=100):
    return fm.Particles(jr.normal(jr.key(seed), (n, 2)))


def snapshots(system, ts, fresh, n=100, dt=0.05):
    """Measures in an order of their own; `fresh`: each of another population."""
    start = cloud(0, n)
    found = [start]
    for k in range(1, len(ts)):
        begin = cloud(k, n) if fresh else start
        final = fm.simulate(system, begin, ts[[0, k]], dt=dt).final
        found.append(fm.Particles(jr.permutation(jr.key(100 + k), final.x)))
    return found


def kernel():
    data = TS, snapshots(swarm(*TRUTH), TS, False)
    for loss in ("sinkhorn", "energy_distance", "mmd", "sliced"):
        call = partial(fm.fit, data=data, loss=loss, dt=0.05, positive=True, tolerance=0.0)
        begin = time.perf_counter()
        call(swarm(0.4, 1.0, 1.0), steps=1, identifiability=False)
        first = time.perf_counter() - begin
        begin = time.perf_counter()
        result = call(swarm(0.4, 1.0, 1.0))
        print(
            f"{loss:16s} worst error {100 * np.max(abs(errors(result))):.4f} %  loss "
            f"{result.losses.min():.3e}  first step {first:.1f} s, all "
            f"{time.perf_counter() - begin:.1f} s  {result.message}", flush=True,
        )  # fmt: skip


def errors(result):
    k = result.system.kernel
    return np.array([k.a, k.b, k.length]) / TRUTH - 1


def fresh(seeds=5):
    """Each snapshot of a population of its own: an unbiased distance, then a likelihood."""
    warnings.simplefilter("ignore")
    populations = [fm.Particles(jr.normal(key, (100, 2))) for key in jr.split(jr.key(7), 24)]
    for seed in range(seeds):
        starts = [fm.Particles(jr.normal(k, (100, 2))) for k in jr.split(jr.key(1000 + seed), 6)]
        data = [starts[0]] + [
            fm.simulate(swarm(*TRUTH), starts[k], TS[[0, k]], dt=0.1).final for k in range(1, 6)
        ]
        system = swarm(0.4, 1.0, 1.0)
        for loss, count, steps in (("energy_distance", 8, 150), ("summaries", 24, 25)):
            begin = time.perf_counter()
            call = partial(
                fm.fit, data=(TS, data), loss=loss, dt=0.1, positive=True,
                initial=populations[:count],
            )  # fmt: skip
            result = call(system, steps=steps)
            truth = call(swarm(*TRUTH), steps=1, identifiability=False).losses[0]
            system = result.system
            said = "" if result.errors is None else f", said ± {np.round(100 * result.errors, 1)}"
            print(
                f"{seed} {loss}: errors {np.round(100 * errors(result), 1)} %{said}; loss "
                f"{jnp.nanmin(result.losses):.5g}, at the truth {truth:.5g}; "
                f"{time.perf_counter() - begin:.0f} s", flush=True,
            )  # fmt: skip


def routes():
    """One gradient of the kernel problem by every route: error, time, memory."""
    data = TS, snapshots(swarm(*TRUTH), TS, False)
    names = {"forward": {}, "reverse": {}} | {
        f"reverse, remat {kind}": {"remat": kind} for kind in ("none", "sqrt", "recursive")
    } | {"adaptive, forward": dict(dt=None), "adaptive, reverse": dict(dt=None)}  # fmt: skip
    exact = None
    for name, options in names.items():
        call = dict(dt=0.05) | options
        dt, adjoint = call.pop("dt"), "forward" if "forward" in name else "reverse"
        objective = pose(
            swarm(0.9, 2.2, 0.7), data, None, None, True, None, False, "energy_distance", None,
            None, None, None, False, None, None, None, adjoint, dt, None, call,
        )  # fmt: skip
        free = objective.parameters.free(objective.parameters.values())
        begin = time.perf_counter()
        compiled = eqx.filter_jit(value_and_gradient).lower(objective, free).compile()
        compile_time = time.perf_counter() - begin
        memory = compiled.compiled.memory_analysis().temp_size_in_bytes / 2**20
        seconds = []
        for _ in range(5):
            begin = time.perf_counter()
            gradient = np.array(jax.block_until_ready(compiled(objective, free)[1]))
            seconds.append(time.perf_counter() - begin)
        if exact is None:
            exact = gradient
        error = np.max(abs(gradient - exact)) / np.max(abs(exact))
        print(
            f"{name:24s} {1e3 * np.median(seconds):7.1f} ms  {memory:7.2f} MiB  compile "
            f"{compile_time:.1f} s  difference to the first {error:.1e}", flush=True,
        )  # fmt: skip


def attention():
    tokens = fm.Particles(jr.normal(jr.key(0), (64, 3)), space=fm.Sphere()).retract()
    ts = np.linspace(0.0, 2.0, 5)
    run = fm.simulate(fm.SelfAttention(beta=4.0), tokens, ts, dt=0.1)
    order = [jr.permutation(jr.key(k), 64) for k in range(5)]
    clouds = [fm.Particles(run.ys.x[k][order[k]], space=fm.Sphere()) for k in range(5)]
    for loss in ("sinkhorn", "energy_distance"):
        result = fm.fit(
            fm.SelfAttention(beta=1.0), (ts, [tokens, *clouds[1:]]), where=lambda s: s.beta,
            positive=True, dt=0.1, loss=loss,
        )  # fmt: skip
        print(f"attention, {loss}: beta {result.system.beta:.6f} (4)  {result.message}")
    value = jnp.array([[1.0, 0.3, 0.0], [-0.3, 0.8, 0.0], [0.0, 0.2, 0.5]])
    truth = fm.SelfAttention(beta=4.0, value=value)
    run = fm.simulate(truth, tokens, ts, dt=0.1)
    clouds = [fm.Particles(run.ys.x[k][order[k]], space=fm.Sphere()) for k in range(5)]
    result = fm.fit(
        fm.SelfAttention(beta=2.0, value=jnp.eye(3)), (ts, [tokens, *clouds[1:]]),
        where=lambda s: (s.beta, s.value), dt=0.1, loss="sinkhorn", steps=300,
    )  # fmt: skip
    error = jnp.max(jnp.abs(result.system.value - value))
    print(
        f"attention, beta and V: beta {result.system.beta:.5f} (4), V within {error:.1e}  "
        f"loss {result.losses.min():.1e}  {result.message}\n    spectrum {result.spectrum}"
    )


def rotation():
    ts = np.linspace(0.0, 1.0, 4)
    truth, start = Rotation(1.0, 2.0), Rotation(0.5, 1.0)
    law = fm.Gaussian(jnp.zeros(2), jnp.eye(2))
    run = fm.simulate(truth, law, ts, dt=0.05)
    gaussians = [fm.Gaussian(run.ys.m[k], run.ys.cov[k]) for k in range(4)]
    for name, data, loss in (
        ("closure", gaussians, "sinkhorn"),
        ("fresh particles", snapshots(truth, ts, True, 300), "sinkhorn"),
        ("fresh particles", snapshots(truth, ts, True, 300), "energy_distance"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = fm.fit(start, (ts, data), loss=loss, dt=0.05, positive=True)
        print(
            f"rotation, {name}, {loss}: decay {result.system.decay:.4f} (1), omega "
            f"{result.system.omega:.3f} (2), spectrum {result.spectrum}\n    {result.message}"
        )


def likelihood(alpha=1.0, beta=0.5, sigma=0.5, horizon=200.0, h=0.02, repeats=400):
    steps = round(horizon / h)
    for n in (2, 5, 20):

        @partial(jax.jit, static_argnames="n")
        def estimate(key, n):
            spread = sigma / np.sqrt(2 * alpha)
            x = spread * jr.normal(key, (n,))

            def step(carry, k):
                # Euler at a quarter of the observed step.
                x, normal, design = carry
                y = x
                for j in range(4):
                    dw = jr.normal(jr.fold_in(key, 4 * k + j), (n,)) * jnp.sqrt(h / 4)
                    y = y - h / 4 * (alpha * y + beta * (y - y.mean())) + sigma * dw
                # The gradient and Hessian of `increment_likelihood` are sums over steps.
                c = jnp.stack([-x, -(x - x.mean())])
                return (y, normal + h * c @ c.T, design + c @ (y - x)), None

            carry = (x, jnp.zeros((2, 2)), jnp.zeros(2))
            (_, normal, design), _ = jax.lax.scan(step, carry, jnp.arange(steps))
            return jnp.linalg.solve(normal, design)

        found = jax.vmap(partial(estimate, n=n))(jr.split(jr.key(n), repeats))
        a, total = np.asarray(found[:, 0]), np.asarray(found.sum(axis=1))
        error = np.sqrt(2 / (repeats - 1))
        ratios = [
            horizon * np.var(a, ddof=1) / (2 * alpha),
            horizon * np.var(total, ddof=1) * (n - 1) / (2 * (alpha + beta)),
        ]
        print(
            f"likelihood, N = {n}: T Var(alpha) / 2 alpha = {ratios[0]:.3f}, "
            f"T Var(alpha + beta) (N−1) / 2(alpha + beta) = {ratios[1]:.3f}, ± {error:.3f}; "
            f"means {a.mean():.4f} ({alpha}), {total.mean():.4f} ({alpha + beta})", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    studies = {
        "kernel": kernel, "fresh": fresh, "attention": attention, "rotation": rotation,
        "routes": routes, "likelihood": likelihood,
    }  # fmt: skip
    for name in sys.argv[1:] or studies:
        print(f"-- {name}")
        studies[name]()
