"""Several processes over loopback give what one gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "examples" / "distributed.py"


@pytest.mark.slow
def test_processes_and_devices_are_one(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(SCRIPT.parent.parent)}
    found = []
    # In the last, particles travel within processes and between them.
    for processes, devices in ((1, 1), (1, 8), (4, 1), (2, 2)):
        save = tmp_path / f"{processes}-{devices}.npz"
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        command = [sys.executable, SCRIPT, "--processes", str(processes), "--save", save]
        subprocess.run(command, env=environment | flags, check=True, timeout=300)
        found.append(np.load(save))
    one, *others = found
    for name in one.files:
        # Float32: 1e-6 of the largest coordinate; in float64 the ring agrees to 1e-12.
        scale = np.max(np.abs(one[name]))
        for other in others:
            np.testing.assert_allclose(other[name] / scale, one[name] / scale, atol=1e-6)
