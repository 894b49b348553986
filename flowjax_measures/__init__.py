"""Flows of measures in JAX: simulate, differentiate and fit them."""

import ast as _ast
from difflib import get_close_matches as _get_close_matches
from importlib import import_module as _import_module
from importlib.metadata import PackageNotFoundError as _Missing, version as _version
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._system import (
    AbstractMeanField as AbstractMeanField,
    AbstractSystem as AbstractSystem,
    Custom as Custom,
    Species as Species,
    Stiff as Stiff,
)
from .measures import *  # noqa: F403
from .noise import (
    Common as Common,
    Covariance as Covariance,
    Cylindrical as Cylindrical,
    Dense as Dense,
    Diagonal as Diagonal,
    Isotropic as Isotropic,
)
from .simulation import *  # noqa: F403
from .spaces import *  # noqa: F403

if _TYPE_CHECKING:
    from . import (
        initial as initial,
        kernels as kernels,
        metrics as metrics,
        objectives as objectives,
        observables as observables,
        plot as plot,
        solvers as solvers,
        spaces as spaces,
        transport as transport,
    )
    from .control import *  # noqa: F403
    from .energies import *  # noqa: F403
    from .fitting import *  # noqa: F403
    from .inference import *  # noqa: F403
    from .kernels import *  # noqa: F403
    from .metrics import *  # noqa: F403
    from .observables import *  # noqa: F403
    from .optimization import *  # noqa: F403
    from .solvers import *  # noqa: F403
    from .storage import checkpoint as checkpoint
    from .sweeps import *  # noqa: F403
    from .systems.attention import *  # noqa: F403
    from .systems.consensus import *  # noqa: F403
    from .systems.flows import *  # noqa: F403
    from .systems.games import *  # noqa: F403
    from .systems.generative import *  # noqa: F403
    from .systems.geometry import *  # noqa: F403
    from .systems.networks import *  # noqa: F403
    from .systems.sampling import *  # noqa: F403
    from .systems.sgd import *  # noqa: F403
    from .transport import *  # noqa: F403

try:
    __version__ = _version("flowjax_measures")
except _Missing:  # A source tree that was never installed.
    __version__ = "0"

# Modules that are public names, and where they are. The other rooms only lend their names.
_MODULES = {
    **{name: name for name in ("energies", "kernels", "metrics", "solvers", "spaces", "transport")},
    **{name: name for name in ("initial", "objectives", "observables", "plot")},
    "checkpoint": "storage.checkpoint",
    **{path.parent.name: f"systems.{path.parent.name}"
       for path in sorted(_Path(__file__).parent.glob("systems/*/__init__.py"))},
}  # fmt: skip
_ROOMS = {"control", "fitting", "inference", "optimization", "sweeps", *_MODULES.values()}
_ROOMS -= {"storage.checkpoint", "plot"}  # Their names are called through them.


def _exports() -> dict[str, str]:
    """The room of each name that is exported, read off the files without running them."""
    here, found = _Path(__file__).parent, {}
    for room in sorted(_ROOMS):
        path = here / room.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in _ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, _ast.ImportFrom):  # `from ._room import name as name`
                found |= {alias.asname: room for alias in node.names if alias.asname}
    return {name: room for name, room in found.items() if not name.startswith("_")}


_EXPORTS = _exports()


def __getattr__(name: str):
    """Loads a room at the first use of one of its names: systems are many, a program uses few."""
    if name in _MODULES:
        value = _import_module(f"{__name__}.{_MODULES[name]}")
    elif name in _EXPORTS:
        value = getattr(_import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    else:
        near = _get_close_matches(name, __all__, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    globals()[name] = value
    return value


__all__ = sorted(  # pyright: ignore[reportUnsupportedDunderAll]
    {name for name in globals() if not name.startswith("_")}
    - {"measures", "noise", "simulation", "storage", "observables"}
    | {*_EXPORTS, *_MODULES}
)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
