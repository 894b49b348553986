"""The script for the day that an accelerator is at hand, in miniature."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "accelerator.py"


def module():
    spec = importlib.util.spec_from_file_location("accelerator", SCRIPT)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_a_part_that_fails_says_so_and_ends():
    accelerator = module()

    def broken(mini):
        yield {"n": 1}
        raise RuntimeError("out of memory")

    accelerator.PARTS["broken"] = (broken, 10)
    first, last = accelerator.rows("broken", True)
    assert first["n"] == 1 and last == {"part": "broken", "error": "RuntimeError: out of memory"}


def test_eight_minutes_hold_every_part_but_the_ends_of_the_last():
    seconds = [limit for _, limit in module().PARTS.values()]
    assert sum(seconds[:-1]) <= 8 * 60 and sum(seconds) <= 9 * 60


@pytest.mark.slow
def test_every_part_in_miniature(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(SCRIPT.parent.parent)}
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, SCRIPT, "--mini", "--out", out]
    subprocess.run(command, env=environment, check=True, timeout=300, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row for row in rows if "error" in row] == []
    assert {row["part"] for row in rows} == set(module().PARTS)
    kernels = [row for row in rows if row["part"] == "kernels"]
    assert kernels and all(row["value"] < 1e-6 and row["gradient"] < 1e-6 for row in kernels)


@pytest.mark.slow
def test_a_part_is_a_process_that_is_stopped_in_time(tmp_path):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(SCRIPT.parent.parent)}
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, SCRIPT, "attention", "memory", "--out", out, "--minutes", "0.2"]
    subprocess.run(command, env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["error"] for row in rows if "error" in row] == [
        "the process ended with -9", "no time is left",
    ]  # fmt: skip
