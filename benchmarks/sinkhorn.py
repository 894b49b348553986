"""The Sinkhorn divergence, its gradient, a flow of 40 steps and its derivative; a step of SVGD.

Run: `python benchmarks/sinkhorn.py`. Seconds of CPU time, all threads, the best of three.
"""

import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm


def measure(name, function, *args):
    function = jax.jit(function)
    jax.block_until_ready(function(*args))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        jax.block_until_ready(function(*args))
        seconds.append(time.process_time() - start)
    print(f"{name:40s} {min(seconds):9.4f} s")
    return min(seconds)


def clouds(n, d=2):
    x, y = jr.normal(jr.key(0), (n, d)), 0.6 * jr.normal(jr.key(1), (n, d)) + 1.0
    return x, y


def divergence(x, y, epsilon):
    return fm.SinkhornDivergence(fm.Particles(y), epsilon)(fm.Particles(x))


def flow(x, y, epsilon):
    system = fm.GradientFlow(fm.SinkhornDivergence(fm.Particles(y), epsilon))
    run = fm.simulate(system, fm.Particles(x), np.array([0.0, 4.0]), dt=0.1, solver=EULER)
    return jnp.sum(run.final.x**2)


if __name__ == "__main__":
    import diffrax

    EULER = diffrax.Euler()
    for n in (1000,):
        measure(
            f"divergence and gradient, n = {n}", jax.value_and_grad(divergence), *clouds(n), 0.1
        )
    once = measure("flow of 40 steps, n = 200", flow, *clouds(200), 0.1)
    both = measure(
        "the same with its derivative", jax.value_and_grad(flow, (0, 1, 2)), *clouds(200), 0.1
    )
    print(f"{'ratio':40s} {both / once:9.2f}")
    system = fm.GradientFlow(fm.KL(fm.Quadratic(1.0)), fm.Stein(fm.GaussianKernel(1.0)))
    x = clouds(500, 10)[0]
    measure("SVGD, one step, N = 500, d = 10", lambda x: system(0.0, fm.Particles(x)).drift.x, x)
