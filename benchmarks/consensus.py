"""Consensus-based optimisation beside CBXpy: the same steps, and what they cost.

    JAX_ENABLE_X64=1 python benchmarks/consensus.py parity
    python benchmarks/consensus.py speed            # JAX_ENABLE_X64=1 for float64

Needs CBXpy (PyPI `cbx`).
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from _timing import interleaved
from cbx.dynamics import CBO, CBS, PolarCBO

import flowjax_measures as fm
from flowjax_measures.objectives import rastrigin


def rastrigin_batch(x):
    return np.sum(x**2 + 10 * (1 - np.cos(2 * np.pi * x)), axis=-1)


def parity():
    """The largest difference after ten steps with the same normals."""
    n, d, dt, steps = 12, 3, 0.02, 10
    generator = np.random.default_rng(0)
    x0, draws = generator.normal(size=(n, d)), generator.normal(size=(steps, n, d))
    # A small α keeps the weighted covariance regular: roots of singular ones lose half the digits.
    lamda, sigma, alpha = 1.3, 0.7, 0.1
    pairs = {
        "isotropic": (
            partial(CBO, lamda=lamda, sigma=sigma, noise="isotropic"),
            fm.ConsensusBased(rastrigin, lamda, sigma, alpha, "isotropic"),
        ),
        "anisotropic": (
            partial(CBO, lamda=lamda, sigma=sigma, noise="anisotropic"),
            fm.ConsensusBased(rastrigin, lamda, sigma, alpha, "anisotropic"),
        ),
        # There the noise of "covariance" is √(2(1 + α) C) dW.
        "covariance": (
            partial(CBO, lamda=lamda, sigma=sigma, noise="covariance"),
            fm.ConsensusBased(
                rastrigin, lamda, sigma * np.sqrt(2 * (1 + alpha)), alpha, "covariance"
            ),
        ),
        "sampling": (CBS, fm.ConsensusBasedSampling(rastrigin, alpha)),
        "polarised": (
            partial(PolarCBO, lamda=lamda, sigma=sigma, kappa=0.8, kernel_factor_mode="const"),
            fm.PolarizedConsensus(rastrigin, lamda, sigma, alpha, kernel_width=0.8),
        ),
    }
    for name, (peer, system) in pairs.items():
        now = [0]
        theirs = peer(
            rastrigin_batch, f_dim="3D", x=x0[None].copy(), dt=dt, alpha=alpha, verbosity=0,
            sampler=lambda size, now=now: draws[now[0]][None], max_it=steps,
        )  # fmt: skip
        mu = fm.Particles(x0)
        for k in range(steps):
            now[0] = k
            theirs.step()
            increment = system(0.0, mu)
            move = increment.noise.apply((jnp.asarray(np.sqrt(dt) * draws[k]),)).x
            mu = fm.Particles(mu.x + dt * increment.drift.x + move)
        print(f"| {name} | {np.max(abs(np.asarray(theirs.x[0]) - mu.x)):.1e} |")


def speed():
    """CPU time of a step on Rastrigin, d = 20, anisotropic noise."""
    d, dt, sigma, alpha = 20, 0.01, 5.0, 30.0
    print("| runs × particles | CBXpy, ms a step | here, ms a step | ratio |\n|---|---|---|---|")
    for runs, n in ((1, 100), (1, 1000), (10, 100), (100, 100), (100, 1000)):
        steps = int(np.clip(2e6 / (runs * n * d), 5, 500))
        system = fm.ConsensusBased(rastrigin, 1.0, sigma, alpha, "anisotropic")
        x0 = jr.uniform(jr.key(0), (runs, n, d), minval=-3.0, maxval=3.0)

        @jax.jit
        def ours(x, system=system, steps=steps):
            def one(x, key):
                mu = fm.Particles(x)
                return fm.simulate(
                    system, mu, [0.0, steps * dt], dt=dt, key=key, throw=False,
                    observe=lambda mu: mu.x[0, 0],
                ).final.x  # fmt: skip

            return jax.vmap(one)(x, jr.split(jr.key(1), x.shape[0]))

        def theirs(x0=np.asarray(x0, np.float64), steps=steps):
            peer = CBO(
                rastrigin_batch, f_dim="3D", x=x0.copy(), dt=dt, lamda=1.0, sigma=sigma,
                alpha=alpha, noise="anisotropic", verbosity=0, max_it=steps, check_f_dims=False,
            )  # fmt: skip
            for _ in range(steps):
                peer.step()

        times = interleaved({"cbx": theirs, "here": lambda ours=ours, x0=x0: ours(x0)}, repeats=7)
        a, b = (1e3 * times[k] / steps for k in ("cbx", "here"))
        print(f"| {runs} × {n} | {a:.3f} | {b:.3f} | {a / b:.1f} |", flush=True)


if __name__ == "__main__":
    {"parity": parity, "speed": speed}[sys.argv[1]]()
