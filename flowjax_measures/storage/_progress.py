"""A bar over the pieces of a long job."""

from collections.abc import Iterable, Iterator


def counted(pieces: Iterable, progress: bool, label: str) -> Iterator:
    """`pieces`, with a bar on the terminal where it is asked for; the first piece compiles."""
    if not progress:
        yield from pieces
        return
    from tqdm import tqdm

    with tqdm(pieces, desc=label, postfix="compiling") as meter:
        for piece in meter:
            yield piece
            meter.set_postfix_str("", refresh=False)
