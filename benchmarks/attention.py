"""One attention velocity and its gradient beside the dense formula: time and temporary memory.

    python benchmarks/attention.py [n ...]

float32, wall time of interleaved runs (every path uses all cores).
"""

import sys
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm


def dense(x):
    return jax.nn.softmax(2.0 * x @ x.T, -1) @ x


def library(x):
    return jax.nn.dot_product_attention(*(x[:, None, :],) * 3, scale=2.0)[:, 0]


def ours(x):
    return fm.SelfAttention(beta=2.0)(0.0, fm.Particles(x)).drift.x


def wall(functions, x, repeats=7):
    times = {name: [] for name in functions}
    for f in functions.values():
        jax.block_until_ready(f(x))
    for _ in range(repeats):
        for name, f in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(f(x))
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(t)) for name, t in times.items()}


def gradient(f):
    return jax.grad(lambda x: jnp.sum(jnp.sin(f(x))))


def main(sizes):
    print(f"jax {jax.__version__}, {jax.devices()[0]}, float32, ms and MB of temporaries")
    paths = {"dense": dense, "dot_product_attention": library, "ours": ours}
    for n in sizes:
        for d in (3, 16, 64):
            x = jr.normal(jr.key(0), (n, d), jnp.float32)
            for label, lift in (
                ("forward ", lambda f: f),
                ("gradient", gradient),
            ):
                compiled = {k: jax.jit(lift(f)).lower(x).compile() for k, f in paths.items()}
                times = wall(compiled, x)
                memory = {
                    k: c.memory_analysis().temp_size_in_bytes / 1e6 for k, c in compiled.items()
                }
                text = "  ".join(f"{k} {times[k] * 1e3:8.1f} ms {memory[k]:7.1f} MB" for k in paths)
                print(f"n = {n:6d}  d = {d:2d}  {label}  {text}", flush=True)


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [1024, 4096, 8192])
