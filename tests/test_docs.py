"""Every Python block of the README and of the site's pages runs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import flowjax_measures as fm

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import _crawl  # noqa: E402  # pyright: ignore[reportMissingImports]
import _notebooks  # noqa: E402  # pyright: ignore[reportMissingImports]

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


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere(tmp_path):
    """… and every public name is at most three clicks from the landing page."""
    pytest.importorskip("sphinx")
    site = tmp_path / "html"
    build = ["-m", "sphinx", "-W", "-q", "-b", "html", str(ROOT / "docs"), str(site)]
    done = subprocess.run([sys.executable, *build], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    broken, clicks = _crawl.crawl(site)
    assert broken == []
    classes = {n for n in fm.__all__ if callable(getattr(fm, n))}
    assert {n for n in classes if f"flowjax_measures.{n}" not in clicks} == {"Results"}
    assert max(clicks.values()) <= 3
