"""How is a model of this machine asked for many vectors?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from indexer.models import Embedded
from indexer.vectors import Vectors

SLICE = 256
"""Most texts handed to the model at once: the progress bar's step, and what a killed run may have embedded in vain."""
SLICE_CHARACTERS = 50_000
"""Most characters handed to it at once, unless one text has more: some seconds' work on a slow machine."""


def embed_in_slices(embed: Callable[[Sequence[str]], Vectors], texts: Sequence[str]) -> Iterator[Embedded]:
    """The vectors of the texts, slice by slice, longest texts first.

    Longest first: every batch then fits into the memory that the one before it has left.
    """
    for rows in slices(texts):
        yield Embedded(rows, embed([texts[row] for row in rows]))


def slices(texts: Sequence[str]) -> Iterator[list[int]]:
    """The rows, longest text first, in slices that are bounded in number and in characters."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
    rows: list[int] = []
    characters = 0
    for row in order:
        length = len(texts[row])
        if rows and (len(rows) >= SLICE or characters + length > SLICE_CHARACTERS):
            yield rows
            rows, characters = [], 0
        rows.append(row)
        characters += length
    if rows:
        yield rows
