"""Checkpoints: files that are whole or absent, and runs that go on from one bit for bit.

A file is a line that names the format, a header with versions, the hash of the configuration and
the hash of the content, and the arrays by equinox. Nothing is pickled. It is written beside its
place and renamed, so that a process killed at any moment leaves the old file or the new one.
"""

import hashlib
import io
import json
import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree

_MAGIC = b"flowjax_measures checkpoint\n"
_FORMAT = 1


def fingerprint(config: PyTree) -> str:
    """A hash of a configuration, the same in every process.

    **Arguments:**

    - `config`: any pytree; arrays count by value, functions by their name.

    **Returns:** 64 hexadecimal digits.
    """
    leaves, structure = jax.tree.flatten(_plain(config))
    # Addresses of functions differ between processes.
    parts = [re.sub(r" at 0x[0-9a-f]+", "", str(a)).encode() for a in (structure, len(leaves))]
    for leaf in leaves:
        if isinstance(leaf, np.ndarray | np.generic | jax.Array):
            array = np.asarray(leaf)
            parts += [f"{array.dtype}{array.shape}".encode(), array.tobytes()]
        else:
            name = getattr(leaf, "__qualname__", None)
            parts.append(repr(leaf).encode() if name is None else name.encode())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def save(path: str | os.PathLike, tree: PyTree, config: PyTree = None) -> None:
    """Writes a pytree to a file, at once or not at all.

    **Arguments:**

    - `path`: the file; its folder is made.
    - `tree`: a pytree of arrays and numbers; arrays that are spread over processes are gathered.
    - `config`: what the file belongs to; `load` refuses the file for another.
    """
    content = io.BytesIO()
    eqx.tree_serialise_leaves(content, _plain(tree))
    payload = content.getvalue()
    header = {
        "format": _FORMAT,
        "flowjax_measures": _version(),
        "config": fingerprint(config),
        "length": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    if jax.process_index() != 0:
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(beside, "wb") as file:
        file.write(_MAGIC + json.dumps(header).encode() + b"\n" + payload)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def load(path: str | os.PathLike, like: PyTree, config: PyTree = None) -> PyTree:
    """Reads a pytree that `save` wrote.

    **Arguments:**

    - `path`: the file.
    - `like`: a pytree of the same structure, shapes and types; arrays, or
      `jax.ShapeDtypeStruct` in their place. Arrays come back on the devices of `like`.
    - `config`: what the file must belong to.

    **Returns:** the pytree, bit for bit.

    **Raises:** `ValueError` for a file that is foreign, truncated, damaged, of another format, of
    another configuration or of other shapes.
    """
    content = Path(path).read_bytes()
    if not content.startswith(_MAGIC):
        raise ValueError(f"`path`: {path} is no checkpoint of this library.")
    head, _, payload = content[len(_MAGIC) :].partition(b"\n")
    try:
        header = json.loads(head)
        expected = header["length"], header["sha256"], header["config"], header["format"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"`path`: the header of {path} is truncated; {_AGAIN}") from error
    if header["format"] != _FORMAT:
        raise ValueError(
            f"`path`: {path} has the format {header['format']}, written by version "
            f"{header['flowjax_measures']}; this version reads format {_FORMAT}."
        )
    if len(payload) != expected[0]:
        raise ValueError(
            f"`path`: {path} is truncated: {len(payload)} of {expected[0]} bytes; {_AGAIN}"
        )
    if hashlib.sha256(payload).hexdigest() != expected[1]:
        raise ValueError(f"`path`: {path} is damaged, its bytes have changed; {_AGAIN}")
    if expected[2] != fingerprint(config):
        raise ValueError(
            f"`config`: {path} belongs to another configuration (another system, parameters, "
            "times, versions or devices). Give the configuration that wrote it, or another path."
        )
    try:
        found = eqx.tree_deserialise_leaves(io.BytesIO(payload), _plain(like))
    except (RuntimeError, EOFError, ValueError) as error:
        raise ValueError(
            f"`like`: {path} holds other shapes or types than asked for: {error}"
        ) from error
    return jax.tree.map(_placed, like, found)


def environment() -> dict[str, Any]:
    """What the bits of a result depend on, beside its program: versions and devices."""
    device = jax.devices()[0]
    return {
        "flowjax_measures": _version(),
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "devices": (device.platform, device.device_kind, jax.device_count()),
        "x64": jax.config.read("jax_enable_x64"),
    }


_AGAIN = "delete it to compute it again."


def _version() -> str:
    try:
        return version("flowjax_measures")
    except PackageNotFoundError:  # Imported from its folder, not installed.
        return "unknown"


def _is_key(a: Any) -> bool:
    return isinstance(a, jax.Array) and jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key)


def _plain(tree: PyTree) -> PyTree:
    """Keys as their numbers, arrays whole on this process."""

    def plain(a):
        a = jax.random.key_data(a) if _is_key(a) else a
        if isinstance(a, jax.Array) and not a.is_fully_addressable:
            return multihost_utils.process_allgather(a, tiled=True)
        return a

    return jax.tree.map(plain, tree)


def _placed(like: Any, found: Any) -> Any:
    if _is_key(like):
        return jax.random.wrap_key_data(found, impl=jax.random.key_impl(like))
    return jax.device_put(found, like.sharding) if isinstance(like, jax.Array) else found
