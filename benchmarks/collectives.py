"""Bytes that devices send and exponentials that they take, counted in the compiled programs.

    python benchmarks/collectives.py        attention and an MMD flow over 1 … 8 simulated devices

Strong scaling: 4096 particles in all; weak: 512 a device. One velocity and its gradient, float32,
d = 3. Counts are of one device, times the trips of the loops that they stand in. No time is
measured.
"""

import math
import os
import re
from collections.abc import Callable

BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8,
    "u64": 8, "f64": 8,
}  # fmt: skip
COLLECTIVES = ("collective-permute", "all-gather", "all-reduce", "reduce-scatter", "all-to-all")
_SHAPE = re.compile(r"(pred|bf16|[fsu]\d+)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:calls|body|to_apply|true_computation|false_computation)=%?([\w.\-]+)")


def elements(shape: str) -> list[tuple[str, int]]:
    """The dtypes and sizes of the arrays in the shape of a result."""
    sizes = [(kind, [int(n) for n in dims.split(",") if n]) for kind, dims in _SHAPE.findall(shape)]
    return [(kind, math.prod(dims)) for kind, dims in sizes]


def counts(text: str) -> dict[str, int]:
    """What a compiled program does: bytes of every kind of collective, and exponentials."""
    bodies: dict[str, list[str]] = {}
    entry, name = "", ""
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*{$", line)
        if head:
            name = head[2]
            bodies[name] = []
            entry = name if head[1] else entry
        elif name:
            bodies[name].append(line.strip())
    known: dict[str, dict[str, int]] = {}

    def of(name: str) -> dict[str, int]:
        if name not in known:
            known[name] = total = dict.fromkeys((*COLLECTIVES, "exponential"), 0)
            for line in bodies.get(name, ()):
                _add(line, total, of)
        return known[name]

    return of(entry)


def _add(line: str, total: dict[str, int], of: Callable) -> None:
    found = re.match(r"(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z][\w\-]*)\(", line)
    if not found:
        return
    shape, op = found[1], found[2]
    op = op.removesuffix("-start")
    if op in COLLECTIVES:
        sizes = [BYTES[kind] * size for kind, size in elements(shape)]
        # The result of a start holds its operands as well.
        total[op] += sum(sizes) // (2 if found[2].endswith("-start") else 1)
    if op == "exponential":
        total[op] += sum(size for _, size in elements(shape))
    trips = re.search(r'known_trip_count":{"n":"(\d+)"', line)
    times = int(trips[1]) if trips else 1
    for inner in _CALLED.findall(line):
        for kind, count in of(inner).items():
            total[kind] += times * count


def programs(sharding):
    """The compiled text of a velocity and of its gradient, of attention and of an MMD flow."""
    import jax
    import jax.numpy as jnp

    import flowjax_measures as fm

    def text(make, x):
        velocity = lambda x: make(0.0, fm.Particles(x, sharding=sharding)).drift.x  # noqa: E731
        slope = jax.grad(lambda x: jnp.sum(jnp.sin(velocity(x))))
        for kind, function in (("velocity", velocity), ("gradient", slope)):
            yield kind, jax.jit(function).lower(jax.device_put(x, sharding)).compile().as_text()

    def discrepancy(x):
        target = fm.Particles(x + 1, sharding=sharding)
        return fm.GradientFlow(fm.MMD(target, fm.GaussianKernel(1.0)))

    return {
        "attention": lambda x: text(fm.SelfAttention(), x),
        "mmd flow": lambda x: text(discrepancy(x), x),
    }


def rows(sizes):
    """The counts for pairs of a number of devices and of particles."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    for devices, n in sizes:
        mesh = Mesh(np.array(jax.devices()[:devices]), ("particles",))
        sharding = NamedSharding(mesh, PartitionSpec("particles"))
        for name, make in programs(sharding).items():
            for kind, text in make(jr.normal(jr.key(0), (n, 3), jnp.float32)):
                yield {"system": name, "kind": kind, "devices": devices, "n": n, **counts(text)}


def main() -> None:
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    strong, weak = [(k, 4096) for k in (1, 2, 4, 8)], [(k, 512 * k) for k in (1, 2, 4, 8)]
    print("| | | devices | n | kB round the ring | kB summed | kB gathered | M exponentials |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows([*strong, *weak]):
        ring, summed, gathered = (
            row[kind] / 1e3 for kind in ("collective-permute", "all-reduce", "all-gather")
        )
        print(
            f"| {row['system']} | {row['kind']} | {row['devices']} | {row['n']} | {ring:.1f} "
            f"| {summed:.1f} | {gathered:.1f} | {row['exponential'] / 1e6:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
