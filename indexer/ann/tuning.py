"""What does an index find of what is nearest to its own vectors?

The last items of a segment, whose order is that of hashes, are held out of the index at first and looked for by their
first passages as a search would: a graph finds its own nodes, and what is linked to them, more easily than what is near
to a new query. Where there is a log of real queries, these are asked as well, and what counts is the figure of those
for which less is found. Passages are folded into items. What is nearest is told by comparing with every passage.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.ann.asking import propose
from indexer.ann.ladder import LIMITS, Figure, Rung, figure
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
SHARES = (1 / 2, 1 / 10)
"""Of the items that pass the filters it is tried with. The fewer pass, the farther and the less unlike are the nearest
of them, and the harder to tell by codes; where much fewer pass than a tenth, an exact search of these is quicker."""
FETCH, EXTRA = 4, 4
"""Passages fetched for each item, where items have several, and rows besides, where they have one."""

_NOTHING = Figure(0.0, 0.0, 0.0)

Shares = npt.NDArray[np.float64]
Logged = Callable[[], Vectors]
"""Gives the vectors of some queries of a log, (n, d); none where there is no log."""


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
    def live_count(self) -> int:
        """How many items count."""
        return self.item_count if self.live is None else int(np.count_nonzero(self.live))

    def held_out(self) -> tuple[Passages, Queries]:
        """All but the last few items, and the first passage of each of these."""
        items = self.item_count
        held = np.arange(items - min(QUERIES, items // HELD_OUT), items)
        firsts = self._firsts(held)
        end = int(firsts[0]) if len(held) else len(self.vectors)
        rest = None if self.items is None else self.items[:end]
        return Passages(self.vectors[:end], rest), Queries(np.array(self.vectors[firsts]), np.full(len(held), -1))

    def some(self, count: int) -> Queries:
        """The first passages of so many items that count, or of all there are, evenly spread."""
        live = np.arange(self.item_count) if self.live is None else np.flatnonzero(self.live)
        chosen = live[np.arange(min(count, len(live))) * len(live) // max(1, min(count, len(live)))]
        return Queries(np.array(self.vectors[self._firsts(chosen)]), chosen)

    def items_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The item of each passage row."""
        return rows if self.items is None else self.items[rows].astype(np.int64)

    def mask(self, items: Mask | None) -> Mask | None:
        """Which passages are of these items."""
        return items if items is None or self.items is None else items[self.items]

    def _firsts(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return items if self.items is None else np.searchsorted(self.items, items)


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


def measured(index: AnnIndex, passages: Passages, queries: Queries) -> tuple[Rung, ...]:
    """What each effort finds of the items nearest to the queries.

    `passages` are those in the index. Each effort is also tried with filters, and where enough is found it is not
    looked for harder.
    """
    drawn = np.random.default_rng(passages.item_count).random(passages.item_count)
    masks = [passages.live, *(_both(passages.live, drawn < share) for share in SHARES)]
    nearest = _nearest(passages, queries, masks)
    rungs: list[Rung] = []
    for limit in LIMITS:
        trials = [
            _Trial(index, passages, queries, limit, passages.mask(mask), near[:, :limit])
            for mask, near in zip(masks, nearest, strict=True)
        ]
        found = [_NOTHING] * len(trials)
        for effort in trials[0].efforts():
            found = [
                known if known.low >= ENOUGH else trial.finds(effort)
                for known, trial in zip(found, trials, strict=True)
            ]
            rungs.append(Rung(limit, effort, found[0], min(found[1:], key=lambda one: one.low)))
            let_go(passages.vectors)
            if all(one.low >= ENOUGH for one in found):
                break
    return tuple(rungs)


def _both(live: Mask | None, passing: Mask) -> Mask:
    return passing if live is None else passing & live


@dataclass(frozen=True, slots=True)
class _Trial:
    """Searches for up to `limit` items among the passages of a mask, and what they should find."""

    index: AnnIndex
    passages: Passages
    queries: Queries
    limit: int
    mask: Mask | None
    nearest: Shares
    """(queries, limit): minus infinity where there are fewer."""

    @property
    def fetch(self) -> int:
        """How many passages a search asks for."""
        excluding = bool((self.queries.own >= 0).any())
        return to_fetch(self.limit + excluding, self.passages.items is None)

    def efforts(self) -> list[int]:
        return [effort for effort in EFFORTS if effort >= self.fetch or effort == EFFORTS[-1]]

    def finds(self, effort: int) -> Figure:
        """How much that effort finds; of the queries' groups, that which finds less."""
        shares = self._found(effort)
        return min((figure(shares[group]) for group in self.queries.groups), key=lambda found: found.low)

    def _found(self, effort: int) -> Shares:
        """The share of the nearest items that each query finds."""
        vectors, queries, shares = np.asarray(self.passages.vectors), self.queries, np.ones(len(self.queries.vectors))
        (rows, dimension), count = vectors.shape, len(vectors) - self.passages.taken_out
        passing = rows if self.mask is None else int(np.count_nonzero(self.mask))
        plan = quick_way(self.index.kind, count, passing, dimension, self.fetch, effort) if passing else None
        if plan is None:
            return shares  # it would be searched exactly
        found = propose(self.index, vectors, queries.vectors, plan, self.mask, passing)
        for at, (own, rows) in enumerate(zip(queries.own, found.rows, strict=True)):
            wanted = int(np.isfinite(self.nearest[at]).sum())
            best = self._best(queries.vectors[at], rows[rows >= 0], int(own))
            if wanted and len(best) >= wanted:  # else it would be searched exactly
                least = self.nearest[at, wanted - 1] - AS_NEAR
                shares[at] = min(wanted, int((best >= least).sum())) / wanted
        return shares

    def _best(self, query: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], own: int) -> Shares:
        """The similarity of each item among these passages but `own`."""
        items = self.passages.items_of(rows)
        rows, items = rows[items != own], items[items != own]
        scores = np.asarray(self.passages.vectors)[rows] @ query
        order = np.lexsort((-scores, items))
        best: Shares = scores[order[np.flatnonzero(np.diff(items[order], prepend=-1))]].astype(np.float64)
        return best


def _nearest(passages: Passages, queries: Queries, masks: Sequence[Mask | None]) -> list[Shares]:
    """The similarities of the items nearest to each query, best first: for each mask, of the items that it has.

    Of that which the query is of it is minus infinity.
    """
    best = [np.full((len(queries.vectors), 0), -np.inf) for _ in masks]
    for first in range(0, passages.item_count, BLOCK_ITEMS):
        last = min(first + BLOCK_ITEMS, passages.item_count)
        scores = _of_items(passages, queries.vectors, first, last)
        let_go(passages.vectors)
        own = np.flatnonzero((queries.own >= first) & (queries.own < last))
        scores[own, queries.own[own] - first] = -np.inf
        for at, mask in enumerate(masks):
            best[at] = _best_of(best[at], scores if mask is None else scores[:, mask[first:last]])
    return [-np.sort(-each, axis=1) for each in best]


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
