"""Configuration of the site: `python -m sphinx -W -b html docs docs/_build/html`."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import _api  # noqa: E402
import _gallery  # noqa: E402
import _notebooks  # noqa: E402

_project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
project = _project["name"]
author = _project["authors"][0]["name"]
version = release = _project["version"]

extensions = [
    "sphinx.ext.autodoc",
    # Mathematics without a network.
    "sphinx-mathjax-offline",
    "sphinxcontrib.bibtex",
    "sphinx.ext.viewcode",
    "_docstrings",
    "_links",
]
exclude_patterns = ["_build"]
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

html_theme = "furo"
html_title = project
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["filter.js"]

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80


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
_write(HERE / "api", _api.pages(_package))
_write(HERE / "gallery", _gallery.pages(_package))
_write(HERE / "examples", _notebooks.pages())
_notebooks.write(HERE / "examples")
