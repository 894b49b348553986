"""Folders of what resumes: begun anew where asked, and written by one process at a time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax


@contextlib.contextmanager
def claimed(folder: str | os.PathLike) -> Iterator[None]:
    """Holds a folder, which is made, until the end; the lock of a process that is killed is free.

    **Raises:** `ValueError` where another process, or thread, writes there.
    """
    if jax.process_index() != 0:
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: str | os.PathLike) -> None:
    try:
        import fcntl
    except ImportError:  # Not on this system.
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"`folder`: another process writes to {folder} now. Wait for its end, and the same "
            "call reads what it wrote; or give another folder."
        ) from error
    except OSError:  # A file system without locks.
        return


def emptied(folder: str | os.PathLike, overwrite: bool, *patterns: str) -> Path:
    """The folder, without the files of these names where it may be overwritten."""
    folder = Path(folder)
    if overwrite and folder.is_dir():
        with claimed(folder):
            for pattern in patterns:
                for old in folder.glob(pattern):
                    old.unlink(missing_ok=True)
    return folder
