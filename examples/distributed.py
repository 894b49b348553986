"""Particles over the devices of several processes, and a sweep over them.

    python examples/distributed.py                    two processes over loopback
    python examples/distributed.py --cluster          one process of a SLURM job or a TPU pod

Every process runs the same lines. What it prints does not depend on how many there are.
"""

import argparse
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import flowjax_measures as fm


def simulate() -> dict[str, np.ndarray]:
    """Noisy attention of 64 particles spread over all devices, and a sweep over them."""
    particles = NamedSharding(
        Mesh(np.array(jax.devices()), ("particles",)), PartitionSpec("particles")
    )
    noise = fm.Custom(lambda t, x, mu: fm.Rates(-x, fm.Isotropic(0.3)))

    @jax.jit
    def run(key):
        mu = fm.Particles(jr.normal(key, (64, 3)), sharding=particles)
        # Contracting, so that it does not blow up the round-off of float32.
        system = fm.SelfAttention(beta=0.5) + noise
        return fm.simulate(system, mu, [0.0, 1.0], dt=0.02, key=key, throw=False).final

    final = run(jr.key(0))
    # The particles of other processes are not here; what is said of all of them is.
    mean = jax.jit(lambda mu: mu.mean())(final)
    points = multihost_utils.process_allgather(final.x, tiled=True)

    def end(p, key):
        mu = fm.initial.normal(key, 16, 2)
        law = fm.SelfAttention(beta=p["beta"])
        return fm.simulate(law, mu, [0.0, 1.0], dt=0.1, throw=False).final.covariance()

    swept = fm.sweep(end, {"beta": [1.0, 4.0]}, seeds=3)
    return {"mean": np.asarray(mean), "points": np.asarray(points), "swept": swept.values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--loopback", nargs=2, metavar=("ADDRESS", "PROCESS"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--save", help="an .npz file, written by the first process")
    options = parser.parse_args()
    if options.cluster:
        # SLURM and Cloud TPU say who the others are.
        jax.distributed.initialize()
    elif options.loopback:
        address, process = options.loopback
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(address, options.processes, int(process))
    elif options.processes > 1:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        command = [sys.executable, __file__, "--processes", str(options.processes)]
        command += ["--save", options.save] if options.save else []
        workers = [
            subprocess.Popen([*command, "--loopback", address, str(i)])
            for i in range(options.processes)
        ]
        sys.exit(max(worker.wait() for worker in workers))
    values = simulate()
    if jax.process_index() == 0:
        print(f"{jax.process_count()} processes, {jax.device_count()} devices")
        print("mean", values["mean"])
        print("swept", jnp.trace(values["swept"], axis1=-2, axis2=-1))
        if options.save:
            np.savez(options.save, **values)


if __name__ == "__main__":
    main()
