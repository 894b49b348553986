"""Several processes over loopback give what one gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "examples" / "distributed.py"


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(SCRIPT.parent.parent)}
    # Two devices a process: particles travel within and between them.
    flags = {1: "", 2: "--xla_force_host_platform_device_count=2"}
    found = {}
    for processes in (1, 2):
        save = tmp_path / f"{processes}.npz"
        command = [sys.executable, SCRIPT, "--processes", str(processes), "--save", save]
        subprocess.run(
            command, env=environment | {"XLA_FLAGS": flags[processes]}, check=True, timeout=300
        )
        found[processes] = np.load(save)
    for name in found[1].files:
        # Float32: 1e-6 of the largest coordinate; in float64 the ring agrees to 1e-12.
        scale = np.max(np.abs(found[1][name]))
        np.testing.assert_allclose(found[2][name] / scale, found[1][name] / scale, atol=1e-6)
