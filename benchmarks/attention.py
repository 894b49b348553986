"""Attention of n tokens beside the formula, jax.nn's kernel and the machine's ceiling.

    python benchmarks/attention.py [n … | steps | memory | keops | torch]

float32. Milliseconds of CPU time, the best of several calls. The ceiling is what exponentials
and the products of matrices alone would take at the rates measured here: n² and 2 products forward,
2n² and 7 products for the gradient. Memory is the growth of the resident size of a fresh process.
`keops` needs PyKeOps and a C++ compiler, `torch` PyTorch. On an accelerator the Pallas kernel
(d ≤ 8) is beside.
"""

import resource
import subprocess
import sys
import time
from functools import partial

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


def kernel(x):
    return fm.SelfAttention(beta=2.0)(0.0, fm.Particles(x, kernel="pallas")).drift.x


PATHS = {"formula": dense, "dot_product_attention": library, "here": ours}
if jax.default_backend() != "cpu":
    PATHS["here, Pallas"] = kernel


def loss(f):
    return lambda x: jnp.sum(jnp.sin(f(x)))


def gradient(f):
    return jax.grad(loss(f))


def rk4(f, x, count=100, dt=0.01):
    def step(x, _):
        a = f(x)
        b = f(x + dt / 2 * a)
        c = f(x + dt / 2 * b)
        d = f(x + dt * c)
        return x + dt / 6 * (a + 2 * b + 2 * c + d), None

    return jax.lax.scan(step, x, length=count)[0]


def best(functions, repeats):
    """The least CPU and wall seconds of each function, called in turn."""
    found = {name: (float("inf"),) * 2 for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.process_time(), time.perf_counter()
            jax.block_until_ready(function())
            cpu, wall = time.process_time() - start[0], time.perf_counter() - start[1]
            found[name] = min(found[name][0], cpu), min(found[name][1], wall)
    return found


def rates():
    """Exponentials and floating-point operations a CPU second."""
    x = jr.normal(jr.key(0), (128, 1024), jnp.float32)
    a = jr.normal(jr.key(0), (1024, 1024), jnp.float32)
    exps = jax.jit(lambda x: jax.lax.fori_loop(0, 64, lambda _, y: jnp.exp(-jnp.abs(y)), x))
    product = jax.jit(lambda a: a @ a)
    found = best({"exp": lambda: exps(x), "product": lambda: product(a)}, 7)
    return 64 * x.size / found["exp"][0], 2 * 1024**3 / found["product"][0]


def timings(sizes):
    exp, flop = rates()
    print(f"{exp / 1e9:.2f} Gexp and {flop / 1e9:.0f} GFLOP a CPU second; ms of CPU (wall)")
    for n in sizes:
        for d in (3, 64):
            x = jr.normal(jr.key(0), (n, d), jnp.float32) / d**0.5
            for kind, count, products in (("velocity", 1, 2), ("gradient", 2, 7)):
                lift = gradient if kind == "gradient" else lambda f: f
                runs = {k: jax.jit(lift(f)).lower(x).compile() for k, f in PATHS.items()}
                # A call after one of `dot_product_attention` takes 45% longer than after itself.
                found = {}
                for name, run in runs.items():
                    found |= best({name: partial(run, x)}, 7)
                ceiling = count * n**2 / exp + products * 2 * n**2 * d / flop
                text = "  ".join(
                    f"{k} {c * 1e3:.1f} ({w * 1e3:.1f})" for k, (c, w) in found.items()
                )
                ratio = ceiling / found["here"][0]
                print(
                    f"n {n} d {d} {kind}: ceiling {ceiling * 1e3:.1f}  {text}  reached {ratio:.2f}"
                )


def steps():
    x = jr.normal(jr.key(0), (1024, 3), jnp.float32)
    runs = {
        "formula": lambda x: rk4(dense, x, 20),
        "here, bare scan": lambda x: rk4(ours, x, 20),
    }
    compiled = {k: jax.jit(gradient(f)).lower(x).compile() for k, f in runs.items()}
    for name, (cpu, wall) in best({k: partial(r, x) for k, r in compiled.items()}, 2).items():
        size = compiled[name].memory_analysis().temp_size_in_bytes / 1e6
        print(f"gradient of 20 RK4 steps, {name}: {cpu:.2f} s ({wall:.2f}), {size:.0f} MB")


def memory(path, n, d):
    x = jr.normal(jr.key(0), (n, d), jnp.float32)
    run = jax.jit(gradient(PATHS[path])).lower(x).compile()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    jax.block_until_ready(run(x))
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"gradient, n {n} d {d}, {path}: {growth:.0f} MiB", flush=True)


def keops(n=4096):
    from pykeops.numpy import Vi, Vj

    for d in (3, 64):
        x = jr.normal(jr.key(0), (n, d), jnp.float32) / d**0.5
        points = np.array(x)

        def peer(points=points):
            return (2 * (Vi(points) | Vj(points))).sumsoftmaxweight(Vj(points), axis=1)

        run = jax.jit(ours).lower(x).compile()
        assert np.allclose(peer(), run(x), atol=1e-4)
        found = best({"PyKeOps": peer, "here": partial(run, x)}, 5)
        text = "  ".join(f"{k} {c * 1e3:.1f} ({w * 1e3:.1f})" for k, (c, w) in found.items())
        print(f"n {n} d {d} velocity: {text}", flush=True)


def torch_paths(n=4096):
    """PyTorch's formula and its scaled_dot_product_attention, in float32, beside ours."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    def formula(x):
        return torch.softmax(2.0 * x @ x.T, -1) @ x

    def library(x):
        return scaled_dot_product_attention(*(x[None, None],) * 3, scale=2.0)[0, 0]

    def slope(f, x):
        x = x.detach().requires_grad_()
        torch.sin(f(x)).sum().backward()
        return x.grad

    for d in (3, 64):
        x = jr.normal(jr.key(0), (n, d), jnp.float32) / d**0.5
        points = torch.from_numpy(np.array(x))
        for kind in ("velocity", "gradient"):
            lift = gradient if kind == "gradient" else lambda f: f
            run = jax.jit(lift(ours)).lower(x).compile()
            runs = {"here": partial(run, x)}
            for name, path in (("torch formula", formula), ("torch SDPA", library)):
                peer = partial(slope, path) if kind == "gradient" else path
                runs[name] = partial(peer, points)
                assert np.allclose(runs[name]().numpy(), run(x), atol=1e-3)
            found = {}
            for name, run in runs.items():
                found |= best({name: run}, 7)
            text = "  ".join(f"{k} {c * 1e3:.1f} ({w * 1e3:.1f})" for k, (c, w) in found.items())
            print(f"n {n} d {d} {kind}, {torch.get_num_threads()} threads: {text}", flush=True)


def main(arguments):
    print(f"jax {jax.__version__}, {jax.devices()[0]}, float32", flush=True)
    if arguments[:1] == ["memory"] and len(arguments) > 1:
        memory(arguments[1], int(arguments[2]), int(arguments[3]))
    elif arguments[:1] == ["memory"]:
        for path in PATHS:
            subprocess.run([sys.executable, __file__, "memory", path, "4096", "3"], check=True)
    elif arguments[:1] == ["steps"]:
        steps()
    elif arguments[:1] == ["keops"]:
        keops()
    elif arguments[:1] == ["torch"]:
        torch_paths()
    else:
        timings([int(a) for a in arguments] or [1024, 4096, 16384])


if __name__ == "__main__":
    main(sys.argv[1:])
