"""How are several queries answered at once?

Those of one vector each that want as many items that pass the same filter are put to every segment together: a scan
then reads its codes once for all of them, a graph is walked by all cores, and what is found is compared in a few
operations on whole arrays, a query a row. Each gets the answer that it would get alone, or an exact one where that is
quicker for several; where it takes more than one look, it is asked alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexer.candidates import Figures, Part, Rows, Several, parts
from indexer.filters import Filter
from indexer.search import FETCH, Asked, Hit, Scored, among, each_finds, found_all, nearest, paged, scored
from indexer.segment import Segment
from indexer.snapshot import Snapshot
from indexer.vectors import Similarities, Vectors, similarity_to_own

WALKS = 4
"""Queries from which on a graph is asked for all of them together. It is walked for each all the same, and operations
on whole arrays cost more for two queries than they spare."""
TOGETHER = 32
"""Queries that are searched together: a scan then holds that many figures for each passage of a segment."""


class _Compared(NamedTuple):
    """Passages whose items may be on the pages of some queries, each array (queries, m)."""

    parts: Rows | None
    """In which of the parts; None where there is one."""
    rows: Rows
    passages: Rows
    similarities: Similarities
    """Minus infinity where there is none, or a better one of the same item beside it."""

    def taken(self, places: Rows) -> _Compared:
        """Of each query those at its places (queries, n), in that order."""
        flat = places + self.rows.shape[1] * np.arange(len(places))[:, None]
        parts, rows, passages, similarities = self
        taken = passages.take(flat)
        same = taken if rows is passages else rows.take(flat)
        return _Compared(None if parts is None else parts.take(flat), same, taken, similarities.take(flat))

    def of(self, query: int, segments: Sequence[Segment]) -> list[Hit]:
        """The items of one query."""
        rows, passages, similarities = (one[query].tolist() for one in self[1:])
        parts = [0] * len(rows) if self.parts is None else self.parts[query].tolist()
        hits = zip(map(segments.__getitem__, parts), rows, passages, similarities, strict=True)
        return [hit for hit in hits if hit[3] > -np.inf]


def nearest_each(snapshot: Snapshot, asked: Sequence[Asked]) -> list[list[Scored]]:
    """What `nearest` answers each of them."""
    contract = snapshot.generation.contract
    groups: dict[tuple[int, float | None, bool, Filter | None], list[int]] = {}
    for at, one in enumerate(asked):
        if len(one.vectors) == 1:
            groups.setdefault((one.count, one.recall, one.exact, one.filter), []).append(at)
    answers: list[list[Scored] | None] = [None] * len(asked)
    for places in groups.values():
        group = [asked[at] for at in places]
        every, recall = parts(snapshot, group[0].filter), each_finds(contract, group[0])
        if len(group) >= (WALKS if any(part.segment.ann.walks for part in every) else 2):
            for at, answer in zip(places, among_each(every, group, recall), strict=True):
                answers[at] = answer
    return [nearest(snapshot, one) if answer is None else answer for one, answer in zip(asked, answers, strict=True)]


def among_each(searched: Sequence[Part], asked: Sequence[Asked], recall: float | None) -> list[list[Scored]]:
    """What `among` answers each of them; all have one vector and want as many items."""
    if not searched:
        return [[] for _ in asked]
    groups = [asked[start : start + TOGETHER] for start in range(0, len(asked), TOGETHER)]
    return [answer for group in groups for answer in _answered(searched, group, recall)]


def _answered(searched: Sequence[Part], asked: Sequence[Asked], recall: float | None) -> list[list[Scored]]:
    """What `among` answers each of those that are put to the segments together."""
    queries, count = np.concatenate([one.vectors for one in asked]), asked[0].count
    excludes = [one.exclude for one in asked]
    found = [part.together(queries, count, FETCH * count, excludes, recall) for part in searched]
    compared = _compared(found, queries, count)
    compared = compared.taken((-compared.similarities).argsort(axis=1, kind="stable"))
    segments = [part.segment for part in searched]
    answers = _first(compared, count, segments)
    for at, settled in enumerate(_settled(compared, found, asked).tolist()):
        if settled:
            continue
        page = paged(compared.of(at, segments), asked[at])
        bound = max((float(one.bounds[at]) for one in found if one.bounds is not None), default=-np.inf)
        enough = all(one.enough is None or one.enough[at] for one in found)
        whole = enough and found_all(page, asked[at], bound)
        answers[at] = page if whole else among(searched, asked[at], recall)
    return answers


def _settled(compared: _Compared, found: Sequence[Several], asked: Sequence[Asked]) -> npt.NDArray[np.bool_]:
    """For which queries the first items are the page: there are enough, none ties, and nothing else belongs there."""
    count, similarities = asked[0].count, compared.similarities
    if similarities.shape[1] < count:
        return np.zeros(len(asked), dtype=np.bool_)
    last, after = similarities[:, count - 1], similarities[:, 1 : count + 1]
    settled: npt.NDArray[np.bool_] = np.logical_and.reduce(similarities[:, : after.shape[1]] > after, axis=1)
    settled &= last >= np.array([one.min_similarity for one in asked])
    for one in found:
        if one.bounds is not None:
            settled &= last > one.bounds
        if one.enough is not None:
            settled &= one.enough
    return settled


def _first(compared: _Compared, count: int, segments: Sequence[Segment]) -> list[list[Scored]]:
    """The first `count` that were compared for each query."""
    parts, rows, passages, similarities = compared
    places = passages[:, :count].ravel().tolist()
    items = places if rows is passages else rows[:, :count].ravel().tolist()
    of: Iterable[Segment] = repeat(segments[0], len(places))
    if parts is not None:
        of = map(segments.__getitem__, parts[:, :count].ravel().tolist())
    every = [*map(scored, zip(of, items, places, similarities[:, :count].ravel().tolist(), strict=True))]
    queries, width = compared.rows[:, :count].shape
    return [every[at * width : (at + 1) * width] for at in range(queries)]


def _compared(found: Sequence[Several], queries: Vectors, count: int) -> _Compared:
    """All that may be on a page, compared exactly."""
    least = _least(found, count)
    each: list[_Compared] = []
    for number, one in enumerate(found):
        few = int(np.count_nonzero(np.logical_or.reduce(one.figures >= least, axis=0)))
        passages = one.passages[:, :few]
        rows = passages if one.rows is one.passages else one.rows[:, :few]
        scores = similarity_to_own(queries, one.part.vectors, passages)
        if one.short:
            scores[passages < 0] = -np.inf
        each.append(_Compared(None if len(found) == 1 else np.full(passages.shape, number), rows, passages, scores))
    every = each[0] if len(each) == 1 else _Compared(*(np.concatenate(of, axis=1) for of in zip(*each, strict=True)))
    if any(one.again is not None for one in found):
        every.similarities[_worse(every)] = -np.inf
    return every


def _least(found: Sequence[Several], count: int) -> Figures:
    """What a figure must reach for its passage to be on each query's page, as far as figures tell: (queries, 1)."""
    figures = [one.best for one in found]
    best = figures[0] if len(found) == 1 else -np.sort(-np.concatenate(figures, axis=1), axis=1)
    if best.shape[1] <= count:
        return np.full((len(best), 1), -np.inf, dtype=np.float32)
    return best[:, count - 1 : count] - 2 * max([one.error for one in found])


def _worse(compared: _Compared) -> npt.NDArray[np.bool_]:
    """Which passages have a better one of the same item beside them, or an equal one before them in the text."""
    parts, rows, passages, similarities = compared
    order = np.lexsort((passages, -similarities, rows, *([] if parts is None else [parts])))
    ordered = compared.taken(order)
    same = np.zeros(rows.shape, dtype=np.bool_)
    same[:, 1:] = np.diff(ordered.rows, axis=1) == 0
    if ordered.parts is not None:
        same[:, 1:] &= np.diff(ordered.parts, axis=1) == 0
    worse = np.empty_like(same)
    np.put_along_axis(worse, order, same, axis=1)
    return worse
