"""Calibration of a simulator in another process, killed on the way and gone on with.

`python examples/calibration.py [--fast]` writes `calibration.png`. The simulator is `epidemic.py`,
the data are the boys ill with influenza in an English boarding school in 1978 (British Medical
Journal 1, p. 587). A first process calibrates and is killed; a second one goes on from its folder.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np

import flowjax_measures as fm

ILL = np.array([3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4.0])
SIMULATOR = Path(__file__).with_name("epidemic.py")
# Logarithms of infection, recovery, and who is ill at first.
BOX = jnp.log(jnp.array([0.5, 0.1, 0.5])), jnp.log(jnp.array([5.0, 2.0, 10.0]))


def simulated(logs):
    """The program's output for one point."""
    given = " ".join(repr(float(v)) for v in np.exp(np.asarray(logs, float)))
    command = [sys.executable, "-I", "-S", str(SIMULATOR)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    return np.array(done.stdout.split(), float)


def misfit(logs):
    return np.sum((simulated(logs) - ILL) ** 2)


def calibrate(folder, budget):
    return fm.minimize(
        misfit, bounds=BOX, key=jr.key(0), particles=20, budget=budget, workers=4, folder=folder
    )


def killed(folder, budget):
    """Calibrates in another process, which is killed as soon as it has written a few steps."""
    first = [sys.executable, __file__, "--child", str(folder), str(budget)]
    process, state = subprocess.Popen(first), Path(folder) / "state"
    writings = set()
    while len(writings) < 4 and process.poll() is None:
        writings |= {state.stat().st_mtime_ns} if state.exists() else set()
        time.sleep(0.002)
    process.kill()
    return process.wait()


if __name__ == "__main__":
    if "--child" in sys.argv:
        calibrate(sys.argv[2], int(sys.argv[3]))
        sys.exit()
    budget = 200 if "--fast" in sys.argv else 1000
    with tempfile.TemporaryDirectory() as folder:
        code = killed(folder, budget)
        result = calibrate(folder, budget)
        longer = calibrate(folder, budget + 40)
    plt.plot(ILL, "o", label="data")
    plt.plot(simulated(result.x), label="calibrated")
    plt.xlabel("day")
    plt.ylabel("boys ill")
    plt.legend()
    plt.savefig("calibration.png", dpi=110)
    same = np.array_equal(result.x, calibrate(None, budget).x)
    print(f"first process ended with {code}; the same bits as an undisturbed run: {same}")
    print(f"{int(longer.nfev)} runs after more budget, misfit {float(longer.fun):.2f}")
    infection, recovery, first = np.exp(result.x)
    print(f"infection {infection:.3f}, recovery {recovery:.3f}, first {first:.2f}, "
          f"misfit {float(result.fun):.2f} in {int(result.nfev)} runs")  # fmt: skip
