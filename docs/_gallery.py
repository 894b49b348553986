"""The gallery: a page for each system, written from `gallery/<family>.py`, and the figures.

A family's file is a docstring that is its title, imports, and a cell for each system: `# %% Name`,
a caption in comments, and its code. `python docs/_gallery.py [NAME ...]` runs the code of these
systems, of all by default, and draws their figures.
"""

import ast
import hashlib
import inspect
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import _docstrings

FOLDER = Path(__file__).parent / "gallery"
# The digests of the code that drew the figures.
DRAWN = FOLDER / "figures.json"
# Above the figures: what is typed leaves those whose name, caption or field has these words.
_HEAD = """Gallery
=======

Every system, with code that draws its figure.

.. raw:: html

   <input id="filter" type="search" placeholder="Filter: noise, sphere, graph, …"
    aria-label="Show the systems with these words only">"""
ORDER = ["attention", "consensus", "flows", "games", "sampling", "sgd", "networks", "generative"]


@dataclass(frozen=True)
class Entry:
    """A system in the gallery."""

    name: str
    family: str
    caption: str
    imports: str
    code: str

    @property
    def source(self) -> str:
        """The code with the imports that it needs."""
        used = {n.id for n in ast.walk(ast.parse(self.code)) if isinstance(n, ast.Name)}
        tree = ast.parse(self.imports)
        lines = []
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                node.names = [a for a in node.names if (a.asname or a.name) in used]
                lines += [ast.unparse(node)] if node.names else []
        return "\n".join(lines) + "\n\n" + self.code

    @property
    def digest(self) -> str:
        """What tells whether the figure is that of this code."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]

    @property
    def figure(self) -> Path:
        return FOLDER / "figures" / f"{self.name}.webp"


def files() -> list[Path]:
    """The families' files; those that ORDER doesn't know come last."""
    key = lambda p: (ORDER.index(p.stem) if p.stem in ORDER else len(ORDER), p.stem)  # noqa: E731
    return sorted(FOLDER.glob("*.py"), key=key)


def entries() -> dict[str, Entry]:
    """All entries by the name of the system."""
    found = {}
    for path in files():
        text = path.read_text()
        family = ast.get_docstring(ast.parse(text)) or path.stem
        head, *cells = re.split(r"(?m)^# %% (\w+)\n", text)
        for name, cell in zip(cells[::2], cells[1::2], strict=True):
            comment, code = re.match(r"((?:#.*\n)*)((?:.*\n)*)", cell).groups()
            caption = "\n".join(line.removeprefix("# ") for line in comment.splitlines())
            found[name] = Entry(name, family, caption, head, code.strip() + "\n")
    return found


def run(entry: Entry, figure: Path | None = None) -> None:
    """Runs the code of an entry, and saves what it draws."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"figure.figsize": (4.8, 3.4), "font.size": 9, "figure.dpi": 110}):
        try:
            exec(compile(entry.source, f"<gallery: {entry.name}>", "exec"), {})
            if not plt.get_fignums() or not any(ax.has_data() for ax in plt.gcf().axes):
                raise ValueError(f"The code of {entry.name} draws nothing.")
            if figure is not None:
                figure.parent.mkdir(exist_ok=True)
                plt.gcf().tight_layout()
                plt.gcf().savefig(figure, pil_kwargs={"quality": 80, "method": 6})
        finally:
            plt.close("all")


def _page(entry: Entry, system: type) -> str:
    title = f":orphan:\n\n{entry.name}\n{'=' * len(entry.name)}"

    def text(doc: str) -> str:
        return "\n".join(_docstrings.convert([*inspect.cleandoc(doc).split("\n"), ""]))

    code = "\n".join("   " + line if line else "" for line in entry.source.rstrip().split("\n"))
    return "\n\n".join(
        [
            title,
            f"*In the* :doc:`gallery <index>`, {entry.family} · *API:* :doc:`/api/{entry.name}`",
            text(entry.caption),
            f".. image:: figures/{entry.figure.name}\n   :alt: {entry.name}: what the code draws.",
            f".. code-block:: python\n\n{code}",
            text(inspect.getmodule(system).__doc__ or ""),
            f".. rubric:: {entry.name}",
            text(system.__doc__ or ""),
        ]
    )


def pages(package) -> dict[str, str]:
    """The pages by name: one a system, and the index with all the figures."""
    found, index = {}, [_HEAD]
    families: dict[str, list[Entry]] = {}
    for entry in entries().values():
        found[entry.name] = _page(entry, getattr(package, entry.name))
        families.setdefault(entry.family, []).append(entry)
    for family, members in families.items():
        index.append(f"{family}\n{'-' * len(family)}\n\n.. container:: tiles\n")
        for entry in members:
            index.append(
                f"   .. figure:: figures/{entry.figure.name}\n      :target: {entry.name}.html\n"
                f"      :alt: {' '.join(entry.caption.split())}\n\n      :doc:`{entry.name}`"
            )
    return found | {"index": "\n\n".join(index) + "\n"}


if __name__ == "__main__":
    every = entries()
    for name in sys.argv[1:] or every:
        begin = time.perf_counter()
        run(every[name], every[name].figure)
        size = every[name].figure.stat().st_size
        drawn = json.loads(DRAWN.read_text()) if DRAWN.exists() else {}
        drawn = dict(sorted((drawn | {name: every[name].digest}).items()))
        DRAWN.write_text(json.dumps(drawn, indent=1) + "\n")
        print(f"{name}: {time.perf_counter() - begin:.1f} s, {size / 1000:.0f} kB", flush=True)
