"""The files of a training: where it stands, and what it has recorded until there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import PyTree

from ..storage._folder import emptied
from ..storage.checkpoint import load, save


class Store(NamedTuple):
    """Two files of a folder, the second of which is named by the step that the first is at.

    - `name`: of the first file.
    - `config`: what the training is; `load` says which part of it differs.
    """

    folder: Path
    name: str
    config: dict[str, Any]

    def emptied(self, overwrite: bool) -> "Store":
        """The store, without its files where it may be overwritten."""
        emptied(self.folder, overwrite, self.name, "losses-*")
        return self

    def read(self, carry: PyTree, like: Callable[[int], PyTree]) -> tuple[int, PyTree, PyTree]:
        """The step, what is carried, and the records, which look `like(step)`."""
        path = self.folder / self.name
        if not path.exists():
            return 0, carry, like(0)
        step, found = load(path, (0, carry), self.config, argument="folder")
        records = self._records(step)
        if not records.exists():
            # What is not there is computed again, from the start and to the same bits.
            return 0, carry, like(0)
        seen = load(records, like(step), self.config, number=step, argument="folder")
        return step, found, seen

    def write(self, step: int, carry: PyTree, records: PyTree) -> None:
        """Records first: what the other file says is there whenever a process ends."""
        save(self._records(step), records, self.config, number=step)
        save(self.folder / self.name, (step, carry), self.config)
        for old in self.folder.glob("losses-*"):
            if old != self._records(step):
                old.unlink()

    def _records(self, step: int) -> Path:
        return self.folder / f"losses-{step:06d}"
