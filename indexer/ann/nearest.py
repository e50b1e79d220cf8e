"""What is really nearest to some queries, of all items and of those that pass each of some masks?

Every passage is compared, block by block and on all cores. Few rows of a block come among the nearest so far, so that
only these are looked at any further.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexer.ann.opened import Mask
from indexer.ann.passages import Passages, Queries, let_go
from indexer.stages import Advance
from indexer.vectors import Vectors

BLOCK_ITEMS, BLOCK_SCORES = 8192, 1 << 20
"""Items that are compared at a time, and figures that are held at a time, one a passage and query, with some copies; of
an item that is much longer than others, as many more as it has passages."""

Scores = npt.NDArray[np.float32]
"""(queries, n)"""


def nearest(
    passages: Passages,
    queries: Queries,
    masks: Sequence[Mask | None],
    count: int,
    advance: Advance = lambda items: None,
) -> list[Scores]:
    """The similarities of the `count` items nearest to each query, best first: for each mask, of those that it has.

    It is minus infinity where there are fewer; the item that a query is of is none of them.
    """
    best = [np.full((len(queries.vectors), count), -np.inf, dtype=np.float32) for _ in masks]
    block = min(BLOCK_ITEMS, max(1, int(BLOCK_SCORES / max(1.0, len(queries.vectors) * passages.an_item))))
    for first in range(0, passages.item_count, block):
        last = min(first + block, passages.item_count)
        scores = _of_items(passages, queries.vectors, first, last)
        let_go(passages.vectors)
        own = np.flatnonzero((queries.own >= first) & (queries.own < last))
        scores[own, queries.own[own] - first] = -np.inf
        for at, mask in enumerate(masks):
            best[at] = _best_of(best[at], scores if mask is None else scores[:, mask[first:last]])
        advance(last - first)
    return [-np.sort(-each, axis=1) for each in best]


def _of_items(passages: Passages, queries: Vectors, first: int, last: int) -> Scores:
    """How similar each item from `first` up to `last` is to each query."""
    vectors = np.asarray(passages.vectors)
    if passages.items is None:
        scores: Scores = queries @ vectors[first:last].T
        return scores
    starts = np.searchsorted(passages.items, np.arange(first, last + 1))
    every = queries @ vectors[starts[0] : starts[-1]].T
    return np.maximum.reduceat(every, starts[:-1] - starts[0], axis=1)


def _best_of(best: Scores, scores: Scores) -> Scores:
    """The best of both for each query, as many as there were, in any order."""
    nearer = scores > best.min(axis=1, keepdims=True)
    counts = np.count_nonzero(nearer, axis=1)
    if not counts.any():
        return best
    if 2 * counts.max() < scores.shape[1]:
        scores = _together(scores, nearer, counts)
    both = np.concatenate([best, scores], axis=1)
    return -np.partition(-both, best.shape[1] - 1, axis=1)[:, : best.shape[1]]


def _together(scores: Scores, chosen: npt.NDArray[np.bool_], counts: npt.NDArray[np.intp]) -> Scores:
    """The chosen ones of each query side by side, and minus infinity behind them."""
    found = np.full((len(scores), int(counts.max())), -np.inf, dtype=np.float32)
    found[np.arange(found.shape[1]) < counts[:, None]] = scores[chosen]
    return found
