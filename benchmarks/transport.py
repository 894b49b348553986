"""Exact, sliced and unbalanced transport and matchings beside POT, NumPy's sorts and torchcfm.

Run: `python benchmarks/transport.py [exact | large | sliced | unbalanced | matchings | entropic]`,
all of them by default. CPU seconds of all threads, of calls in turn; medians, as ratios. float32,
but for POT, which knows float64 alone. torchcfm's matching is POT's plan on the host.
"""

import resource
import sys
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import ot
from _timing import interleaved
from scipy.special import kl_div

import flowjax_measures as fm


def clouds(n: int, d: int, weighted: bool):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 1
    masses = [rng.dirichlet(np.ones(n)) if weighted else np.full(n, 1 / n) for _ in "ab"]
    measures = [
        fm.Particles(jnp.asarray(x, "float32"), weights=w.astype("float32") if weighted else None)
        for x, w in zip(points, masses, strict=True)
    ]
    return points, masses, measures


def exact() -> None:
    for n, repeats in ((200, 101), (1000, 7), (2000, 5)):
        for d in (2, 10):
            for weighted in (False, True):
                (x, y), (a, b), (mu, nu) = clouds(n, d, weighted)
                times = interleaved(
                    {
                        "POT": lambda: ot.emd2(a, b, ot.dist(x, y), numItermax=10**7),  # noqa: B023
                        "here": lambda: fm.wasserstein(mu, nu),  # noqa: B023
                    },
                    repeats,
                )
                print(
                    f"exact, n = {n}, d = {d}, {'weighted' if weighted else 'equal'} masses: "
                    f"{1e3 * times['here']:.1f} ms, {times['here'] / times['POT']:.2f} of POT",
                    flush=True,
                )


def large(n: int = 10_000) -> None:
    for weighted in (False, True):
        _, _, (mu, nu) = clouds(n, 2, weighted)
        start = time.process_time()
        value = float(fm.wasserstein(mu, nu))
        spent = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"exact, n = {n}, d = 2: {value:.6f} in {spent:.1f} s, peak {peak:.0f} MB", flush=True
        )


def sliced() -> None:
    for n, d, lines, repeats in ((1000, 2, 50, 51), (10_000, 10, 100, 7), (100_000, 3, 50, 3)):
        (x, y), _, (mu, nu) = clouds(n, d, False)
        theta = fm.sphere_directions(jr.key(0), lines, d)
        flat = np.asarray(theta, np.float32)
        x, y = x.astype("float32"), y.astype("float32")

        def sorts():
            here, there = (np.sort(flat @ points.T, axis=1) for points in (x, y))  # noqa: B023
            return np.sqrt(np.mean((here - there) ** 2))

        times = interleaved(
            {"NumPy": sorts, "here": lambda: fm.sliced_wasserstein(mu, nu, theta)},  # noqa: B023
            repeats,
        )
        print(
            f"sliced, n = {n}, d = {d}, {lines} directions: {1e3 * times['here']:.1f} ms, "
            f"{times['here'] / times['NumPy']:.2f} of NumPy's sorts",
            flush=True,
        )


def unbalanced() -> None:
    """POT's methods run until their value is as near to the optimum as ours, relatively."""
    for n in (200, 1000):
        (x, y), _, (mu, nu) = clouds(n, 2, True)
        a, b = (np.exp(np.asarray(m.log_w, np.float64)) for m in (mu, nu))
        x, y = (np.asarray(m.x, np.float64) for m in (mu, nu))
        cost, law = ot.dist(x, y), fm.KullbackLeibler(1.0)
        found, spent = timed(lambda: fm.unbalanced_transport(mu, nu, law, law))  # noqa: B023
        with jax.enable_x64(True):
            best = [fm.Particles(jnp.asarray(p), weights=w) for p, w in ((x, a), (y, b))]
            least = float(fm.unbalanced_transport(*best, law, law).value)
        print(
            f"unbalanced, n = {n}: {spent:.3f} s, from the optimum {found.value / least - 1:.1e}",
            flush=True,
        )
        for name, method, budgets in (
            ("mm", ot.unbalanced.mm_unbalanced, (100, 1000, 10_000)),
            ("lbfgsb", ot.unbalanced.lbfgsb_unbalanced, (100, 1000)),
        ):
            for budget in budgets:
                options: dict = dict(reg_m=1.0, numItermax=budget, stopThr=1e-15)
                options |= dict(regm_div="kl", reg=0.0) if name == "lbfgsb" else dict(div="kl")
                plan, peer = timed(lambda: method(a, b, cost, **options), 1)  # noqa: B023
                value = np.sum(plan * cost) + sum(
                    np.sum(kl_div(s, t)) for s, t in ((plan.sum(1), a), (plan.sum(0), b))
                )
                print(
                    f"    POT's {name}, {budget} iterations: {peer:.3f} s, from the optimum "
                    f"{value / least - 1:.1e}; ours in {spent / peer:.3f} of it",
                    flush=True,
                )


def matchings() -> None:
    match = jax.jit(
        lambda key, x, y: fm.minibatch_coupling(key, fm.Particles(x), fm.Particles(y), len(x))
    )
    for n, repeats in ((128, 31), (256, 15), (512, 7), (1024, 5)):
        (x, y), (a, b), (mu, nu) = clouds(n, 2, False)
        times = interleaved(
            {
                "POT": lambda: ot.emd(a, b, ot.dist(x, y)),  # noqa: B023
                "host": lambda: fm.minibatch_coupling(jr.key(0), mu, nu, n),  # noqa: B023
                "jit": lambda: match(jr.key(0), mu.x, nu.x),  # noqa: B023
            },
            repeats,
        )
        print(
            f"matching, n = {n}: in jit {1e3 * times['jit']:.1f} ms, on the host "
            f"{1e3 * times['host']:.1f} ms; {times['jit'] / times['POT']:.2f} and "
            f"{times['host'] / times['POT']:.2f} of torchcfm's",
            flush=True,
        )


def entropic(n: int = 1000) -> None:
    from ott.tools.sinkhorn_divergence import sinkdiv

    _, _, (mu, nu) = clouds(n, 2, False)
    call = jax.jit(lambda x, y: sinkdiv(x, y, epsilon=0.1)[0])
    times = interleaved(
        {
            "ott": lambda: call(mu.x, nu.x),
            "here": lambda: fm.sinkhorn_divergence(mu, nu, 0.1),
        },
        3,
    )
    print(
        f"Sinkhorn divergence, called outside of jit, n = {n}: {1e3 * times['here']:.1f} ms, "
        f"{times['here'] / times['ott']:.2f} of ott's, compiled, to its default threshold"
    )


def timed(call, repeats: int = 3):
    """The result, and the least CPU seconds of a call after a first one."""
    if repeats > 1:
        jax.block_until_ready(call())
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        result = jax.block_until_ready(call())
        spent.append(time.process_time() - start)
    return result, min(spent)


SECTIONS = {f.__name__: f for f in (exact, large, sliced, unbalanced, matchings, entropic)}

if __name__ == "__main__":
    for name in sys.argv[1:] or SECTIONS:
        SECTIONS[name]()
