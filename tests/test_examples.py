"""The examples run in their fast setting: a picture, and a last line of finite numbers."""

import re
import runpy
import sys
from pathlib import Path

import jax
import pytest

FOLDER = Path(__file__).parent.parent / "examples"
NAMES = re.findall(r"^\| `(\w+)\.py`", (FOLDER / "README.md").read_text(), re.MULTILINE)


def test_fields_of_use():
    assert len(NAMES) == 13 and all((FOLDER / f"{name}.py").exists() for name in NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_example_runs(name, tmp_path, monkeypatch, capsys):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "--fast"])
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    plt.close("all")
    assert (tmp_path / f"{name}.png").stat().st_size > 3000
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert re.search(r"\d", last) and "nan" not in last and "inf" not in last
