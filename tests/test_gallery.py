"""The gallery: every system has its page, its figure, and code that runs."""

import ast
import json
import sys
from pathlib import Path

import jax
import pytest
from test_architecture import systems

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))

import _gallery  # pyright: ignore[reportMissingImports]

ENTRIES = _gallery.entries()


def test_every_system_has_an_entry_and_a_figure():
    names = {system.__name__ for system in systems()}
    assert set(ENTRIES) == names, f"docs/gallery/*.py: {set(ENTRIES) ^ names}"
    figures = {path.stem: path.stat().st_size for path in (_gallery.FOLDER / "figures").iterdir()}
    assert set(figures) == names, "run docs/_gallery.py NAME"
    assert sum(figures.values()) < 3e6


def test_figures_are_those_of_the_code_beside_them():
    drawn = json.loads(_gallery.DRAWN.read_text())
    stale = [name for name, digest in drawn.items() if ENTRIES[name].digest != digest]
    assert len(drawn) > 100 and stale == [], "run docs/_gallery.py NAME"


@pytest.mark.parametrize("name", ENTRIES)
def test_code_is_short_and_uses_the_system(name):
    entry = ENTRIES[name]
    lines = [line for line in entry.code.splitlines() if line and not line.startswith((" ", ")"))]
    assert len(lines) <= 14 and len(entry.code.splitlines()) <= 24
    attributes = {n.attr for n in ast.walk(ast.parse(entry.code)) if isinstance(n, ast.Attribute)}
    assert name in attributes or name == "AlignmentFlow"
    assert entry.caption.endswith(".")


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_code_draws_something(name, tmp_path):
    pytest.importorskip("matplotlib")
    figure = tmp_path / f"{name}.webp"
    # It raises where nothing is drawn.
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        _gallery.run(ENTRIES[name], figure)
    assert figure.stat().st_size > 1000
