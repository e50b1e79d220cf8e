"""What does an index find of what is nearest to its own vectors?

The last items of a segment, whose order is that of hashes, are held out of the index at first and looked for by their
first passages as a search would: a graph finds its own nodes, and what is linked to them, more easily than what is near
to a new query. Passages are folded into items. What is nearest is told by comparing with every passage.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.ann.asking import propose
from indexer.ann.ladder import LIMITS, Rung, figure
from indexer.ann.opened import AnnIndex, Mask
from indexer.ann.ways import quick_way
from indexer.vectors import Vectors

QUERIES = 400
BLOCK_ITEMS = 8192
AS_NEAR = 2e-6
"""Two similarities that differ by less may be equal: they are summed in float32."""
ENOUGH = 0.999
"""A ladder ends where so much is found."""
HELD_OUT = 5
"""At most one in so many items is held out."""
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072)
FETCH, EXTRA = 4, 4
"""Passages fetched for each item, where items have several, and rows besides, where they have one."""

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Passages:
    """The vectors of a segment and the items that they belong to."""

    vectors: Vectors
    items: npt.NDArray[np.uint32] | None = None
    """(n,): item row of each, in rising order; None where each is an item by itself."""

    @property
    def item_count(self) -> int:
        """How many items there are."""
        return len(self.vectors) if self.items is None else int(self.items[-1]) + 1

    def held_out(self) -> tuple[Passages, Vectors]:
        """All but the last few items, and the first passage of each of these."""
        items = self.item_count
        held = np.arange(items - min(QUERIES, items // HELD_OUT), items)
        firsts = held if self.items is None else np.searchsorted(self.items, held)
        end = int(firsts[0]) if len(held) else len(self.vectors)
        rest = None if self.items is None else self.items[:end]
        return Passages(self.vectors[:end], rest), np.array(self.vectors[firsts])

    def items_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The item of each passage row."""
        return rows if self.items is None else self.items[rows].astype(np.int64)


def let_go(vectors: Vectors) -> None:
    """Give back the pages of a mapped file that were read."""
    base = vectors.base
    while isinstance(base, np.ndarray):  # a part of a part
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def to_fetch(items: int, one_passage_an_item: bool) -> int:
    """How many passages are asked for where so many items are wanted."""
    return items + EXTRA if one_passage_an_item else FETCH * items


def measured(index: AnnIndex, passages: Passages, queries: Vectors) -> tuple[Rung, ...]:
    """What each effort finds of the items nearest to the queries, which are of no item in the index.

    `passages` are those in the index. Each effort is also tried with a filter that half of the items pass.
    """
    half = np.random.default_rng(passages.item_count).random(passages.item_count) < 1 / 2
    nearest, filtered = _nearest(passages, queries, half)
    rungs: list[Rung] = []
    for limit in LIMITS:
        trial = _Trial(index, passages, queries, limit, half, nearest[:, :limit], filtered[:, :limit])
        for effort in trial.efforts():
            rungs.append(trial.rung(effort))
            if min(rungs[-1].figure.low, rungs[-1].filtered.low) >= ENOUGH:
                break
    return tuple(rungs)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Searches for up to `limit` items, and what they should find."""

    index: AnnIndex
    passages: Passages
    queries: Vectors
    limit: int
    half: npt.NDArray[np.bool_]
    nearest: Shares
    filtered: Shares

    def efforts(self) -> list[int]:
        fetch = to_fetch(self.limit, self.passages.items is None)
        return [effort for effort in EFFORTS if effort >= fetch or effort == EFFORTS[-1]]

    def rung(self, effort: int) -> Rung:
        """What that effort finds."""
        rows = np.arange(len(self.passages.vectors))
        mask = self.half[self.passages.items_of(rows)]
        plain, filtered = self._found(effort, None, self.nearest), self._found(effort, mask, self.filtered)
        let_go(self.passages.vectors)
        return Rung(self.limit, effort, figure(plain), figure(filtered))

    def _found(self, effort: int, mask: Mask | None, nearest: Shares) -> Shares:
        """The share of the nearest items that each query finds."""
        vectors, shares = np.asarray(self.passages.vectors), np.ones(len(self.queries))
        count, dimension = vectors.shape
        passing = count if mask is None else int(np.count_nonzero(mask))
        fetch, wanted = to_fetch(self.limit, self.passages.items is None), nearest.shape[1]
        plan = quick_way(self.index.kind, count, passing, dimension, fetch, effort) if passing else None
        if plan is None or not wanted:
            return shares  # it would be searched exactly
        found = propose(self.index, vectors, self.queries, plan, mask, passing)
        for at, (query, rows) in enumerate(zip(self.queries, found.rows, strict=True)):
            best = self._best(query, rows[rows >= 0])
            if len(best) >= wanted:  # else it would be searched exactly
                shares[at] = min(wanted, int((best >= nearest[at, -1] - AS_NEAR).sum())) / wanted
        return shares

    def _best(self, query: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> Shares:
        """The similarity of each item among these passages."""
        items, scores = self.passages.items_of(rows), np.asarray(self.passages.vectors)[rows] @ query
        order = np.lexsort((-scores, items))
        best: Shares = scores[order[np.flatnonzero(np.diff(items[order], prepend=-1))]].astype(np.float64)
        return best


def _nearest(passages: Passages, queries: Vectors, half: npt.NDArray[np.bool_]) -> tuple[Shares, Shares]:
    """The similarities of the items nearest to each query, best first: of all items, and of that half of them."""
    best, filtered = (np.full((len(queries), 0), -np.inf) for _ in range(2))
    for first in range(0, passages.item_count, BLOCK_ITEMS):
        last = min(first + BLOCK_ITEMS, passages.item_count)
        scores = _of_items(passages, queries, first, last)
        let_go(passages.vectors)
        best = _best_of(best, scores)
        filtered = _best_of(filtered, scores[:, half[first:last]])
    return -np.sort(-best, axis=1), -np.sort(-filtered, axis=1)


def _of_items(passages: Passages, queries: Vectors, first: int, last: int) -> npt.NDArray[np.float32]:
    """How similar each item from `first` up to `last` is to each query."""
    vectors = np.asarray(passages.vectors)
    if passages.items is None:
        scores: npt.NDArray[np.float32] = queries @ vectors[first:last].T
        return scores
    starts = np.searchsorted(passages.items, np.arange(first, last + 1))
    every = queries @ vectors[starts[0] : starts[-1]].T
    return np.maximum.reduceat(every, starts[:-1] - starts[0], axis=1)


def _best_of(best: Shares, scores: npt.NDArray[np.float32]) -> Shares:
    both: Shares = np.concatenate([best, scores], axis=1)
    most = LIMITS[-1]
    return both if both.shape[1] <= most else -np.partition(-both, most - 1, axis=1)[:, :most]
