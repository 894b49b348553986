"""`simulate` beside a bare `lax.scan` of the same Euler–Maruyama method, and its memory.

    python benchmarks/simulate.py [more]

The bare scan draws keyed normals by `jax.random`. CPU time, interleaved medians. `more`: ensembles
by `vmap`, with observables, sharded over the devices (of a CPU by
XLA_FLAGS=--xla_force_host_platform_device_count=2), and the gradient of attention beside a scan of
the formula.
"""

import sys

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from _timing import interleaved
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import flowjax_measures as fm

STEPS, H = 1000, 1e-3
KEY = jr.key(0)


class Pendulums(fm.AbstractMeanField):
    """A drift that is not linear, so that the reverse pass needs the states."""

    rate: float = 1.0
    sigma: float = 0.5

    def rates(self, t, x, mu):
        return fm.Rates(-self.rate * jnp.sin(x), fm.Isotropic(self.sigma))


def bare(sigma, x):
    def step(x, k):
        z = jr.normal(jr.fold_in(KEY, k), x.shape, x.dtype)
        return x - jnp.sin(x) * H + sigma * z * np.float32(np.sqrt(H)), None

    return jax.lax.scan(step, x, jnp.arange(STEPS))[0]


def ours(sigma, x, remat="step"):
    run = fm.simulate(
        Pendulums(sigma=sigma), fm.Particles(x), [0.0, STEPS * H], dt=H, key=KEY, remat=remat
    )
    return run.final.x


def gradient(function, **options):
    loss = lambda sigma, x: jnp.sum(jnp.sin(function(sigma, x, **options)))  # noqa: E731
    return jax.jit(jax.grad(loss))


def main():
    print(f"jax {jax.__version__}, {jax.devices()[0]}, {STEPS} steps, float32")
    print("N·d     forward   gradient: none  step  sqrt | temporary MB: bare  none  step  sqrt")
    for n, d in ((20, 10), (200, 10), (2000, 10)):
        x = jr.normal(jr.key(1), (n, d), jnp.float32)
        forward = {"bare": jax.jit(bare), "ours": jax.jit(ours)}
        times = interleaved({k: (lambda f=f, x=x: f(0.5, x)) for k, f in forward.items()})
        # The normals are others: the spread is the same to four of its errors.
        spread = {name: float(jnp.std(f(0.5, x))) for name, f in forward.items()}
        assert abs(spread["ours"] / spread["bare"] - 1) < 4 / np.sqrt(n * d), spread
        reverse = {"bare": gradient(bare)} | {
            k: gradient(ours, remat=k) for k in ("none", "step", "sqrt")
        }
        slopes = interleaved({k: (lambda f=f, x=x: f(0.5, x)) for k, f in reverse.items()}, 7)
        memory = {
            k: f.lower(0.5, x).compile().memory_analysis().temp_size_in_bytes / 1e6
            for k, f in reverse.items()
        }
        ratios = "  ".join(f"{slopes[k] / slopes['bare']:5.2f}" for k in ("none", "step", "sqrt"))
        sizes = "  ".join(f"{memory[k]:6.1f}" for k in ("bare", "none", "step", "sqrt"))
        print(
            f"{n * d:6d}  {times['ours'] / times['bare']:6.2f}  ({times['bare'] * 1e3:.1f} ms)  "
            f"{ratios}  ({slopes['bare'] * 1e3:.1f} ms) | {sizes}"
        )


def beside(title, ours, bare, *args, repeats=7):
    runs = {"ours": jax.jit(ours), "bare": jax.jit(bare)}
    found = interleaved({k: (lambda f=f: f(*args)) for k, f in runs.items()}, repeats)
    memory = [
        f.lower(*args).compile().memory_analysis().temp_size_in_bytes / 1e6 for f in runs.values()
    ]
    ratio = found["ours"] / found["bare"]
    print(
        f"{title}: {ratio:.2f} of {found['bare'] * 1e3:.1f} ms; MB {memory[0]:.1f}, {memory[1]:.1f}"
    )


def ensemble(runs=16, n=20, d=10):
    x = jr.normal(jr.key(1), (runs, n, d), jnp.float32)
    beside(
        "16 runs, N·d = 200", jax.vmap(lambda x: ours(0.5, x)), jax.vmap(lambda x: bare(0.5, x)), x
    )


def observed(n=200, d=10):
    x = jr.normal(jr.key(1), (n, d), jnp.float32)
    ts = np.linspace(0, STEPS * H, 101)

    def seen(x):
        run = fm.simulate(
            Pendulums(), fm.Particles(x), ts, dt=H, key=KEY, observe=lambda mu: mu.mean()
        )
        return run.ys

    def written(x):
        def part(x, k):
            def step(x, k):
                z = jr.normal(jr.fold_in(KEY, k), x.shape, x.dtype)
                return x - jnp.sin(x) * H + 0.5 * z * np.float32(np.sqrt(H)), None

            x, _ = jax.lax.scan(step, x, k)
            return x, jnp.mean(x, axis=0)

        return jax.lax.scan(part, x, jnp.arange(STEPS).reshape(100, -1))[1]

    beside("100 observations, N·d = 2000", seen, written, x)


def sharded(n=2000, d=10):
    mesh = Mesh(np.array(jax.devices()), ("particles",))
    spread = NamedSharding(mesh, PartitionSpec("particles"))
    x = jax.device_put(jr.normal(jr.key(1), (n, d), jnp.float32), spread)

    def end(x):
        mu = fm.Particles(x, sharding=spread)
        return fm.simulate(
            Pendulums(), mu, [0.0, STEPS * H], dt=H, key=KEY, throw=False
        ).final.x  # fmt: skip

    beside(f"{len(jax.devices())} devices, N·d = 20000", end, lambda x: bare(0.5, x), x)


def attention(n=1024, d=3, count=20, h=0.01):
    x = jr.normal(jr.key(1), (n, d), jnp.float32)

    def end(x):
        ts = [0.0, count * h]
        law, mu = fm.SelfAttention(beta=2.0), fm.Particles(x)
        return fm.simulate(law, mu, ts, dt=h, solver=diffrax.Midpoint()).final.x

    def formula(x):
        v = lambda x: jax.nn.softmax(2.0 * x @ x.T, -1) @ x  # noqa: E731
        step = lambda x, _: (x + h * v(x + h / 2 * v(x)), None)  # noqa: E731
        return jax.lax.scan(step, x, length=count)[0]

    slope = lambda f: jax.grad(lambda x: jnp.sum(jnp.sin(f(x))))  # noqa: E731
    beside(
        f"attention gradient, n = {n}, {count} midpoint steps",
        slope(end),
        slope(formula),
        x,
        repeats=3,
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["more"]:
        for study in (ensemble, observed, sharded, attention):
            study()
    else:
        main()
