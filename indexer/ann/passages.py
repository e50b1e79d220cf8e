"""Which vectors is an index built of, and with which is it asked to measure it?

The last items of a segment, whose order is that of hashes, are held out of the index at first and looked for by their
first passages as a search would: a graph finds its own nodes, and what is linked to them, more easily than what is near
to a new query. Where there is a log of real queries, these are asked as well.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.ann.opened import Mask
from indexer.vectors import Vectors

QUERIES = 400
"""Items with which an index is measured, where so many can be held out."""
ITEMS_A_QUERY, MOST_QUERIES = 600, 1500
"""Of a large index one in so many, up to so many: an effort is taken only where the interval of its recall lies above
what is wanted, and the narrower that is, the sooner one is, for every search to come."""
HELD_OUT = 5
"""At most one in so many items is held out."""
PIECE = 256
"""Vectors that are read from all over a file at once."""

Logged = Callable[[], Vectors]
"""Gives the vectors of some queries of a log, (n, d); none where there is no log."""


def asked_of(items: int) -> int:
    """With how many of so many items an index is measured, at most."""
    return max(QUERIES, min(items // ITEMS_A_QUERY, MOST_QUERIES))


def nothing_logged() -> Vectors:
    """There is no log."""
    return np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Queries:
    """What an index is asked for, to measure it."""

    vectors: Vectors
    """(n, d): of items first, then those of a log."""
    own: npt.NDArray[np.int64]
    """(n,): the item of the index that each is of, which is left out of what is looked for; -1 where it is of none."""
    logged: int = 0
    """How many are of a log."""

    @property
    def items(self) -> int:
        """How many are of items."""
        return len(self.vectors) - self.logged

    @property
    def groups(self) -> tuple[slice, ...]:
        """Those of items, and those of a log."""
        both = slice(0, self.items), slice(self.items, len(self.vectors))
        return tuple(group for group in both if group.stop > group.start)

    def and_logged(self, vectors: Vectors) -> Queries:
        """The same and those of a log."""
        if not len(vectors):
            return self
        own = np.concatenate([self.own, np.full(len(vectors), -1)])
        return Queries(np.concatenate([self.vectors, vectors]), own, self.logged + len(vectors))


@dataclass(frozen=True, slots=True)
class Passages:
    """The vectors of a segment and the items that they belong to."""

    vectors: Vectors
    items: npt.NDArray[np.uint32] | None = None
    """(n,): item row of each, in rising order; None where each is an item by itself."""
    live: Mask | None = None
    """One entry an item: whether it counts; None where all do."""
    taken_out: int = 0
    """How many passages are no longer in the index; their items do not count."""

    @property
    def item_count(self) -> int:
        """How many items there are."""
        return len(self.vectors) if self.items is None else int(self.items[-1]) + 1

    @property
    def an_item(self) -> float:
        """How many an item has on average."""
        return 1.0 if self.items is None else len(self.vectors) / self.item_count

    @property
    def live_count(self) -> int:
        """How many items count."""
        return self.item_count if self.live is None else int(np.count_nonzero(self.live))

    @property
    def counting(self) -> npt.NDArray[np.int64]:
        """The items that count."""
        return np.arange(self.item_count) if self.live is None else np.flatnonzero(self.live)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """How many passages each item has."""
        if self.items is None:
            return np.ones(len(self.vectors), dtype=np.int64)
        return np.bincount(self.items, minlength=self.item_count)

    @property
    def to_hold_out(self) -> int:
        """How many of the last items are held out, to be asked with."""
        return min(asked_of(self.item_count), self.item_count // HELD_OUT)

    def held_out(self) -> tuple[Passages, Queries]:
        """All but the last few items, and the first passage of each of these."""
        items = self.item_count
        held = np.arange(items - self.to_hold_out, items)
        firsts = self.firsts_of(held)
        end = int(firsts[0]) if len(held) else len(self.vectors)
        rest = None if self.items is None else self.items[:end]
        return Passages(self.vectors[:end], rest), Queries(np.array(self.vectors[firsts]), np.full(len(held), -1))

    def some(self, count: int) -> Queries:
        """The first passages of so many items that count, or of all there are, evenly spread."""
        live = self.counting
        chosen = live[np.arange(min(count, len(live))) * len(live) // max(1, min(count, len(live)))]
        return Queries(np.array(self.vectors[self.firsts_of(chosen)]), chosen)

    def items_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The item of each passage row."""
        return rows if self.items is None else self.items[rows].astype(np.int64)

    def mask(self, items: Mask | None) -> Mask | None:
        """Which passages are of these items."""
        return items if items is None or self.items is None else items[self.items]

    def firsts_of(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The first passage row of each item."""
        return items if self.items is None else np.searchsorted(self.items, items)


def spread(vectors: Vectors, count: int) -> Vectors:
    """A copy of so many vectors or somewhat more, evenly spread; the pages that brought them are let go of."""
    step = max(1, len(vectors) // count)
    chosen = np.empty((-(-len(vectors) // step), vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(chosen), PIECE):
        some = vectors[start * step : (start + PIECE) * step : step]
        chosen[start : start + len(some)] = some
        let_go(vectors)
    return chosen


def let_go(vectors: Vectors) -> None:
    """Give back the pages of a mapped file that were read."""
    base = vectors.base
    while isinstance(base, np.ndarray):  # a part of a part
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
