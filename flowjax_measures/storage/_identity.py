"""What a file or a run is, as text: hashes of configurations, structures, leaves, versions."""

import hashlib
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree

# So many leaves of a part are put in words, where they hold at most so many numbers.
_SAID, _SHORT = 64, 6


def fingerprint(config: PyTree) -> str:
    """A hash of a configuration, the same in every process.

    **Arguments:**

    - `config`: any pytree; arrays count by value, functions by their name.

    **Returns:** 64 hexadecimal digits.
    """
    leaves, shape = jax.tree.flatten(plain_tree(config))
    parts = [_text(shape).encode(), str(len(leaves)).encode()]
    for leaf in leaves:
        if isinstance(leaf, np.ndarray | np.generic | jax.Array):
            array = np.asarray(leaf)
            parts += [f"{array.dtype}{array.shape}".encode(), array.tobytes()]
        else:
            name = getattr(leaf, "__qualname__", None)
            parts.append(_text(leaf).encode() if name is None else name.encode())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def stamp(config: PyTree) -> dict[str, str]:
    """The fingerprints of the parts of a configuration."""
    return {name: fingerprint(part) for name, part in _parts(config).items()}


def _parts(config: PyTree) -> dict[str, PyTree]:
    if isinstance(config, dict) and config and all(isinstance(name, str) for name in config):
        return config
    return {"config": config}


def said(config: PyTree) -> dict[str, dict[str, str]]:
    """The numbers and short arrays of a configuration in words, to say which of them differ."""
    return {name: _said(part) for name, part in _parts(config).items()}


def _said(part: PyTree) -> dict[str, str]:
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(plain_tree(part))[:_SAID]:
        if isinstance(leaf, np.ndarray | np.generic | jax.Array):
            leaf = np.asarray(leaf)
            if leaf.size > _SHORT or leaf.dtype.hasobject:
                continue
            text = np.array2string(leaf, precision=7, separator=", ")
        elif isinstance(leaf, bool | int | float | complex):
            text = repr(leaf)
        else:
            continue
        found[jax.tree_util.keystr(path, simple=True, separator=".")] = text
    return found


def _text(node: Any) -> str:
    # Addresses of functions differ between processes.
    return re.sub(r" at 0x[0-9a-f]+", "", repr(node))


def structure(tree: PyTree) -> str:
    return _text(jax.tree.structure(tree))


def describe(a: Any) -> str:
    """What a leaf is, in words: arrays by type and shape, text by itself, functions by name."""
    if is_key(a):
        return f"key {jax.random.key_impl(a)} {list(a.shape)}"
    if isinstance(a, np.ndarray | np.generic | jax.Array | jax.ShapeDtypeStruct):
        if np.dtype(a.dtype).hasobject:
            raise ValueError("`tree` holds an array of Python objects; give arrays of numbers.")
        return f"{a.dtype} {list(a.shape)}"
    if isinstance(a, bool | int | float | complex):
        return f"a Python {type(a).__name__}"
    if isinstance(a, str | bytes):
        return f"the text {a!r}"
    return f"{type(a).__name__} {getattr(a, '__qualname__', '')}"


def environment() -> dict[str, Any]:
    """What the bits of a result depend on, beside its program: versions and the kind of device.

    Over how many devices arrays are spread is part of a lowered program.
    """
    device = jax.devices()[0]
    return {
        "flowjax_measures": library_version(),
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "devices": (device.platform, device.device_kind),
        "x64": jax.config.read("jax_enable_x64"),
    }


def library_version() -> str:
    try:
        return version("flowjax_measures")
    except PackageNotFoundError:  # Imported from its folder, not installed.
        return "unknown"


def is_key(a: Any) -> bool:
    return isinstance(a, jax.Array) and jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key)


def plain_tree(tree: PyTree) -> PyTree:
    """Keys as their numbers, arrays whole on this process."""

    def plain(a):
        a = jax.random.key_data(a) if is_key(a) else a
        if isinstance(a, jax.Array) and not a.is_fully_addressable:
            return multihost_utils.process_allgather(a, tiled=True)
        return a

    return jax.tree.map(plain, tree)
