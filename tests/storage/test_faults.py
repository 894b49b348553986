"""The short form of the study of faults: every fault once, on a sweep and a search."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
faults = importlib.import_module("faults")


@pytest.mark.slow
@pytest.mark.parametrize("feature", ["sweep", "minimize"])
def test_nothing_is_lost(feature):
    assert faults.main(1, [feature], 0) == 0
