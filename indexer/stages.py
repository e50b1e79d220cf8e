"""Who is told how far a run is?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol


class Progress(Protocol):
    """Somebody who is told how far a run is."""

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """A stage begins; `total` is how many units it will take, None where that is not known.

        One that begins within another goes first; the other goes on when it ends.
        """

    def advance(self, count: int) -> None:
        """So many more units are done."""

    def end(self) -> None:
        """The stage is over."""


Advance = Callable[[int], None]
"""Told how many more units of a stage are done."""


@contextlib.contextmanager
def stage(progress: Progress | None, name: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Have somebody told of a stage; it ends with the block."""
    if progress is None:
        yield lambda count: None
        return
    progress.begin(name, total, unit)
    try:
        yield progress.advance
    finally:
        progress.end()
