"""The examples as pages and as notebooks: a cell for the imports, each definition, each paragraph.

`python docs/_notebooks.py FOLDER` writes the notebooks. Where GITHUB_REPOSITORY says whose they
are, as on GitHub's machines, pages link to Colab and Binder, which open them from the branch
`notebooks`; the workflow that publishes the site writes it.
"""

import ast
import inspect
import json
import os
import sys
from pathlib import Path

import _docstrings

EXAMPLES = Path(__file__).parent.parent / "examples"
REPOSITORY = os.environ.get("GITHUB_REPOSITORY")
_HEAD = """Examples
========

Scripts that run on their own and draw a picture; most take ``--fast``. Each is a notebook too, but
for those that start processes or write into the documentation: open it in Jupyter, or in Colab by
*File, Upload notebook*. Its first cell installs the library where it is not there."""
# Installs where it has to, as on Colab; a notebook has no arguments.
SETUP = """\
import importlib.util, sys

if importlib.util.find_spec("flowjax_measures") is None:
    %pip install -q "flowjax_measures[examples]"
sys.argv = ["notebook"]
%matplotlib inline
"""


def scripts() -> dict[str, str]:
    """The examples that are of use in a notebook: those that start no processes of their own."""
    found = {path.stem: path.read_text() for path in sorted(EXAMPLES.glob("*.py"))}
    return {name: text for name, text in found.items() if "__file__" not in text}


def cells(text: str) -> list[str]:
    """The code of a script, less its docstring: statements that no blank line parts stay together.

    Imports are one cell, and comments go with what follows them.
    """
    lines, body = text.splitlines(), ast.parse(text).body[1:]
    groups: list[list[int]] = []
    last, imports = 0, False
    for node in body:
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(d.lineno for d in decorators)]) - 1
        while lines[start - 1].startswith("#"):
            start -= 1
        importing = isinstance(node, ast.Import | ast.ImportFrom)
        joined = start == last or (importing and imports)
        if groups and joined:
            groups[-1][1] = node.end_lineno or start
        else:
            groups.append([start, node.end_lineno or start])
        last, imports = groups[-1][1], importing
    return ["\n".join(lines[a:b]) for a, b in groups]


def notebook(text: str) -> dict:
    """A script as a notebook, of format 4.4."""
    code = lambda source: {  # noqa: E731
        "cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [],
        "source": source.splitlines(keepends=True),
    }  # fmt: skip
    title, _, rest = inspect.cleandoc(ast.get_docstring(ast.parse(text)) or "").partition("\n")
    about = {"cell_type": "markdown", "metadata": {}, "source": [f"# {title}\n", rest]}
    return {
        "cells": [about, code(SETUP), *map(code, cells(text))],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python",
                                    "name": "python3"}, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }  # fmt: skip


def online(name: str, repository: str | None) -> str:
    """Links that open a notebook where nothing need be installed."""
    if not repository:
        return ""
    colab = f"https://colab.research.google.com/github/{repository}/blob/notebooks/{name}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{repository}/notebooks?labpath={name}.ipynb"
    return f" · `Colab <{colab}>`__ · `Binder <{binder}>`__"


def pages(repository: str | None = REPOSITORY) -> dict[str, str]:
    """A page for each example, and the list of all."""
    written, rows = {}, []
    for path in sorted(EXAMPLES.glob("*.py")):
        text = path.read_text()
        doc = ast.get_docstring(ast.parse(text)) or ""
        about = "\n".join(_docstrings.convert([*doc.split("\n"), ""]))
        title = f"{path.stem}.py"
        links = f":download:`{title} </../examples/{title}>`"
        if path.stem in scripts():
            links += f" · :download:`{path.stem}.ipynb <{path.stem}.ipynb>`"
            links += online(path.stem, repository)
        written[path.stem] = (
            f":orphan:\n\n{title}\n{'=' * len(title)}\n\n{about}\n\n"
            f"{links} · :doc:`all examples <index>`\n\n"
            f".. literalinclude:: /../examples/{title}\n   :language: python\n"
        )
        first = _docstrings.inline(" ".join(doc.split("\n\n")[0].split()))
        rows.append(f"   * - :doc:`{title} <{path.stem}>`\n     - {first}")
    table = ".. list-table::\n   :widths: 30 70\n\n" + "\n".join(rows)
    written["index"] = f"{_HEAD}\n\n{table}\n"
    return written


def write(folder: Path, repository: str | None = REPOSITORY) -> None:
    """The notebooks, as files of a folder, and what Binder installs for them."""
    folder.mkdir(exist_ok=True, parents=True)
    if repository:
        needs = f"flowjax_measures[examples] @ git+https://github.com/{repository}\n"
        (folder / "requirements.txt").write_text(needs)
    for name, text in scripts().items():
        content = json.dumps(notebook(text), indent=1, ensure_ascii=False)
        path = folder / f"{name}.ipynb"
        if not path.exists() or path.read_text() != content:
            path.write_text(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
