"""Consensus-based optimisation beside CBXpy: the same steps, and what they cost.

    JAX_ENABLE_X64=1 python benchmarks/consensus.py parity
    python benchmarks/consensus.py speed            # JAX_ENABLE_X64=1 for float64
    python benchmarks/consensus.py floor
    python benchmarks/consensus.py door             # minimize beside simulate and a bare scan

Needs CBXpy (PyPI `cbx`), for `speed` also torch and evosax.
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from _timing import interleaved
from cbx.dynamics import CBO, CBS, PSO, PolarCBO

import flowjax_measures as fm
from flowjax_measures.noise._normal_pairs import apart, normal_pairs
from flowjax_measures.objectives import rastrigin, ripple


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
    swarm = PSO(
        rastrigin_batch, f_dim="3D", x=x0[None].copy(), dt=dt, alpha=alpha, verbosity=0, sigma=0.0,
        sigma_memory=0.0, lamda_memory=0.0, lamda=lamda, max_it=1,
    )  # fmt: skip
    swarm.step()
    ours = fm.SwarmConsensus(rastrigin, lamda, 0, alpha)
    push = ours(0.0, fm.Particles(fm.Phase(x0, 0 * x0))).drift.x.p
    moved = np.asarray(swarm.v[0])
    cosine = np.sum(moved * push) / np.linalg.norm(moved) / np.linalg.norm(push)
    print(f"| swarm, cosine of its acceleration with that of [grassi2021] | {cosine:+.6f} |")


def speed():
    """CPU time of a step on Rastrigin, d = 20, anisotropic noise, every library on one thread."""
    import torch
    from cbx.utils.torch_utils import to_torch_dynamic
    from evosax.algorithms import CMA_ES, PSO as EvosaxPSO

    torch.set_num_threads(1)
    d, dt, sigma, alpha = 20, 0.01, 5.0, 30.0
    dtype = jnp.result_type(float)
    torch_dtype = torch.float64 if dtype == jnp.float64 else torch.float32
    torch.set_default_dtype(torch_dtype)
    TorchCBO = to_torch_dynamic(CBO)

    def rastrigin_torch(x):
        return torch.sum(x**2 + 10 * (1 - torch.cos(2 * np.pi * x)), dim=-1)

    print(
        f"{dtype}; ms a step\n| runs × particles | NumPy | torch | here | ratio to the faster |",
        end="",
    )
    print(" evosax PSO | CMA-ES | ns a number here |\n|---|---|---|---|---|---|---|---|")
    for runs, n in ((1, 100), (1, 1000), (10, 100), (100, 100), (100, 1000), (100, 10_000)):
        steps = int(np.clip(4e6 / (runs * n * d), 10, 500))
        system = fm.ConsensusBased(rastrigin, 1.0, sigma, alpha, "anisotropic")
        x0 = jr.uniform(jr.key(0), (runs, n, d), dtype, minval=-3.0, maxval=3.0)

        @jax.jit
        def ours(x, system=system, steps=steps):
            def one(x, key):
                # One tile: energies are then evaluated once, for the consensus alone.
                mu = fm.Particles(x, block=x.shape[0])
                return fm.simulate(
                    system, mu, [0.0, steps * dt], dt=dt, key=key, throw=False,
                    observe=lambda mu: mu.x[0, 0],
                ).final.x  # fmt: skip

            return jax.vmap(one)(x, jr.split(jr.key(1), x.shape[0]))

        options = dict(
            f_dim="3D", dt=dt, lamda=1.0, sigma=sigma, alpha=alpha, noise="anisotropic",
            verbosity=0, max_it=10**9, check_f_dims=False,
        )  # fmt: skip
        peers = {
            "numpy": CBO(rastrigin_batch, x=np.array(x0, np.float64), **options),
            "torch": TorchCBO(rastrigin_torch, x=torch.tensor(np.array(x0)), **options),
        }

        def theirs(peer, steps=steps):
            for _ in range(steps):
                peer.step()

        functions = {name: partial(theirs, peer) for name, peer in peers.items()}
        functions["here"] = partial(ours, x0)
        for name, algorithm in (("pso", EvosaxPSO), ("cma", CMA_ES)):
            if runs * n * d <= 2e6:
                functions[name] = partial(evolve(algorithm, runs, n, d, steps), jr.key(0))
        repeats = 5 if runs * n * d <= 2e6 else 3
        times = interleaved(functions, repeats=repeats)
        ms = {name: 1e3 * seconds / steps for name, seconds in times.items()}
        best = min(ms["numpy"], ms["torch"]) / ms["here"]
        others = " | ".join(f"{ms[k]:.3g}" if k in ms else "" for k in ("pso", "cma"))
        print(
            f"| {runs} × {n} | {ms['numpy']:.3g} | {ms['torch']:.3g} | {ms['here']:.3g} "
            f"| {best:.1f} | {others} | {1e6 * ms['here'] / (runs * n * d):.1f} |",
            flush=True,
        )


def evolve(algorithm, runs, n, d, steps):
    """`steps` generations of evosax, all runs at once."""
    strategy = algorithm(population_size=n, solution=jnp.zeros(d))
    params = strategy.default_params

    def run(key):
        start, first, rest = jr.split(key, 3)
        points = jr.uniform(start, (n, d), minval=-3.0, maxval=3.0)
        if algorithm.__name__ == "CMA_ES":
            state = strategy.init(first, points[0], params)
        else:
            state = strategy.init(first, points, jax.vmap(rastrigin)(points), params)

        def generation(state, key):
            ask, tell = jr.split(key)
            points, state = strategy.ask(ask, state, params)
            return strategy.tell(tell, points, jax.vmap(rastrigin)(points), state, params)[0], None

        state = jax.lax.scan(generation, state, jr.split(rest, steps))[0]
        return state.best_fitness

    return jax.jit(lambda key: jax.vmap(run)(jr.split(key, runs)))


def floor():
    """Where a step goes: nanoseconds a number of its parts, each alone, 400,000 numbers."""
    n, dtype = 400_000, jnp.result_type(float)
    x = 2 * jr.normal(jr.key(0), (n,), dtype)
    parts = {
        "random bits": lambda key, x: jr.bits(
            key, (n,), jnp.uint32 if x.itemsize == 4 else jnp.uint64
        ),
        "normals of `simulate`": lambda key, x: _pairs(key, n // 2, dtype),
        "normals of `jax.random`": lambda key, x: jr.normal(key, (n,), dtype),
        "erf⁻¹ alone": lambda key, x: jax.lax.erf_inv(x / 20),
        "cosine of XLA": lambda key, x: 1 - jnp.cos(2 * np.pi * x),
        "ripple of `objectives`": lambda key, x: ripple(x),
        "normals (rbg)": lambda key, x: jr.normal(_rbg(key), (n,), dtype),
    }
    functions = {}
    for name, part in parts.items():

        @jax.jit
        def many(key, part=part):
            def body(carry, i):
                value = part(jr.fold_in(key, i), x + carry)
                return jnp.max(value).astype(dtype) * 1e-30, None

            return jax.lax.scan(body, jnp.zeros((), dtype), jnp.arange(10))[0]

        functions[name] = partial(many, jr.key(1))
    times = interleaved(functions, repeats=7)
    print(f"{dtype}, ns a number\n| part | ns |\n|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {1e9 * seconds / n / 10:.1f} |")


def _pairs(key, n, dtype):
    index = jr.key_data(key)[:1].astype(jnp.int32)
    z = apart(lambda i: normal_pairs(jr.fold_in(key, i[0]), n, dtype), index)
    return jnp.stack([z.real, z.imag])


def _rbg(key):
    return jr.wrap_key_data(jnp.tile(jr.key_data(key), 2), impl="rbg")


def door():
    """`minimize` beside `simulate` and a bare scan of the same steps, 400 points in R^20."""
    n, d, steps, dt, sigma, alpha = 400, 20, 200, 0.01, 2.0, 50.0
    law = fm.ConsensusBased(rastrigin, 1.0, sigma, alpha, noise="anisotropic")
    mu = fm.Particles(jr.uniform(jr.key(1), (n, d), minval=-3, maxval=3))

    def bare(key):
        def step(x, k):
            weights = jax.nn.softmax(-alpha * jax.vmap(rastrigin)(x))
            away = x - weights @ x
            z = jr.normal(jr.fold_in(key, k), x.shape, x.dtype)
            return x - dt * away + sigma * dt**0.5 * away * z, None

        return jax.lax.scan(step, mu.x, jnp.arange(steps))[0]

    functions = {
        "minimize": lambda key: (
            fm.minimize(rastrigin, mu, key=key, dt=dt, budget=n * steps, tol=1e-30, method=law).x
        ),
        "simulate": lambda key: fm.simulate(law, mu, [0.0, steps * dt], dt=dt, key=key).final.x,
        "scan, normals of `jax.random`": bare,
    }
    times = interleaved({k: partial(jax.jit(f), jr.key(0)) for k, f in functions.items()}, 11)
    for name, seconds in times.items():
        print(f"{name:32} {1e3 * seconds:7.1f} ms")


if __name__ == "__main__":
    {"parity": parity, "speed": speed, "floor": floor, "door": door}[sys.argv[1]]()
