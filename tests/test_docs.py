"""Every Python block of the README and of the site's pages runs."""

import ast
import inspect
import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import flowjax_measures as fm

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import _live  # noqa: E402  # pyright: ignore[reportMissingImports]
import _notebooks  # noqa: E402  # pyright: ignore[reportMissingImports]
import _pictures  # noqa: E402  # pyright: ignore[reportMissingImports]

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.rst")),
    *sorted((ROOT / "docs" / "howto").glob("*.rst")),
]


def blocks(path: Path) -> list[str]:
    """The page's Python blocks in order."""
    text = path.read_text()
    if path.suffix == ".md":
        return re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    found = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text)
    return [re.sub(r"(?m)^   ", "", block) for block in found]


def _case(path):
    first = path.stem == "README"
    return pytest.param(path, id=path.name, marks=() if first else pytest.mark.slow)


@pytest.mark.parametrize("path", [_case(p) for p in PAGES if blocks(p)])
def test_blocks_run(path):
    namespace: dict = {}
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        for block in blocks(path):
            exec(compile(block, str(path), "exec"), namespace)
    assert "fm" in namespace


@pytest.mark.parametrize("page", _pictures.PAGES)
def test_pictures_of_a_page_are_drawn_by_its_code(page):
    drawn = json.loads(_pictures.DRAWN.read_text())
    assert drawn[page] == _pictures.digest(page), f"run docs/_pictures.py {page}"
    shown = re.findall(r"pictures/(\w+\.webp)", (ROOT / "docs" / f"{page}.rst").read_text())
    assert shown and all((_pictures.FOLDER / name).exists() for name in shown)


@pytest.mark.parametrize("name", _notebooks.scripts())
def test_notebooks_hold_the_code_of_the_examples(name):
    text = (ROOT / "examples" / f"{name}.py").read_text()
    about, setup, *rest = _notebooks.notebook(text)["cells"]
    assert about["cell_type"] == "markdown" and about["source"][0].startswith("# ")
    assert "pip install" in "".join(setup["source"])
    code = "\n".join("".join(cell["source"]) for cell in rest)
    whole = ast.parse(text)
    whole.body = whole.body[1:]
    assert ast.dump(ast.parse(code)) == ast.dump(whole) and rest
    assert all(comment in code for comment in re.findall(r"(?m)^ *# .*", text))


def test_the_live_page_shows_runs_of_its_code():
    data = json.loads(_live.RUNS.read_text().removeprefix("window.liveRuns=").rstrip(";\n"))
    assert data["digest"] == _live.digest(), "run docs/_live.py"
    assert [run["beta"] for run in data["runs"]] == list(_live.BETAS)
    for run in data["runs"]:
        turns = np.array(run["turns"])
        assert turns.shape == (len(data["ts"]), 48) == (len(run["clusters"]), 48)
        # Each cluster is of tokens within 0.1 of the next.
        gaps = np.diff(np.sort(turns[-1]), append=np.sort(turns[-1])[0] + 1000)
        assert np.sum(2 * np.sin(np.pi * gaps / 1000) > 0.1) in (0, run["clusters"][-1])


def test_notebooks_open_where_their_address_is_known(tmp_path):
    name = next(iter(_notebooks.scripts()))
    page = _notebooks.pages("someone/flowjax_measures")[name]
    place = "someone/flowjax_measures/blob/notebooks"
    assert f"https://colab.research.google.com/github/{place}/{name}.ipynb" in page
    known = f"someone/flowjax_measures/notebooks?labpath={name}.ipynb"
    assert f"https://mybinder.org/v2/gh/{known}" in page
    assert "colab" not in _notebooks.pages(None)[name]
    _notebooks.write(tmp_path, "someone/flowjax_measures")
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"requirements.txt", *(f"{n}.ipynb" for n in _notebooks.scripts())}
    # The workflow pushes to the branch that the links name.
    assert "-b notebooks" in (ROOT / ".github/workflows/site.yml").read_text()


NUMBERS = {11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen"}


def test_counts_are_those_of_the_tree():
    """What README, changelog and pages count, and what they say is there or not."""
    readme = (ROOT / "examples" / "README.md").read_text()
    scripts = {path.stem for path in (ROOT / "examples").glob("*.py")}
    told = set(re.findall(r"`(\w+)\.py`", readme))
    assert told == scripts, told ^ scripts
    rows = len(re.findall(r"^\| `", readme, re.MULTILINE))
    word = re.search(r"^(\w+) short scripts", readme, re.MULTILINE)
    changelog = re.search(r", (\w+) examples;", (ROOT / "CHANGELOG.md").read_text())
    assert word and changelog and NUMBERS[rows] == word[1].lower() == changelog[1]
    # What is exported isn't told to be missing.
    lacks = (ROOT / "docs/comparison.rst").read_text().split("does not have:")[1].lower()
    names = [name for name in fm.__all__ if not inspect.ismodule(getattr(fm, name))]
    words = {re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower() for name in names}
    assert not [name for name in words if re.search(rf"\b{re.escape(name)}s?\b", lacks)]


def test_the_pages_call_what_exists():
    """Names with `fm.` in text and code of all pages, of the README and the examples."""
    pages = [*PAGES, *(ROOT / "examples").glob("*.py"), *(ROOT / "docs" / "gallery").glob("*.py")]
    name = re.compile(r"\bfm\.((?:plot|initial|objectives|checkpoint)\.\w+|\w+)")
    called = {(page.name, match) for page in pages for match in name.findall(page.read_text())}

    def exists(name):
        value = fm
        for part in name.split("."):
            value = getattr(value, part, None)
        return value is not None

    assert [(page, name) for page, name in sorted(called) if not exists(name)] == []
