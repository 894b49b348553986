"""One step of SVGD with the median bandwidth, beside its floor, blackjax and numpyro.

Run: `python benchmarks/stein.py`. N = 500, d = 10, float32; CPU milliseconds, interleaved medians.
The floor is what the step cannot do without: two products of matrices and the exponentials. Then
the variance that 50 particles of SVGD and of R-SVGD end with, and the discrepancy against N.
"""

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from _timing import interleaved

import flowjax_measures as fm

N, D, STEPS = 500, 10, 20


def potential(x):
    return jnp.vdot(x, x) / 2


def repeated(step):
    """STEPS steps in one compiled loop: what a run costs a step."""
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: (step(s), None), s, None, length=STEPS)[0])
    return run


def main():
    x = jr.normal(jr.key(0), (N, D))

    def ours(kernel):
        flow = fm.GradientFlow(fm.KL(potential), fm.Stein(kernel))
        return repeated(lambda x: x + 0.01 * flow(0.0, fm.Particles(x)).drift.x)

    def floor(x):
        weights = jnp.exp(x @ x.T / 1000)
        return weights @ x / jnp.sum(weights, 1, keepdims=True)

    runs = {
        "floor": (repeated(floor), x),
        "fixed bandwidth": (ours(fm.GaussianKernel(2.0)), x),
        "median bandwidth": (ours(fm.MedianKernel()), x),
    }
    try:
        import blackjax
        import optax

        algorithm = blackjax.svgd(
            jax.grad(lambda x: -potential(x)), optax.sgd(0.01), blackjax.vi.svgd.rbf_kernel,
            blackjax.vi.svgd.update_median_heuristic,
        )  # fmt: skip
        state = algorithm.init(x, {"length_scale": jnp.asarray(1.0)})
        runs["blackjax"] = (repeated(algorithm.step), state)
    except ImportError:
        print("blackjax is not installed")
    try:
        from samplers import stein

        vi, state, _ = stein(potential, x, 0.01)
        runs["numpyro"] = (repeated(lambda s: vi.update(s)[0]), state)
    except ImportError:
        print("numpyro is not installed")
    times = interleaved({k: (lambda f=f, a=a: f(a)) for k, (f, a) in runs.items()}, 7)
    for name, seconds in times.items():
        ratio = seconds / times["floor"]
        print(f"{name:18s} {1e3 * seconds / STEPS:8.2f} ms a step, {ratio:6.1f} times the floor")


def end(metric, n, d, steps=2000, h=0.05):
    """Where the flow to N(0, I) from a cloud that is too narrow and off centre ends."""
    mu = fm.Particles(1.0 + 0.5 * jr.normal(jr.key(2), (n, d)))
    flow = fm.GradientFlow(fm.KL(potential), metric)
    return fm.simulate(flow, mu, [0.0, steps * h], dt=h, solver=diffrax.Euler()).final


def moments(n=50):
    for d in (2, 10, 30):
        kernel = fm.GaussianKernel(d**0.5)
        found = {"SVGD": end(fm.Stein(kernel), n, d)}
        for nu in (0.3, 0.1, 0.03):
            found[f"R-SVGD ν = {nu}"] = end(fm.RegularizedStein(kernel, nu), n, d)
        row = ", ".join(f"{k} {float(jnp.trace(m.covariance())) / d:.3f}" for k, m in found.items())
        print(f"variance a coordinate, true 1; d = {d:2d}, {n} particles: {row}")


def discrepancy(d=2):
    numbers, ends, draws = (10, 20, 40, 80, 160), [], []
    for n in numbers:
        ends.append(float(fm.ksd(end(fm.Stein(fm.GaussianKernel(1.0)), n, d), potential)))
        clouds = jr.normal(jr.key(3), (200, n, d))
        squares = jax.vmap(lambda x: fm.ksd(fm.Particles(x), potential) ** 2)(clouds)
        draws.append(float(jnp.sqrt(jnp.mean(squares))))
    for name, values in (("SVGD", ends), ("independent draws", draws)):
        slope = np.polyfit(np.log(numbers), np.log(values), 1)[0]
        print(f"KSD against N, {name}: {np.round(values, 4)}, slope {slope:.2f}")


if __name__ == "__main__":
    main()
    moments()
    discrepancy()
