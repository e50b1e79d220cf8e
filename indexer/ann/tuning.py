"""What does an index find of what is nearest to its own vectors?

Items are taken at random, always the same ones, and each is looked for by its first passage as a search would; the item
itself is left out, passages are folded into items. What is nearest is told by comparing with every passage.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from indexer.ann.asking import propose
from indexer.ann.ladder import LIMITS, Rung, figure
from indexer.ann.opened import AnnIndex
from indexer.ann.ways import Plan
from indexer.vectors import Vectors

QUERIES = 400
BLOCK_ITEMS = 8192
AS_NEAR = 2e-6
"""Two similarities that differ by less may be equal: they are summed in float32."""
ENOUGH = 0.999
"""A ladder ends where so much is found."""
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

    def items_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The item of each passage row."""
        return rows if self.items is None else self.items[rows].astype(np.int64)


def let_go(vectors: Vectors) -> None:
    """Give back the pages of a mapped file that were read."""
    if isinstance(vectors.base, mmap.mmap):
        vectors.base.madvise(mmap.MADV_DONTNEED)


def to_fetch(items: int, one_passage_an_item: bool) -> int:
    """How many passages are asked for where so many items are wanted."""
    return items + EXTRA if one_passage_an_item else FETCH * items


def measured(index: AnnIndex, passages: Passages) -> tuple[int, tuple[Rung, ...]]:
    """How many items were looked for, and what each effort found of them."""
    vectors = np.asarray(passages.vectors)
    asking = _sample(passages)
    firsts = asking if passages.items is None else np.searchsorted(passages.items, asking)
    queries = np.ascontiguousarray(vectors[firsts])
    nearest = _nearest(passages, queries, asking)
    rungs: list[Rung] = []
    for limit in LIMITS:
        rungs += _ladder(index, passages, queries, asking, nearest[:, :limit], limit)
    return len(queries), tuple(rungs)


def _sample(passages: Passages) -> npt.NDArray[np.int64]:
    count = passages.item_count
    rng = np.random.default_rng(count)
    return np.sort(rng.choice(count, min(count, QUERIES), replace=False))


def _ladder(
    index: AnnIndex, passages: Passages, queries: Vectors, asking: npt.NDArray[np.int64], nearest: Shares, limit: int
) -> list[Rung]:
    fetch = to_fetch(limit + 1, passages.items is None)
    rungs: list[Rung] = []
    for effort in (each for each in EFFORTS if each >= fetch or each == EFFORTS[-1]):
        shares = _shares(index, passages, queries, asking, nearest, Plan(_way(index), fetch, effort, 0, ""))
        let_go(passages.vectors)
        rungs.append(Rung(limit, effort, figure(shares)))
        if rungs[-1].figure.low >= ENOUGH:
            break
    return rungs


def _way(index: AnnIndex) -> Literal["codes", "walk"]:
    return "codes" if index.kind == "pq" else "walk"


def _shares(
    index: AnnIndex,
    passages: Passages,
    queries: Vectors,
    asking: npt.NDArray[np.int64],
    nearest: Shares,
    plan: Plan,
) -> Shares:
    """The share of the nearest items that each query finds."""
    vectors = np.asarray(passages.vectors)
    found = propose(index, vectors, queries, plan, None, len(vectors))
    wanted = nearest.shape[1]
    shares = np.ones(len(queries))
    for at, (query, rows) in enumerate(zip(queries, found.rows, strict=True)):
        there = rows[rows >= 0]
        items = passages.items_of(there)
        scores = vectors[there] @ query
        order = np.lexsort((-scores, items))
        first = order[np.flatnonzero(np.diff(items[order], prepend=-1))]
        others = scores[first][items[first] != asking[at]]
        if wanted:
            shares[at] = min(wanted, int((others >= nearest[at, -1] - AS_NEAR).sum())) / wanted
    return shares


def _nearest(passages: Passages, queries: Vectors, asking: npt.NDArray[np.int64]) -> Shares:
    """The similarities of the items nearest to each query, best first, as many as the last limit wants."""
    vectors, most = np.asarray(passages.vectors), LIMITS[-1]
    best = np.full((len(queries), 0), -np.inf)
    for first in range(0, passages.item_count, BLOCK_ITEMS):
        last = min(first + BLOCK_ITEMS, passages.item_count)
        if passages.items is None:
            scores = queries @ vectors[first:last].T
        else:
            starts = np.searchsorted(passages.items, np.arange(first, last + 1))
            every = queries @ vectors[starts[0] : starts[-1]].T
            scores = np.maximum.reduceat(every, starts[:-1] - starts[0], axis=1)
        own = np.flatnonzero((asking >= first) & (asking < last))
        scores[own, asking[own] - first] = -np.inf
        let_go(passages.vectors)
        best = np.concatenate([best, scores], axis=1)
        if best.shape[1] > most:
            best = -np.partition(-best, most - 1, axis=1)[:, :most]
    there = min(most, passages.item_count - 1)
    return np.asarray(-np.sort(-best, axis=1)[:, :there], dtype=np.float64)
