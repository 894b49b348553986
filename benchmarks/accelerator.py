"""What a GPU or a TPU makes of the library, in eight minutes, in order of worth.

    python benchmarks/accelerator.py                      all parts; lines of JSON, as they come
    python benchmarks/accelerator.py kernels attention    some of them
    python benchmarks/accelerator.py --mini               small sizes, in one process, for a test

Every part is a process of its own with a share of the time: one that fails or hangs leaves its
error in its line and stops no other. Rows go to `--out` and to the screen. Times are the least of
several calls, in milliseconds; `limit` is what exponentials and products alone would take at the
rates that are measured on the same device: n² and 2 products for a velocity, 2n² and 7 products for
a gradient.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"


def milliseconds(function: Callable, *arguments, calls: int = 5) -> float:
    import jax

    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def gap(found, truth) -> float:
    """The largest difference in units of the largest number."""
    import jax
    import numpy as np

    gaps = []
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(truth), strict=True):
        a, b = np.asarray(a).astype(complex), np.asarray(b).astype(complex)
        gaps.append(
            float(np.max(np.abs(a - b), initial=0) / (1e-30 + np.max(np.abs(b), initial=0)))
        )
    return max(gaps)


def slope(f: Callable) -> Callable:
    import jax
    import jax.numpy as jnp

    return jax.grad(lambda x: jnp.sum(jnp.sin(f(x))))


def attention_of(kernel: str, **options) -> Callable:
    import flowjax_measures as fm

    return lambda x: fm.SelfAttention(**options)(0.0, fm.Particles(x, kernel=kernel)).drift.x


def doctor(mini: bool) -> Iterator[dict]:
    """Whether jit, eager and NumPy agree here, and where here is."""
    import jax

    from flowjax_measures._cli._doctor import CASES, examine

    device = jax.devices()[0]
    yield {"device": device.device_kind, "platform": device.platform, "jax": jax.__version__}
    for finding in examine(cases=CASES[:1] if mini else CASES):
        yield {"ok": bool(finding.ok), "finding": str(finding)}


def kernels(mini: bool) -> Iterator[dict]:
    """The fused kernel beside the tiles: values and gradients, float32, against float64's."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    n = 48 if mini else 1000
    for d in (3,) if mini else (1, 3, 16, 64, 128):
        for options in ({"causal": True},) if mini else ({}, {"causal": True}):
            with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
                x = jr.normal(jr.key(0), (n, d), jnp.float32) / d**0.5
                f = attention_of("tiled", **options)
                truth = jax.jit(f)(x.astype(float)), jax.jit(slope(f))(x.astype(float))
            for kernel in ("tiled", "pallas"):
                f, row = attention_of(kernel, **options), {"d": d, "kernel": kernel, **options}
                try:
                    found = jax.jit(f)(x), jax.jit(slope(f))(x)
                    row |= {"value": gap(found[0], truth[0]), "gradient": gap(found[1], truth[1])}
                except Exception as error:
                    row |= {"error": f"{type(error).__name__}: {error}"[:500]}
                yield row


def catalogue(mini: bool) -> Iterator[dict]:
    """Every catalogued law on the device and on the host, float32, and what differs."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    sys.path.insert(0, str(TESTS))
    from catalogue import CASES

    single = {"float64": jnp.float32, "complex128": jnp.complex64}

    def narrow(a):
        return a.astype(single.get(str(a.dtype), a.dtype)) if eqx.is_array(a) else a

    host, here = jax.devices("cpu")[0], jax.devices()[0]
    worst: dict[str, float] = {}
    for name in list(CASES)[:3] if mini else CASES:
        try:
            with jax.enable_x64(True), jax.default_device(host):
                case = CASES[name]()
                system, state = jax.tree.map(narrow, (case.system, case.state))
            speed = lambda system, state: eqx.filter(  # noqa: E731
                system(jnp.float32(0.1), state).drift, eqx.is_inexact_array
            )
            values = []
            for device in (host, here):
                arrays, rest = eqx.partition((system, state), eqx.is_array)
                arrays = jax.device_put(arrays, device)
                run = jax.jit(lambda a, rest=rest: speed(*eqx.combine(a, rest)))  # noqa: B023
                values.append(jax.device_get(run(arrays)))
            worst[name] = gap(values[1], values[0])
            if worst[name] > 1e-4:
                yield {"system": name, "gap": worst[name]}
        except Exception as error:
            yield {"system": name, "error": f"{type(error).__name__}: {error}"[:300]}
    order = sorted(worst, key=lambda name: worst[name])
    yield {"systems": len(order), "median": worst[order[len(order) // 2]], "worst": order[-3:]}


def attention(mini: bool) -> Iterator[dict]:
    """Velocity and gradient beside `dot_product_attention`, the formula and the limit."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    size = 256 if mini else 8192
    a = jr.normal(jr.key(0), (size, size), jnp.float32)
    exp = jax.jit(lambda x: jax.lax.fori_loop(0, 64, lambda _, y: jnp.exp(-jnp.abs(y)), x))
    rate_exp = 64 * size**2 / milliseconds(exp, a)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    rate_flop = 2 * size**3 / milliseconds(product, a)
    yield {"gigaexp a second": rate_exp / 1e6, "gigaflop a second, float32": rate_flop / 1e6}
    formula = lambda x: jax.nn.softmax(x @ x.T, -1) @ x  # noqa: E731
    library = lambda x: jax.nn.dot_product_attention(*(x[:, None, :],) * 3, scale=1.0)[:, 0]  # noqa: E731
    paths = {
        "formula": formula, "dot_product_attention": library, "tiled": attention_of("tiled"),
        "pallas": attention_of("pallas"),
    }  # fmt: skip
    for n in (64,) if mini else (4096, 16384, 65536, 262144):
        for d in (3, 64):
            x = jr.normal(jr.key(0), (n, d), jnp.float32) / d**0.5
            for kind, lift, count, products in (
                ("velocity", lambda f: f, 1, 2), ("gradient", slope, 2, 7)
            ):  # fmt: skip
                limit = count * n**2 / rate_exp + products * 2 * n**2 * d / rate_flop
                row: dict = {"n": n, "d": d, "kind": kind, "limit": limit}
                for name, path in paths.items():
                    if n > 16384 and name in ("formula", "dot_product_attention"):
                        continue  # n² numbers
                    try:
                        with jax.default_matmul_precision("highest"):
                            row[name] = milliseconds(jax.jit(lift(path)), x, calls=3)
                    except Exception as error:
                        row[name] = f"{type(error).__name__}: {error}"[:300]
                yield row


def sweeps(mini: bool) -> Iterator[dict]:
    """Settings of 100 particles, all in one program."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr
    import numpy as np

    import flowjax_measures as fm

    settings, n = (8, 10) if mini else (10_000, 100)

    def spread(p, key):
        mu = fm.initial.normal(key, n, 2)
        law = fm.ConsensusBased(lambda x: jnp.sum(x**2), sigma=p["sigma"], alpha=10.0)
        run = fm.simulate(law, mu, [0.0, 1.0], dt=0.01, key=key, throw=False)
        return jnp.trace(run.final.covariance())

    sigmas = np.linspace(0.1, 1.0, settings).astype(np.float32)
    start = time.perf_counter()
    fm.sweep(spread, {"sigma": sigmas}, seeds=1)
    row = {"settings": settings, "particles": n, "steps": 100}
    yield row | {"seconds of a sweep, compiled": time.perf_counter() - start}
    one = lambda sigma, key: spread({"sigma": sigma}, key)  # noqa: E731
    program = jax.jit(jax.vmap(one))
    yield row | {"as one program": milliseconds(program, sigmas, jr.split(jr.key(0), settings))}


def steps(mini: bool) -> Iterator[dict]:
    """Standard normals, and steps of consensus-based optimization."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    import flowjax_measures as fm
    from flowjax_measures.noise._normal_pairs import normal_pairs

    size = 1000 if mini else 2**26
    ours = jax.jit(lambda key: normal_pairs(key, size // 2, jnp.float32))
    theirs = jax.jit(lambda key: jr.normal(key, (size,), jnp.float32))
    yield {
        "normals": size, "pairs": milliseconds(ours, jr.key(0)),
        "jax.random": milliseconds(theirs, jr.key(0)),
    }  # fmt: skip
    for n, d in ((20, 2),) if mini else ((1000, 20), (100_000, 20), (1_000_000, 100)):
        law = fm.ConsensusBased(lambda x: jnp.sum(x**2), sigma=0.5, alpha=10.0)
        x = jr.normal(jr.key(0), (n, d), jnp.float32)
        run = jax.jit(
            lambda x, law=law: (
                fm.simulate(
                    law, fm.Particles(x), [0.0, 1.0], dt=0.01, key=jr.key(1), throw=False
                ).final.x
            )
        )
        yield {"n": n, "d": d, "a step": milliseconds(run, x, calls=3) / 100}


def sinkhorn(mini: bool) -> Iterator[dict]:
    """The divergence and its gradient."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    import flowjax_measures as fm

    for n in (40,) if mini else (1000, 4096, 16384):
        x, y = (jr.normal(jr.key(k), (n, 3), jnp.float32) + k for k in (0, 1))
        value = jax.jit(
            jax.value_and_grad(
                lambda x, y=y: fm.sinkhorn_divergence(fm.Particles(x), fm.Particles(y), 0.1)
            )
        )
        yield {"n": n, "value and gradient": milliseconds(value, x, calls=2)}


def memory(mini: bool) -> Iterator[dict]:
    """What the gradient of a run takes, as compiled and as held."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    import flowjax_measures as fm

    for n in (64,) if mini else (8192, 65536):
        x = jr.normal(jr.key(0), (n, 3), jnp.float32)

        def end(x):
            run = fm.simulate(fm.SelfAttention(), fm.Particles(x), [0.0, 1.0], dt=0.1, throw=False)
            return jnp.sum(jnp.sin(run.final.x))

        program = jax.jit(jax.grad(end)).lower(x).compile()
        held = program.memory_analysis()
        jax.block_until_ready(program(x))
        stats = jax.devices()[0].memory_stats() or {}
        yield {
            "n": n, "temporary MB": held.temp_size_in_bytes / 1e6,
            "peak MB": stats.get("peak_bytes_in_use", 0) / 1e6,
            "limit MB": stats.get("bytes_limit", 0) / 1e6,
        }  # fmt: skip


# In order of worth, with the seconds that each may take.
PARTS: dict[str, tuple[Callable[[bool], Iterator[dict]], int]] = {
    "doctor": (doctor, 40), "kernels": (kernels, 80), "attention": (attention, 110),
    "catalogue": (catalogue, 120), "sweeps": (sweeps, 40), "steps": (steps, 40),
    "sinkhorn": (sinkhorn, 50), "memory": (memory, 40),
}  # fmt: skip


def rows(part: str, mini: bool) -> Iterator[dict]:
    """The rows of a part; an error is its last."""
    start = time.perf_counter()
    try:
        for row in PARTS[part][0](mini):
            yield {"part": part, "at": round(time.perf_counter() - start, 1), **row}
    except Exception as error:
        yield {"part": part, "error": f"{type(error).__name__}: {error}"[:500]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--mini", action="store_true", help="small sizes")
    parser.add_argument("--out", type=Path, default=Path("accelerator.jsonl"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes

    def write(row):
        line = json.dumps(row)
        print(line, flush=True)
        if not options.child:
            with options.out.open("a") as out:
                out.write(line + "\n")

    for part in options.parts or PARTS:
        if options.child or options.mini:
            for row in rows(part, options.mini):
                write(row)
            continue
        limit = min(PARTS[part][1], end - time.monotonic())
        if limit < 10:
            write({"part": part, "error": "no time is left"})
            continue
        command = [sys.executable, __file__, part, "--child"]
        # The host is one more device, to compare with.
        environment = {"JAX_PLATFORMS": ""} | dict(os.environ)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as run:
            try:
                _relay(run, write, time.monotonic() + limit)
            finally:
                run.kill()
        if run.returncode:
            write({"part": part, "error": f"the process ended with {run.returncode}"})


def _relay(run, write, end) -> None:
    """Passes a part's rows on until it ends or its time does."""
    import threading

    timer = threading.Timer(max(end - time.monotonic(), 0), run.kill)
    timer.start()
    for line in run.stdout:
        if line.startswith("{"):
            write(json.loads(line))
    timer.cancel()
    run.wait()


if __name__ == "__main__":
    main()
