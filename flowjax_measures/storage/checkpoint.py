"""Checkpoints: files that are whole or absent, that know what they are, and say what differs.

A file is a line that names the format, a header (versions, what it belongs to, its number, the
structure, shapes and types of what it holds, hashes), and the arrays by equinox. Nothing is
pickled. It is written beside its place and renamed, so that a process killed at any moment leaves
the old file or the new one.
"""

import contextlib
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from ._identity import (
    describe,
    environment,
    fingerprint,
    is_key,
    library_version,
    plain_tree,
    said,
    stamp,
    structure,
)

__all__ = ["environment", "fingerprint", "load", "save"]

_MAGIC = b"flowjax_measures checkpoint\n"
_FORMAT = 3
# No header is longer: a file that claims one is not read.
_HEADER = 2**24
_AGAIN = "delete it to compute it again."


def save(
    path: str | os.PathLike, tree: PyTree, config: PyTree = None, *, number: int | None = None
) -> None:
    """Writes a pytree to a file, at once or not at all.

    **Arguments:**

    - `path`: the file; its folder is made.
    - `tree`: a pytree of arrays and numbers; arrays that are spread over processes are gathered.
    - `config`: what the file belongs to; `load` refuses the file for another. The entries of a dict
      are compared one by one, so that `load` can name the one that differs.
    - `number`: which of many like it the file is.

    **Raises:** `ValueError` for arrays of Python objects; `OSError` where it can't be written.
    """
    content = io.BytesIO()
    eqx.tree_serialise_leaves(content, plain_tree(tree))
    payload = content.getvalue()
    header = {
        "format": _FORMAT,
        "flowjax_measures": library_version(),
        "config": stamp(config),
        "said": said(config),
        "number": number,
        "structure": structure(tree),
        "leaves": [describe(a) for a in jax.tree.leaves(tree)],
        "shapes": [list(np.shape(a)) for a in jax.tree.leaves(tree)],
        "length": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    if jax.process_index() != 0:
        return
    # The file behind a link is written, not the link.
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_up(path)
    beside = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(_MAGIC + json.dumps(header).encode() + b"\n" + payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def load(
    path: str | os.PathLike,
    like: PyTree,
    config: PyTree = None,
    *,
    number: int | None = None,
    argument: str = "config",
) -> PyTree:
    """Reads a pytree that `save` wrote.

    **Arguments:**

    - `path`: the file.
    - `like`: a pytree of the same structure, shapes and types; arrays, or
      `jax.ShapeDtypeStruct` in their place. Arrays come back on the devices of `like`.
    - `config`: what the file must belong to.
    - `number`: which of many like it the file must be.
    - `argument`: the caller's name for what chose the file, for errors.

    **Returns:** the pytree, bit for bit.

    **Raises:** `ValueError` for a file that is foreign, truncated, damaged, of another format, of
    another configuration or number, or of another structure, other shapes or types.
    """
    with open(path, "rb") as file:
        header = _header(file, path)
        rest = os.fstat(file.fileno()).st_size - file.tell()
        if rest != header["length"]:
            kind = "truncated" if rest < header["length"] else "too long"
            raise ValueError(
                f"`path`: {path} is {kind}: {rest} of {header['length']} bytes; {_AGAIN}"
            )
        payload = file.read()
    if hashlib.sha256(payload).hexdigest() != header["sha256"]:
        raise ValueError(f"`path`: {path} is damaged, its bytes have changed; {_AGAIN}")
    _compare(path, header, config, argument)
    if header["number"] != number:
        raise ValueError(
            f"`{argument}`: {path} is number {header['number']} of its kind and stands in the "
            f"place of number {number}; give it its own name again, or {_AGAIN}"
        )
    found, wanted = header["leaves"], [describe(a) for a in jax.tree.leaves(like)]
    if header["structure"] != structure(like) or len(found) != len(wanted):
        raise ValueError(
            f"`like`: {path} holds another structure, {header['structure']}, than asked for, "
            f"{structure(like)}."
        )
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if a != b:
            raise ValueError(f"`like`: leaf {i} of {path} is {a}, and {b} is asked for.")
    stream = io.BytesIO(payload)
    try:
        tree = eqx.tree_deserialise_leaves(stream, plain_tree(like))
    except (RuntimeError, EOFError, ValueError) as error:
        raise ValueError(
            f"`like`: {path} holds other shapes or types than asked for: {error}"
        ) from error
    return jax.tree.map(_placed, like, tree)


def shapes(path: str | os.PathLike) -> list[tuple[int, ...]]:
    """The shapes of the leaves of a file, from its header."""
    with open(path, "rb") as file:
        return [tuple(map(int, shape)) for shape in _header(file, path)["shapes"]]


def _header(file: Any, path: Any) -> dict[str, Any]:
    """The header of a file, read in bounded memory."""
    if file.read(len(_MAGIC)) != _MAGIC:
        empty = os.fstat(file.fileno()).st_size == 0
        what = "is empty; " + _AGAIN if empty else "is no checkpoint of this library."
        raise ValueError(f"`path`: {path} {what}")
    line = file.readline(_HEADER)
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`path`: the header of {path} is truncated; {_AGAIN}") from error
    if not isinstance(header, dict) or "format" not in header:
        raise ValueError(f"`path`: the header of {path} is of no format of this library.")
    if header["format"] != _FORMAT:
        raise ValueError(
            f"`path`: {path} has the format {header['format']}, written by version "
            f"{header.get('flowjax_measures')}; this version reads format {_FORMAT}."
        )
    kinds: dict[str, type] = {"config": dict, "said": dict, "structure": str, "leaves": list}
    kinds |= {"shapes": list, "length": int, "sha256": str}
    if any(not isinstance(header.get(name), kind) for name, kind in kinds.items()):
        raise ValueError(f"`path`: the header of {path} is incomplete; {_AGAIN}")
    return header


def _compare(path: Any, header: dict[str, Any], config: PyTree, argument: str) -> None:
    written, given = header["config"], stamp(config)
    names = sorted({*written, *given})
    differ = [name for name in names if written.get(name) != given.get(name)]
    if not differ:
        return
    old, new = header["said"], said(config)
    what = "another configuration (another system, parameters, times, versions or devices)"
    if differ != ["config"]:
        what = f"another one: {', '.join(differ)} differ{'s' if len(differ) == 1 else ''}"
    changes = [text for name in differ for text in _changes(name, old, new)]
    if changes:
        what += f" ({'; '.join(changes[:4])})"
    way = "another `folder`, or `overwrite=True`" if argument == "folder" else "another path"
    raise ValueError(
        f"`{argument}`: {path} belongs to {what}. Give the configuration that wrote it, or {way}."
    )


def _changes(name: str, old: dict, new: dict) -> list[str]:
    """What of a part is another number, in words: "dt: 0.1 → 0.2"."""
    before, after = old.get(name, {}), new.get(name, {})
    return [
        f"{'.'.join(filter(None, (name, path)))}: {before[path]} → {after[path]}"
        for path in before
        if path in after and before[path] != after[path]
    ]


def _sweep_up(path: Path) -> None:
    """Removes what processes that are gone have left half-written."""
    for old in path.parent.glob(f".{path.name[:200]}.*"):
        pid = old.name.rpartition(".")[2]
        if pid.isdigit() and not _alive(int(pid)):
            with contextlib.suppress(OSError):
                old.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # Somebody else's.
        return True
    return True


def _placed(like: Any, found: Any) -> Any:
    if is_key(like):
        return jax.random.wrap_key_data(found, impl=jax.random.key_impl(like))
    return jax.device_put(found, like.sharding) if isinstance(like, jax.Array) else found
