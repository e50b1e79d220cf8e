"""Which items are nearest to a query?

Passages are what is searched, items are what is found: an item is as similar as its most similar passage, and a query
of several passages as similar as its best. Candidates come from every segment's index and are rescored exactly; more
are fetched until nothing that was left out could belong on the page. A filter never loses results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer import ann, filters
from indexer.filters import Filter
from indexer.segment import Segment
from indexer.snapshot import Found, LiveSegment, Snapshot
from indexer.vectors import Vectors, similarity

FETCH = 4
"""Passages fetched at first for each item wanted."""
MOSTLY = 0.75
"""Share of a segment's passages from which on it is quicker to fetch some that do not count than to leave them out."""


@dataclass(frozen=True, slots=True)
class Scored:
    """An item, its best passage and how similar that is."""

    segment: Segment
    row: int
    passage: int
    similarity: float


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The items of one segment that have been looked at."""

    segment: Segment
    rows: npt.NDArray[np.int64]
    passages: npt.NDArray[np.int64]
    similarities: npt.NDArray[np.float64]
    bound: float
    """No item that was not looked at is more similar than this."""


def nearest(
    snapshot: Snapshot,
    queries: Vectors,
    count: int,
    filter: Filter | None = None,
    exclude: Found | None = None,
    min_similarity: float = -1.0,
) -> list[Scored]:
    """The `count` items most similar to any of the query vectors (n, dimension), best first, ties by id.

    As many as there are: fewer than `count` only where fewer pass the filter and reach `min_similarity`.
    """
    parts = [_Part(part, filter) for part in snapshot.segments]
    fetch = FETCH * count
    while True:
        looked_at = [part.candidates(queries, fetch, exclude) for part in parts]
        similarities = np.concatenate([c.similarities for c in looked_at]) if looked_at else np.empty(0)
        bound = max((c.bound for c in looked_at), default=-np.inf)
        if bound < _needed(similarities, count, min_similarity):
            return _best(looked_at, similarities, count, min_similarity)
        fetch *= 2


def _needed(similarities: npt.NDArray[np.float64], count: int, min_similarity: float) -> float:
    """What an item must reach to belong on the page, as far as is known."""
    if len(similarities) < count:
        return min_similarity
    return max(min_similarity, float(np.partition(similarities, -count)[-count]))


def _best(
    looked_at: Sequence[_Candidates], similarities: npt.NDArray[np.float64], count: int, min_similarity: float
) -> list[Scored]:
    floor = _needed(similarities, count, min_similarity)
    found = [
        (Scored(c.segment, int(c.rows[i]), int(c.passages[i]), float(c.similarities[i])))
        for c in looked_at
        for i in np.flatnonzero(c.similarities >= floor)
    ]
    found.sort(key=lambda scored: (-scored.similarity, scored.segment.id(scored.row)))
    return found[:count]


class _Part:
    """One segment with the passages that pass the filter."""

    def __init__(self, part: LiveSegment, filter: Filter | None) -> None:
        self._segment = part.segment
        self._mask = part.live_passages
        self._passing = part.segment.entry.passages
        if filter is not None:
            items = filters.evaluate(filter, _columns(part.segment), part.segment.entry.items)
            passages = items if part.segment.one_passage_an_item else items[part.segment.item_rows]
            self._mask = passages if self._mask is None else passages & self._mask
        if self._mask is not None:
            self._passing = int(np.count_nonzero(self._mask))

    def candidates(self, queries: Vectors, fetch: int, exclude: Found | None) -> _Candidates:
        """The items of the `fetch` passages nearest to each query, or of about as many, rescored."""
        segment, fetch = self._segment, min(fetch, self._passing)
        if fetch == 0:
            none = np.empty(0, dtype=np.int64)
            return _Candidates(segment, none, none, np.empty(0), -np.inf)
        passages, bound = self._proposed(queries, fetch)
        scores = similarity(queries, segment.vectors[passages]).max(axis=0)
        if segment.one_passage_an_item:
            rows = passages
        else:
            rows, passages, scores = _fold(segment.item_rows[passages].astype(np.int64), passages, scores)
        if exclude is not None and exclude.segment is segment:
            keep = rows != exclude.row
            rows, passages, scores = rows[keep], passages[keep], scores[keep]
        return _Candidates(segment, rows, passages, scores, bound)

    def _proposed(self, queries: Vectors, fetch: int) -> tuple[npt.NDArray[np.int64], float]:
        """The passages that the index proposes, each once, and what no other one that counts is more similar than."""
        total, mask = self._segment.entry.passages, self._mask
        if mask is not None and self._passing >= MOSTLY * total:
            count = min(total, math.ceil(fetch * total / self._passing) + FETCH)
            figures, found = self._segment.ann.search(queries, count, None)
            found = found[mask[found] & (found >= 0)]
            left_out = count < total
        else:
            figures, found = self._segment.ann.search(queries, fetch, mask)
            # FAISS gives -1 where it ran out of rows; rows beyond `fetch` are at most as near as the last it gave.
            found = found[found >= 0]
            left_out = fetch < self._passing
        passages = found if len(queries) == 1 else np.unique(found)
        return passages, float(figures[:, -1].max()) + ann.ERROR if left_out else -np.inf


def _fold(
    rows: npt.NDArray[np.int64], passages: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Each item once, with its best passage; of equal ones, the first in the text."""
    order = np.lexsort((passages, -scores, rows))
    first = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
    return rows[first], passages[first], scores[first]


def _columns(segment: Segment) -> Callable[[str], pa.ChunkedArray | pa.Array]:
    def column(field: str) -> pa.ChunkedArray | pa.Array:
        found = segment.column(field)
        return pa.nulls(segment.entry.items) if found is None else found

    return column
