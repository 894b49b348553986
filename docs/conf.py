"""Configuration of the site: `python -m sphinx -W -b html docs docs/_build/html`."""

import inspect
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import _gallery  # noqa: E402

_project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
project = _project["name"]
author = _project["authors"][0]["name"]
version = release = _project["version"]

extensions = [
    "sphinx.ext.autodoc",
    # Mathematics without a network.
    "sphinx-mathjax-offline",
    "sphinxcontrib.bibtex",
    "_docstrings",
]
exclude_patterns = ["_build"]
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80

# One page a room, a field of systems, in the order in which they build on each other.
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


def _public_by_room(package) -> dict[str, list[tuple[str, str]]]:
    """(directive, name) of all that the package exports, by the room that defines it."""
    rooms: dict[str, list[tuple[str, str]]] = {}
    seen = set()
    chosen = {name: getattr(package, name) for name in package.__all__}
    names = [(f"{package.__name__}.{name}", value) for name, value in chosen.items()]
    for module in ("initial", "objectives", "plot", "checkpoint"):
        prefix = f"{package.__name__}.{module}"
        public = getattr(chosen[module], "__all__", vars(chosen[module]))
        names += [(f"{prefix}.{name}", getattr(chosen[module], name)) for name in public]
    for path, value in names:
        home = getattr(value, "__module__", None) or ""
        if path.split(".")[-1].startswith("_") or id(value) in seen or inspect.ismodule(value):
            continue
        if not home.startswith(package.__name__ + "."):
            continue
        directive = "autoclass" if inspect.isclass(value) else "autofunction"
        if not inspect.isclass(value) and not inspect.isroutine(value):
            directive = "autodata"
        seen.add(id(value))
        parts = home.split(".")[1:]
        room = ".".join(parts[: 2 if parts[0] == "systems" else 1])
        rooms.setdefault(room, []).append((directive, path))
    return rooms


def _api(package) -> dict[str, str]:
    """The pages of the API by name."""
    public = _public_by_room(package)
    pages = {}
    for room in (room for room in [*ROOMS, *sorted(set(public) - set(ROOMS))] if room in public):
        title = ROOMS.get(room, room.strip("_").replace("_", " ").capitalize())
        entries = "\n".join(f".. {directive}:: {name}\n" for directive, name in public[room])
        note = "Equations and pictures are in the :doc:`/gallery/index`.\n\n" * room.startswith(
            "systems."
        )
        page = room.strip("_").replace("systems.", "")
        pages[page] = f"{title}\n{'=' * len(title)}\n\n{note}{entries}"
    toctree = "".join(f"   {page}\n" for page in pages)
    pages["index"] = (
        "API\n===\n\nEverything is imported from ``flowjax_measures``. Arrays have the shapes in "
        'their annotations:\n``Float[Array, "n d"]`` is n points of d coordinates.\n\n'
        f".. toctree::\n   :maxdepth: 1\n\n{toctree}"
    )
    return pages


def _write(folder: Path, pages: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for stale in set(folder.glob("*.rst")) - {folder / f"{page}.rst" for page in pages}:
        stale.unlink()
    for page, text in pages.items():
        path = folder / f"{page}.rst"
        # Pages that haven't changed keep their date, so that they aren't built again.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


_package = __import__(project)
_write(HERE / "api", _api(_package))
_write(HERE / "gallery", _gallery.pages(_package))
