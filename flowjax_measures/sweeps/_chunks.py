"""The runs of a sweep on disk: each known by its parameters, whichever chunk it came in."""

import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from ..storage._folder import claimed
from ..storage.checkpoint import load, save, shapes

_ID = 16  # Bytes that name a run.


class Chunks(NamedTuple):
    """The files of a sweep: how many runs a device takes at once, and the chunks.

    - `config`: what the folder belongs to: the function, the axes, versions.
    - `runs`: the names of the runs that are asked for, one row of bytes each.
    - `like`: a run's value, shapes and types.
    """

    folder: Path
    config: dict[str, Any]
    runs: np.ndarray
    like: PyTree

    def lanes(self) -> int | None:
        """How many runs a device took at once when the folder was begun."""
        path = self.folder / "sweep"
        if not path.exists():
            return None
        return int(load(path, np.int64(0), self.config, argument="folder"))

    @contextlib.contextmanager
    def begun(self, lanes: int) -> Iterator[None]:
        """Holds the folder while chunks are written."""
        with claimed(self.folder):
            if not (self.folder / "sweep").exists():
                save(self.folder / "sweep", np.int64(lanes), self.config)
            yield

    def read(self) -> list[tuple[np.ndarray, PyTree]]:
        """The numbers of the runs in each chunk, and their values."""
        place = {run.tobytes(): i for i, run in enumerate(self.runs)}
        found = []
        for path in sorted(self.folder.glob("chunk-*")):
            names, part = self._chunk(path)
            rows = [place.get(name.tobytes()) for name in names]
            if None in rows:
                raise ValueError(
                    f"`folder`: {path} belongs to another one: it holds {rows.count(None)} runs of "
                    "other parameters or seeds, which would be lost. Ask for these too, or give "
                    "another `folder`, or `overwrite=True`."
                )
            found.append((np.array(rows, int), part))
        return found

    def write(self, rows: np.ndarray, part: PyTree) -> None:
        """Writes the values of some runs as the first chunk that is missing."""
        number = 0
        while self._path(number).exists():
            number += 1
        save(self._path(number), (self.runs[rows], part), self.config, number=number)

    def _path(self, number: int) -> Path:
        return self.folder / f"chunk-{number:06d}"

    def _chunk(self, path: Path) -> tuple[np.ndarray, PyTree]:
        size, *_ = (*(shapes(path) or [()])[0], 0)
        stacked = lambda a: jax.ShapeDtypeStruct((size, *a.shape), a.dtype)  # noqa: E731
        like = jax.ShapeDtypeStruct((size, _ID), np.uint8), jax.tree.map(stacked, self.like)
        number = int(path.name.removeprefix("chunk-"))
        return jax.tree.map(
            np.asarray, load(path, like, self.config, number=number, argument="folder")
        )


def named(axes: list[PyTree], sizes: list[int]) -> np.ndarray:
    """A name for each run, counted along the last axis first: a hash of its entries."""
    entries = [[_digest(a, i) for i in range(n)] for a, n in zip(axes, sizes, strict=True)]
    rows = itertools.product(*entries)
    names = b"".join(hashlib.sha256(b"".join(row)).digest()[:_ID] for row in rows)
    return np.frombuffer(names, np.uint8).reshape(-1, _ID)


def _digest(axis: PyTree, i: int) -> bytes:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(axis):
        entry = np.ascontiguousarray(leaf[i])
        digest.update(f"{entry.dtype}{entry.shape}".encode() + entry.tobytes())
    return digest.digest()
