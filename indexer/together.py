"""How are several queries answered at once?

Those of one vector each that want as many items, and have no filter, are put to every segment together: a scan then
reads its codes once for all of them, a graph is walked by all cores, and what is found is compared in a few operations
on whole arrays. Each gets the answer that it would get alone; where that takes more than one look, it is asked alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from indexer import ann
from indexer.candidates import Part, Rows, parts
from indexer.search import FETCH, Asked, Scored, among, each_finds, nearest
from indexer.snapshot import Snapshot
from indexer.vectors import Similarities, Vectors, similarity_of_groups

TOGETHER = 32
"""Queries that are searched together: a scan then holds that many figures for each passage of a segment."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Queries and items that may be on their pages, one of each a row; of each query in order of similarity."""

    queries: Rows
    parts: Rows
    rows: Rows
    passages: Rows
    similarities: Similarities

    def taken(self, places: npt.NDArray[np.intp]) -> _Pairs:
        """Some of them, in that order."""
        rows, passages = self.rows[places], self.passages[places]
        return _Pairs(self.queries[places], self.parts[places], rows, passages, self.similarities[places])


def nearest_each(snapshot: Snapshot, asked: Sequence[Asked]) -> list[list[Scored]]:
    """What `nearest` answers each of them."""
    answers: dict[int, list[Scored]] = {}
    contract, every = snapshot.generation.contract, parts(snapshot, None)
    groups: dict[tuple[int, float | None], list[int]] = {}
    for at, one in enumerate(asked):
        if one.filter is None and len(one.vectors) == 1:
            groups.setdefault((one.count, each_finds(contract, one)), []).append(at)
        else:
            answers[at] = nearest(snapshot, one)
    for (_, recall), places in groups.items():
        answers |= zip(places, among_each(every, [asked[at] for at in places], recall), strict=True)
    return [answers[at] for at in range(len(asked))]


def among_each(searched: Sequence[Part], asked: Sequence[Asked], recall: float | None) -> list[list[Scored]]:
    """What `among` answers each of them; all have one vector and want as many items."""
    answers: list[list[Scored]] = []
    for start in range(0, len(asked), TOGETHER):
        answers += _answered(searched, asked[start : start + TOGETHER], recall)
    return answers


def _answered(searched: Sequence[Part], asked: Sequence[Asked], recall: float | None) -> list[list[Scored]]:
    queries, excludes = np.concatenate([one.vectors for one in asked]), [one.exclude for one in asked]
    count = asked[0].count
    found = [part.together(queries, count, FETCH * count, excludes, recall) for part in searched]
    proposals = [proposal for proposal, _ in found]
    bounds = np.max([proposal.bounds for proposal in proposals], axis=0, initial=-np.inf)
    enough = np.all([one for _, one in found], axis=0) & np.ones(len(asked), dtype=np.bool_)
    pairs = _compared(searched, proposals, queries, count)
    columns = (each.tolist() for each in (pairs.parts, pairs.rows, pairs.passages, pairs.similarities))
    every = list(zip(*columns, strict=True))
    answers = []
    for at, (one, (first, last)) in enumerate(zip(asked, _spans(pairs.queries, len(asked)), strict=True)):
        page = _page(searched, every[first:last], one)
        known = len(page) == count and page[-1].similarity > bounds[at]
        if enough[at] and (known or bounds[at] < one.min_similarity):
            answers.append(page)
        else:
            answers.append(among(searched, one, recall))
    return answers


def _page(searched: Sequence[Part], found: Sequence[tuple[int, int, int, float]], asked: Asked) -> list[Scored]:
    """The best of one query's items, ties by id; what was found is part, row, passage and similarity, best first."""
    floor = asked.min_similarity
    if len(found) > asked.count:
        floor = max(floor, found[asked.count - 1][-1])
    page = [
        Scored(searched[part].segment, row, passage, score) for part, row, passage, score in found if score >= floor
    ]
    if len({one.similarity for one in page}) < len(page):
        page.sort(key=lambda one: (-one.similarity, one.segment.id(one.row)))
    return page[: asked.count]


def _compared(searched: Sequence[Part], proposals: Sequence[ann.Proposal], queries: Vectors, count: int) -> _Pairs:
    """All that may be on a page, compared exactly."""
    least = _least(searched, proposals, len(queries), count)
    found: list[tuple[Rows, ...]] = []
    scores: list[Similarities] = [np.empty(0)]
    for number, (part, proposal) in enumerate(zip(searched, proposals, strict=True)):
        who, where = np.nonzero((proposal.rows >= 0) & (proposal.figures >= least[:, None]))
        which = proposal.rows[who, where]
        found.append((who, np.full(len(who), number), part.items_of(which), which))
        groups = (part.vectors.take(which[first:last], axis=0) for first, last in _spans(who, len(queries)))
        scores.append(similarity_of_groups(queries, groups))
    none = np.empty(0, dtype=np.int64)
    asking, numbers, rows, passages = (np.concatenate([none, *(one[at] for one in found)]) for at in range(4))
    pairs = _Pairs(asking, numbers, rows, passages, np.concatenate(scores))
    if not all(part.segment.one_passage_an_item for part in searched):
        pairs = _folded(pairs)
    return pairs.taken(np.lexsort((-pairs.similarities, pairs.queries)))


def _spans(who: Rows, queries: int) -> Iterable[tuple[int, int]]:
    """Where the pairs of each query begin and end, which are in order of query."""
    return pairwise(np.searchsorted(who, np.arange(queries + 1)).tolist())


def _least(
    searched: Sequence[Part], proposals: Sequence[ann.Proposal], queries: int, count: int
) -> npt.NDArray[np.float64]:
    """What a figure must reach for its passage to be on the page of each query, where that can be told beforehand."""
    least = np.full(queries, -np.inf)
    if all(part.segment.one_passage_an_item for part in searched) and proposals:
        figures = np.concatenate([np.where(one.rows >= 0, one.figures, -np.inf) for one in proposals], axis=1)
        if figures.shape[1] > count:
            least = np.partition(figures, -count, axis=1)[:, -count] - 2 * ann.ERROR
    return least


def _folded(pairs: _Pairs) -> _Pairs:
    """Each item once for each query, with its best passage; of equal ones, the first in the text."""
    ordered = pairs.taken(np.lexsort((pairs.passages, -pairs.similarities, pairs.rows, pairs.parts, pairs.queries)))
    keys = np.stack([ordered.queries, ordered.parts, ordered.rows])
    first = np.flatnonzero((np.diff(keys, axis=1, prepend=-1) != 0).any(axis=0))
    return ordered.taken(first)
