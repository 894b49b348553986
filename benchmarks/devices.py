"""Particles over 1, 2, 4, 8 devices: the same path, memory and time of each; no all-gather.

    python benchmarks/devices.py              simulated devices of a CPU, or those that are there
    python benchmarks/devices.py --n 65536    more particles, on accelerators

Each row is a process of its own: attention with noise, float32, Euler steps, forward and gradient.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time

import numpy as np


def child(devices: int, n: int, d: int, steps: int) -> None:
    import jax
    import jax.numpy as jnp
    import jax.random as jr
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    import flowjax_measures as fm

    sharding = None
    if devices > len(jax.devices()):
        return print("{}")
    if devices:
        mesh = Mesh(np.array(jax.devices()[:devices]), ("particles",))
        sharding = NamedSharding(mesh, PartitionSpec("particles"))
    noise = fm.Custom(lambda t, x, mu: fm.Rates(-x, fm.Isotropic(0.3)))

    def end(x):
        mu = fm.Particles(x, sharding=sharding)
        return fm.simulate(
            fm.SelfAttention(beta=1.0) + noise, mu, [0.0, 0.02 * steps], dt=0.02, key=jr.key(1),
            throw=False,
        ).final.x  # fmt: skip

    x = jr.normal(jr.key(0), (n, d), jnp.float32)
    x = x if sharding is None else jax.device_put(x, sharding)
    row = {}
    for name, function in (
        ("forward", end),
        ("gradient", jax.grad(lambda x: jnp.sum(jnp.sin(end(x))))),
    ):
        program = jax.jit(function).lower(x).compile()
        text = program.as_text()
        value = jax.block_until_ready(program(x))
        times = []
        for _ in range(3):
            start = time.perf_counter()
            jax.block_until_ready(program(x))
            times.append(time.perf_counter() - start)
        memory = program.memory_analysis()
        row[name] = {
            "ms": 1e3 * min(times) / steps,
            "bytes": memory.temp_size_in_bytes + memory.argument_size_in_bytes,
            "gathers": len(re.findall(r"all-gather(-start)?\(", text)),
            "permutes": len(re.findall(r"collective-permute(-start)?\(", text)),
            "whole": len(re.findall(rf"f32\[(?:\d+,)*{n},{d}\]", text)),
            "value": np.asarray(value).tolist(),
        }
    print(json.dumps(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2048)
    parser.add_argument("--d", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--devices", type=int, nargs="*", default=[0, 1, 2, 4, 8])
    parser.add_argument("--child", type=int)
    options = parser.parse_args()
    if options.child is not None:
        return child(options.child, options.n, options.d, options.steps)
    rows = {}
    for devices in options.devices:
        environment = dict(os.environ)
        if "cpu" in environment.get("JAX_PLATFORMS", "cpu"):
            flag = f"--xla_force_host_platform_device_count={max(devices, 1)}"
            environment["XLA_FLAGS"] = environment.get("XLA_FLAGS", "") + " " + flag
        command = [sys.executable, __file__, "--child", str(devices)]
        for name in ("n", "d", "steps"):
            command += [f"--{name}", str(getattr(options, name))]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        rows[devices] = json.loads(out.stdout.splitlines()[-1])
    truth = rows[options.devices[0]]
    print(f"n = {options.n}, d = {options.d}, {options.steps} steps; devices 0: not sharded")
    print("| devices | | ms a step | MB a device | all-gathers | permutes | whole arrays | error |")
    print("|---|---|---|---|---|---|---|---|")
    for devices, row in rows.items():
        for name, r in row.items():
            whole, exact = np.array(r["value"]), np.array(truth[name]["value"])
            error = np.max(np.abs(whole - exact)) / np.max(np.abs(exact))
            print(
                f"| {devices} | {name} | {r['ms']:.2f} | {r['bytes'] / 1e6:.2f} | {r['gathers']} "
                f"| {r['permutes']} | {r['whole']} | {error:.1e} |"
            )


if __name__ == "__main__":
    main()
