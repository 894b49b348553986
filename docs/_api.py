"""The pages of the API: one for each public class and function, and one a room that lists them."""

import inspect
import re
from pathlib import Path

import _docstrings
import _gallery

HERE = Path(__file__).parent

# The rooms, in the order in which they build on each other.
ROOMS = {
    "measures": "Measures",
    "spaces": "Spaces",
    "_system": "Building systems",
    "systems.attention": "Attention",
    "systems.sgd": "Stochastic gradient descent",
    "systems.consensus": "Consensus and ensembles",
    "systems.flows": "Flows",
    "systems.sampling": "Sampling",
    "systems.games": "Games",
    "systems.networks": "Networks",
    "systems.generative": "Generative flows",
    "systems.geometry": "Geometry",
    "noise": "Noise",
    "simulation": "Simulation",
    "kernels": "Kernels",
    "energies": "Energies",
    "metrics": "Metrics",
    "transport": "Transport",
    "solvers": "Solvers",
    "observables": "Observables",
    "initial": "Initial laws",
    "objectives": "Test functions",
    "fitting": "Fitting and learning",
    "inference": "Inference from snapshots",
    "optimization": "Optimisation, sampling, filters",
    "control": "Control",
    "sweeps": "Sweeps",
    "storage": "Files",
    "plot": "Plots",
}


def _by_room(package) -> dict[str, list[tuple[str, object]]]:
    """Path and value of all that the package exports, by the room that defines it."""
    rooms: dict[str, list[tuple[str, object]]] = {}
    seen = set()
    chosen = {name: getattr(package, name) for name in package.__all__}
    names = list(chosen.items())
    for module in ("initial", "objectives", "plot", "checkpoint"):
        public = getattr(chosen[module], "__all__", vars(chosen[module]))
        names += [(f"{module}.{name}", getattr(chosen[module], name)) for name in public]
    for module in ("kernels", "spaces", "energies", "metrics"):
        inner = vars(chosen[module]).items()
        names += [(f"{module}.{name}", value) for name, value in inner if inspect.isclass(value)]
    for path, value in names:
        home = getattr(value, "__module__", None) or ""
        if path.split(".")[-1].startswith("_") or id(value) in seen or inspect.ismodule(value):
            continue
        if not home.startswith(package.__name__ + "."):
            continue
        seen.add(id(value))
        parts = home.split(".")[1:]
        room = ".".join(parts[: 2 if parts[0] == "systems" else 1])
        rooms.setdefault(room, []).append((path, value))
    return rooms


def _directive(value) -> str:
    if inspect.isclass(value):
        return "autoclass"
    return "autofunction" if inspect.isroutine(value) else "autodata"


def _first(value) -> str:
    """The first sentence of a docstring."""
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return ""
    lines = inspect.cleandoc(value.__doc__ or "").split("\n\n")[0].splitlines()
    text = _docstrings.inline(" ".join(lines))
    return re.split(r"(?<=[.:]) (?=[A-Z])", text)[0]


def _mentions(name: str, pages: dict[str, str]) -> list[str]:
    """The pages that use a name, in text or in code."""
    marked = re.compile(rf"(?:``[^`\n]*|fm\.)(?<!\w){re.escape(name)}(?!\w)")
    return [page for page, text in pages.items() if name in text and marked.search(text)]


def _sources() -> tuple[dict[str, str], dict[str, str]]:
    """The texts of the site's own pages and of the examples, and the code of the gallery's."""
    texts = {}
    for path in sorted([*HERE.glob("*.rst"), *HERE.glob("howto/*.rst")]):
        if path.stem not in ("index", "bibliography", "benchmarks", "comparison"):
            texts[f"/{path.relative_to(HERE).with_suffix('')}"] = path.read_text()
    for path in sorted((HERE.parent / "examples").glob("*.py")):
        texts[f"/examples/{path.stem}"] = path.read_text()
    return texts, {f"/gallery/{name}": e.code for name, e in _gallery.entries().items()}


def _page(path: str, value, room: str, title: str, sources) -> str:
    back = f"*In* :doc:`{title} <{room}>`"
    entries = _gallery.entries()
    picture = ""
    if path in entries:
        back += f" · *in the gallery:* :doc:`/gallery/{path}`"
        picture = (
            f".. figure:: /gallery/figures/{path}.webp\n   :target: ../gallery/{path}.html\n"
            f"   :alt: {path}: what the code of the gallery draws.\n   :width: 60%\n\n"
        )
    texts, cells = sources
    used = [f":doc:`{p}`" for p in _mentions(path, texts)]
    shown = [f":doc:`{p}`" for p in _mentions(path, cells) if p != f"/gallery/{path}"][:12]
    used_in = "".join(
        f".. rubric:: {head}\n\n{', '.join(links)}\n\n"
        for head, links in (("Used in", used), ("Seen in the gallery", shown))
        if links
    )
    return (
        f":orphan:\n\n{path}\n{'=' * len(path)}\n\n{back}\n\n"
        f".. {_directive(value)}:: flowjax_measures.{path}\n\n{picture}{used_in}"
    )


def pages(package) -> dict[str, str]:
    """The pages by name, without their ending."""
    public, written, sources = _by_room(package), {}, _sources()
    order = [room for room in [*ROOMS, *sorted(set(public) - set(ROOMS))] if room in public]
    names = {room: room.strip("_").replace("systems.", "") for room in order}
    # On some file systems MMD.html and mmd.html are one file.
    taken = {*names.values(), "index"}
    for room in order:
        title = ROOMS.get(room, room.strip("_").replace("_", " ").capitalize())
        rows = []
        for path, value in public[room]:
            page = path if path.lower() not in taken else f"{path}-{_directive(value)[4:]}"
            taken.add(page.lower())
            written[page] = _page(path, value, names[room], title, sources)
            rows.append(f"   * - :doc:`{path} <{page}>`\n     - {_first(value)}")
        table = ".. list-table::\n   :widths: 32 68\n\n" + "\n".join(rows)
        written[names[room]] = f"{title}\n{'=' * len(title)}\n\n{table}\n"
    toctree = "".join(f"   {names[room]}\n" for room in order)
    written["index"] = (
        "API\n===\n\nEverything is imported from ``flowjax_measures``. Arrays have the shapes in "
        'their annotations:\n``Float[Array, "n d"]`` is n points of d coordinates. Every name, by '
        f"letters: :ref:`genindex`.\n\n.. toctree::\n   :maxdepth: 1\n\n{toctree}"
    )
    return written
