"""The rooms: who may import whom, and that every system is exported, catalogued, documented."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import catalogue
import pytest

import flowjax_measures as fm
from flowjax_measures.simulation import LogTime

PACKAGE = Path(fm.__file__).parent
# The floors of the house, top to bottom: each imports only from floors above it.
FLOORS = """
_custom_types    aliases of arrays with one meaning each
_numerics        cubature, square roots, bytes
spaces           where points live
noise            what shakes them
_reduce          the tilted mean: tiled, ringed, sorted
measures         particles, Gaussians, grids
_system          what happens to one point in the field of a measure
kernels          two-point kernels
energies         functionals of a measure
metrics          what turns an energy into a flow
transport        distances, couplings, geodesics between measures
storage          files
observables      what is read off a measure
initial          where runs start
objectives       functions to minimise
systems          one system a file
simulation       the only door to diffrax
solvers          diffrax solvers of ours
inference        what snapshots tell without a run
optimization     minimise, sample, filter
control          controls of flows
fitting          parameters from data
sweeps           many runs
plot             pictures
_cli             commands
"""
ROOMS = [line.split()[0] for line in FLOORS.strip().splitlines()]
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports."""
    package = ("flowjax_measures", *path.relative_to(PACKAGE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *((node.module,) if node.module else ())))
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_from_rooms_above(path):
    here = room(path)
    if here in ("__init__", "__main__"):
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "flowjax_measures" or len(parts) < 2 or parts[1] == here:
            continue
        assert parts[1] in ROOMS, f"{path.name} imports {name}, which is below all rooms"
        assert ROOMS.index(parts[1]) < ROOMS.index(here), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_doors_to_other_libraries(path):
    names = {name.split(".")[0] for name in imports(path)}
    here = room(path)
    if here in ROOMS and ROOMS.index(here) < ROOMS.index("simulation"):
        assert "diffrax" not in names, "rooms above `simulation` do not know diffrax"
    if here not in ("energies", "transport", "_cli"):
        assert not names & {"ott", "ot"}, "ott and POT enter only in energies/, transport/"
    if here == "simulation":
        assert not any(name.startswith("flowjax_measures.systems") for name in imports(path))


def test_the_root_is_a_list_of_rooms():
    loose = [path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]
    assert len(loose) <= 6, loose
    rooms = {room(path) for path in FILES} - {"__init__", "__main__"}
    assert rooms == set(ROOMS)


def test_the_map_of_the_docs_is_the_list_of_floors():
    drawn = (PACKAGE.parent / "docs/design.rst").read_text()
    assert "".join(f"   {line}\n" for line in FLOORS.strip().splitlines()) in drawn


def test_public_names_are_chosen():
    fields = {"attention", "consensus", "sgd", "flows", "sampling", "games", "networks"}
    fields |= {"generative", "geometry", "transport", "energies", "kernels", "metrics", "spaces"}
    fields |= {"solvers"}
    ours = lambda v: inspect.ismodule(v) and v.__name__.startswith("flowjax_measures.")  # noqa: E731
    modules = {name for name in fm.__all__ if ours(getattr(fm, name))}
    assert modules == fields | {"checkpoint", "initial", "objectives", "observables", "plot"}
    assert set(dir(fm)) == {*fm.__all__, "__version__"}


def test_a_bare_import_is_light():
    """What only some calls need is imported by them."""
    heavy = [
        "scipy.stats",
        "scipy.optimize",
        "ott",
        "ot",
        "matplotlib",
        "tqdm",
        "xarray",
        "sklearn",
    ]
    heavy += ["jax.experimental.pallas", "pandas", "sklearn"]
    script = f"import sys, flowjax_measures; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stdout + found.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_short_and_explain_themselves(path):
    text = path.read_text()
    lines = text.count("\n")
    is_system = room(path) == "systems" and path.name != "__init__.py"
    assert lines <= (120 if is_system else 300), f"{lines} lines"
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(text)), "a module's docstring says what it is"
    assert not any(isinstance(n, ast.Assert) for n in ast.walk(ast.parse(text)))


def systems() -> list[type]:
    return [
        value
        for value in (getattr(fm, name) for name in fm.__all__)
        if inspect.isclass(value)
        and issubclass(value, fm.AbstractSystem)
        and not inspect.isabstract(value)
        and value.__module__.startswith(("flowjax_measures.systems", LogTime.__module__))
    ]


def _inside(system) -> set[type]:
    found = {type(system)}
    for value in vars(system).values():
        if isinstance(value, fm.AbstractSystem):
            found |= _inside(value)
        elif isinstance(value, dict):
            for inner in value.values():
                found |= _inside(inner) if isinstance(inner, fm.AbstractSystem) else set()
    return found


def test_every_system_is_catalogued():
    caught = set().union(*(_inside(make().system) for make in catalogue.CASES.values()))
    missing = [s.__name__ for s in systems() if s not in caught]
    assert not missing, f"without an entry in tests/catalogue.py: {missing}"


def test_every_system_file_is_exported():
    kinds = {"AbstractMeanField", "AbstractSystem"}
    for path in (PACKAGE / "systems").rglob("_*.py"):
        if path.name == "__init__.py":
            continue
        for node in ast.parse(path.read_text()).body:
            bases = {getattr(b, "id", "") for b in getattr(node, "bases", [])}
            is_system = isinstance(node, ast.ClassDef) and bases & kinds
            if is_system and not node.name.startswith(("_", "Abstract")):
                assert hasattr(fm, node.name), f"{node.name} is not exported"


@pytest.mark.parametrize("system", systems(), ids=lambda s: s.__name__)
def test_every_system_is_documented(system):
    text = (system.__doc__ or "") + (inspect.getmodule(system).__doc__ or "")
    assert len(text) > 150
    for name in inspect.signature(system.__init__).parameters:
        if name != "self":
            assert f"`{name}`" in text, f"{system.__name__} does not explain `{name}`"


def test_licences_of_dependencies_are_those_that_are_told():
    """The table of SECURITY.md against what is installed, run-time dependencies alone."""
    text = (PACKAGE.parent / "SECURITY.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    told = {name.lower(): licence for names, licence in rows[1:] for name in names.split(", ")}
    needed = [r for r in metadata.requires("flowjax_measures") or [] if "extra ==" not in r]
    assert {re.match(r"[\w-]+", r)[0].lower() for r in needed} == set(told)
    for name, licence in told.items():
        about = metadata.metadata(name)
        fields = [about.get("License-Expression"), about.get("License")]
        assert licence in " ".join(filter(None, [*fields, *about.get_all("Classifier", [])])), name
