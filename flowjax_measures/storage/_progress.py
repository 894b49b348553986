"""A bar over the pieces of a long job."""

from collections.abc import Iterable


def counted(pieces: Iterable, progress: bool) -> Iterable:
    """`pieces`, with a bar on the terminal where it is asked for."""
    if not progress:
        return pieces
    from tqdm import tqdm

    return tqdm(pieces)
