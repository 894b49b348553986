"""Every Python block of the README and of the site's pages runs."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parent.parent
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
