"""Exact and entropic transport beside POT and ott, as ratios of CPU time in one run.

Run: `python benchmarks/transport.py [n]`. Clouds of n points in the plane; the least of three.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import ot

import flowjax_measures as fm


def least(call) -> float:
    jax.block_until_ready(call())
    spent = []
    for _ in range(3):
        start = time.process_time()
        jax.block_until_ready(call())
        spent.append(time.process_time() - start)
    return min(spent)


def main(n: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + 1
    plain = (fm.Particles(jnp.asarray(x, "float32")), fm.Particles(jnp.asarray(y, "float32")))
    for name in ("equal", "weighted"):
        a, b = (np.full(n, 1 / n) if name == "equal" else rng.dirichlet(np.ones(n)) for _ in "ab")
        mu, nu = plain
        if name == "weighted":
            mu, nu = (fm.Particles(m.x, weights=w) for m, w in zip(plain, (a, b), strict=True))
        peer = least(lambda a=a, b=b: ot.emd2(a, b, ot.dist(x, y), numItermax=10**7))
        ours = least(lambda mu=mu, nu=nu: fm.wasserstein(mu, nu))
        print(f"exact, {name} masses, n = {n}: {1e3 * ours:.1f} ms, {ours / peer:.2f} of POT")
    jitted = jax.jit(lambda x, y: fm.wasserstein(fm.Particles(x), fm.Particles(y)))
    ours = least(lambda: jitted(plain[0].x, plain[1].x))
    print(f"exact, equal masses, compiled, n = {n}: {1e3 * ours:.1f} ms")
    ours = least(lambda: fm.sinkhorn_divergence(*plain, 0.1))
    print(f"Sinkhorn divergence, called outside of jit, n = {n}: {1e3 * ours:.1f} ms")
    try:
        from ott.tools.sinkhorn_divergence import sinkdiv
    except ImportError:
        return
    call = jax.jit(lambda x, y: sinkdiv(x, y, epsilon=0.1)[0])
    peer = least(lambda: call(plain[0].x, plain[1].x))
    print(f"    {ours / peer:.2f} of ott's, compiled, to its default threshold")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
