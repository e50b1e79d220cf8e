"""What does an index find that has all its items in it, now that some of them are gone?

It is asked for what is nearest to items of other segments, and where these are few to its own. A scan of codes finds
its own items no more easily than others, so that each is merely left out of what is looked for. A graph does, by far:
a walk that comes to an item is led to its neighbours at once. Some are therefore taken out of a copy of the graph in
memory, as if they had never been in it, which gives the figures of items that were held out from the beginning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexer.ann import kinds
from indexer.ann import passages as held
from indexer.ann.ladder import Rung
from indexer.ann.opened import AnnIndex
from indexer.ann.passages import HELD_OUT, Passages, Queries
from indexer.ann.tuning import measured
from indexer.vectors import Vectors


def measured_again(
    path: Path, index: AnnIndex, passages: Passages, others: Sequence[Passages], logged: Vectors
) -> tuple[tuple[Rung, ...], Queries]:
    """The ladder of the opened index of a file among what counts, and what it was asked with.

    `others` are the passages of other segments, `logged` queries of a log.
    """
    most = held.asked_of(passages.item_count)
    elsewhere = _elsewhere(others, passages.vectors, most)
    wanted = most - len(elsewhere)
    if not index.walks or not wanted:
        own = passages.some(wanted)
    else:
        index, passages, own = _held_out(path, index, passages, wanted)
    queries = Queries(
        np.concatenate([elsewhere, own.vectors]), np.concatenate([np.full(len(elsewhere), -1), own.own])
    ).and_logged(logged)
    return measured(index, passages, queries), queries


def _elsewhere(others: Sequence[Passages], nothing: Vectors, most: int) -> Vectors:
    """The first passages of some items of other segments."""
    counts = [one.live_count for one in others]
    total = sum(counts)
    if not total:
        return np.array(nothing[:0])
    found = [one.some(math.ceil(most * count / total)) for one, count in zip(others, counts, strict=True)]
    return np.concatenate([one.vectors for one in found])[:most]


def _held_out(path: Path, index: AnnIndex, passages: Passages, wanted: int) -> tuple[AnnIndex, Passages, Queries]:
    """A copy of a graph without some of its items, what counts in it, and these items, which are none of its own.

    Only what lies on the lowest level can be taken out. Items are chosen whose first passage does, with which they are
    asked for; few of their other passages do not, and these stay without counting.
    """
    live = np.ones(passages.item_count, dtype=np.bool_) if passages.live is None else passages.live.copy()
    low = np.ones(len(passages.vectors), dtype=np.bool_)
    low[index.on_upper_levels()] = False
    first_is_low = low[passages.firsts_of(np.arange(passages.item_count))]
    chosen = replace(passages, live=live & first_is_low).some(min(wanted, passages.live_count // HELD_OUT))
    live[chosen.own] = False
    taken = np.zeros(passages.item_count, dtype=np.bool_)
    taken[chosen.own] = True
    rows = np.flatnonzero(low & (taken if passages.items is None else taken[passages.items]))
    graph = kinds.read_whole(str(path))
    kinds.take_out(graph, rows, np.asarray(passages.vectors))
    left = replace(passages, live=live, taken_out=len(rows))
    return AnnIndex(graph, index.kind), left, replace(chosen, own=np.full(len(chosen.own), -1))
