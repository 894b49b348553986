"""A simulator in another process: killed with SIGKILL and gone on with, by the example."""

import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_the_simulator_solves_its_equations():
    epidemic = runpy.run_path(str(EXAMPLES / "epidemic.py"))
    rates = 1.8, 0.45

    def slope(_, z):
        return epidemic["slope"](*z, *rates)

    exact = scipy.integrate.solve_ivp(
        slope, (0, 13), [761.0, 2.0], rtol=1e-10, atol=1e-8, t_eval=range(14)
    )
    np.testing.assert_allclose(list(epidemic["days"](*rates, 2.0)), exact.y[1], rtol=1e-4)


@pytest.mark.slow
def test_a_killed_calibration_goes_on(tmp_path):
    """With the bits of a run that nobody killed (−9 is SIGKILL), and on with more budget."""
    pytest.importorskip("matplotlib")
    command = [sys.executable, str(EXAMPLES / "calibration.py"), "--fast"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MPLBACKEND": "agg",
    }  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, env=environment
    )
    first, second, third = done.stdout.strip().splitlines()[-3:]
    assert f"ended with {-signal.SIGKILL};" in first and first.endswith("True")
    assert second.startswith("240 runs")
    before, after = (float(re.findall(r"misfit ([\d.]+)", line)[0]) for line in (third, second))
    assert after <= before and third.endswith("in 200 runs")
    assert (tmp_path / "calibration.png").stat().st_size > 3000
