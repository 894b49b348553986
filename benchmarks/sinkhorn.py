"""The Sinkhorn divergence with its gradient beside ott and GeomLoss; a flow and its derivative.

Run: `python benchmarks/sinkhorn.py [n …]`. CPU seconds of all threads, the best of three, float32;
errors of gradients relative to float64. ott (0.6) runs at its default threshold and at a tight one.
"""

import sys
import time
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import flowjax_measures as fm

EPSILON = 0.1


def best(function, *args, repeats=3):
    """The result, and the least CPU seconds of a call."""
    function = jax.jit(function)
    result, seconds = jax.block_until_ready(function(*args)), []
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(function(*args))
        seconds.append(time.process_time() - start)
    return result, min(seconds)


def clouds(n, d=2):
    x, y = jr.normal(jr.key(0), (n, d)), 0.6 * jr.normal(jr.key(1), (n, d)) + 1.0
    return x, y


def divergence(x, y, epsilon=EPSILON):
    return fm.SinkhornDivergence(fm.Particles(y), epsilon)(fm.Particles(x))


def ott_divergence(threshold):
    from ott.tools import sinkhorn_divergence

    options = {} if threshold is None else {"threshold": threshold, "max_iterations": 20_000}

    def value(x, y):
        return sinkhorn_divergence.sinkdiv(x, y, epsilon=EPSILON, solve_kwargs=options)[0]

    return value


def beside_ott(n):
    x, y = clouds(n)
    with jax.enable_x64(True):
        wide = (np.asarray(x, np.float64), np.asarray(y, np.float64))
        truth = np.asarray(jax.jit(jax.grad(divergence))(*map(jnp.asarray, wide)))
    contenders = {"here": divergence}
    for threshold in (None, 1e-5):
        contenders[f"ott, threshold {threshold or 'default'}"] = ott_divergence(threshold)
    for name, function in contenders.items():
        (_, slope), seconds = best(jax.value_and_grad(function), x, y)
        error = np.linalg.norm(np.asarray(slope) - truth) / np.linalg.norm(truth)
        print(f"n = {n:5d} {name:24s} {seconds:8.3f} s, gradient wrong by {error:.1e}", flush=True)


def beside_geomloss(n):
    """GeomLoss has ½‖x − y‖² for its cost: its loss at blur² = ε/2 is half of ours at ε."""
    try:
        import torch
        from geomloss import SamplesLoss
    except ImportError:
        return print("GeomLoss is not installed")
    x, y = clouds(n)
    with jax.enable_x64(True):
        wide = (np.asarray(x, np.float64), np.asarray(y, np.float64))
        truth = np.asarray(jax.jit(jax.grad(divergence))(*map(jnp.asarray, wide)))
    points, targets = torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y))
    for scaling in (0.5, 0.9):
        loss = SamplesLoss(
            "sinkhorn", p=2, blur=(EPSILON / 2) ** 0.5, scaling=scaling, backend="tensorized"
        )
        seconds = []
        for _ in range(3):
            start = time.process_time()
            moving = points.detach().requires_grad_()
            (2 * loss(moving, targets)).backward()
            seconds.append(time.process_time() - start)
        error = np.linalg.norm(moving.grad.numpy() - truth) / np.linalg.norm(truth)
        name = f"GeomLoss, scaling {scaling}"
        print(
            f"n = {n:5d} {name:24s} {min(seconds):8.3f} s, gradient wrong by {error:.1e}",
            flush=True,
        )
    return None


def flow(x, y, epsilon, solver):
    system = fm.GradientFlow(fm.SinkhornDivergence(fm.Particles(y), epsilon))
    run = fm.simulate(system, fm.Particles(x), np.array([0.0, 4.0]), dt=0.1, solver=solver)
    return jnp.sum(run.final.x**2)


def sliced(n=2000):
    x, y = clouds(n, 3)
    theta = fm.sphere_directions(jr.key(2), 100, 3)
    _, seconds = best(lambda x: fm.sliced_wasserstein(fm.Particles(x), fm.Particles(y), theta), x)
    system = fm.GradientFlow(fm.SlicedWasserstein(fm.Particles(y), theta))
    _, step = best(lambda x: system(0.0, fm.Particles(x)).drift.x, x)
    print(f"sliced, n = {n}, 100 directions: value {seconds:.4f} s, step of the flow {step:.4f} s")
    try:
        import ot

        lines = np.asarray(theta).T
        start = time.process_time()
        for _ in range(3):
            ot.sliced_wasserstein_distance(np.asarray(x), np.asarray(y), projections=lines)
        print(f"POT, the value alone: {(time.process_time() - start) / 3:.4f} s")
    except ImportError:
        print("POT is not installed")


def main(sizes):
    for n in sizes:
        beside_ott(n)
        beside_geomloss(n)
    x, y = clouds(200)
    for solver in (diffrax.Euler(), fm.WarmSinkhorn()):
        run = partial(flow, solver=solver)
        _, once = best(run, x, y, EPSILON)
        _, both = best(jax.value_and_grad(run, (0, 1, 2)), x, y, EPSILON)
        print(
            f"flow of 40 steps, n = 200, {type(solver).__name__}: {once:.3f} s; "
            f"with derivative {both:.3f} s, ×{both / once:.2f}"
        )
    sliced()


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or [1000, 5000])
