"""How are several queries answered at once?

Those of one vector each that want as many items that pass the same filter are put to every segment together: a scan
then reads its codes once for all of them, a graph is walked by all cores, and what is found is compared in a few
operations on arrays of all queries. Each gets the answer that it would get alone, or an exact one where that is
quicker for several; where it takes more than one look, it is asked alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexer.candidates import TOGETHER, Figures, Part, Several
from indexer.filters import Filter
from indexer.parts import parts
from indexer.search import FETCH, Asked, Hit, Scored, among, each_finds, found_all, nearest, paged, scored
from indexer.segment import Segment
from indexer.snapshot import Snapshot
from indexer.vectors import Rows, Similarities, Vectors, similarity_to_rows

WALKS = 4
"""Queries from which on a graph is asked for all of them together. It is walked for each all the same, and operations
on whole arrays cost more for two queries than they spare."""


class _Compared(NamedTuple):
    """Passages whose items may be on the pages of some queries, those of one query after those of the one before."""

    queries: Rows
    """(n,): of which query each is."""
    parts: Rows | None
    """(n,): in which of the parts; None where there is one."""
    rows: Rows
    """(n,)"""
    passages: Rows
    """(n,)"""
    similarities: Similarities
    """(n,)"""

    def taken(self, places: Rows) -> _Compared:
        """Those at some places, in that order."""
        queries, parts, rows, passages, similarities = self
        taken = passages.take(places)
        same = taken if rows is passages else rows.take(places)
        of = None if parts is None else parts.take(places)
        return _Compared(queries.take(places), of, same, taken, similarities.take(places))

    def hits(self, segments: Sequence[Segment], places: slice | Rows) -> Iterator[Hit]:
        """What becomes of those at some places."""
        _, parts, rows, passages, similarities = self
        taken: list[int] = passages[places].tolist()
        items = taken if rows is passages else rows[places].tolist()
        of: Iterable[Segment] = repeat(segments[0], len(taken))
        if parts is not None:
            of = map(segments.__getitem__, parts[places].tolist())
        return zip(of, items, taken, similarities[places].tolist(), strict=True)


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
    ends = compared.queries.searchsorted(np.arange(len(asked) + 1))
    segments = [part.segment for part in searched]
    settled = _settled(compared, ends, found, asked)
    places = (ends[:-1][settled, None] + np.arange(count)).ravel()
    first = iter([*map(scored, compared.hits(segments, places))])
    answers: list[list[Scored]] = []
    for at, whole in enumerate(settled.tolist()):
        if whole:
            answers.append([*islice(first, count)])
            continue
        page = paged([*compared.hits(segments, slice(ends[at], ends[at + 1]))], asked[at])
        bound = max((float(one.bounds[at]) for one in found if one.bounds is not None), default=-np.inf)
        enough = all(one.enough is None or one.enough[at] for one in found)
        whole = enough and found_all(page, asked[at], bound)
        answers.append(page if whole else among(searched, asked[at], recall))
    return answers


def _settled(
    compared: _Compared, ends: Rows, found: Sequence[Several], asked: Sequence[Asked]
) -> npt.NDArray[np.bool_]:
    """For which queries the first items are the page: there are enough, none ties, and nothing else belongs there."""
    count = asked[0].count
    if len(compared.rows) < count:
        return np.zeros(len(asked), dtype=np.bool_)
    places = ends[:-1, None] + np.arange(count + 1)
    first = compared.similarities.take(places, mode="clip")
    first[places >= ends[1:, None]] = -np.inf
    last = first[:, count - 1]
    settled: npt.NDArray[np.bool_] = np.logical_and.reduce(first[:, :-1] > first[:, 1:], axis=1)
    settled &= last >= np.array([one.min_similarity for one in asked])
    for one in found:
        if one.bounds is not None:
            settled &= last > one.bounds
        if one.enough is not None:
            settled &= one.enough
    return settled


def _compared(found: Sequence[Several], queries: Vectors, count: int) -> _Compared:
    """Each item once that may be on a page, compared exactly; those of a query best first."""
    least, again = _least(found, count), any(one.again is not None for one in found)
    each: list[_Compared] = []
    for number, one in enumerate(found):
        wanted = one.figures >= least
        if one.short:
            wanted &= one.passages >= 0
        places = np.flatnonzero(wanted)
        passages, which = one.passages.take(places), places // one.passages.shape[1]
        rows = passages if one.rows is one.passages else one.rows.take(places)
        similarities = similarity_to_rows(queries, one.part.vectors, passages, which)
        part = None if len(found) == 1 else np.full(len(places), number)
        each.append(_Compared(which, part, rows, passages, similarities))
    every = each[0] if len(each) == 1 else _Compared(*map(np.concatenate, zip(*each, strict=True)))
    first_in_the_text = [every.passages] if again else []
    every = every.taken(np.lexsort((*first_in_the_text, -every.similarities, every.queries)))
    return _folded(every) if again else every


def _least(found: Sequence[Several], count: int) -> Figures:
    """What a figure must reach for its passage to be on each query's page, as far as figures tell: (queries, 1)."""
    best = found[0].figures if len(found) == 1 else -np.sort(-np.concatenate([one.figures for one in found], axis=1))
    if (last := best.shape[1] - 1) < count:
        return np.full((len(best), 1), -np.inf, dtype=np.float32)
    at = np.full(len(best), count - 1)
    for one in found:
        at += 0 if one.again is None else one.again
    least = best[np.arange(len(best)), at.clip(max=last), None] - np.float32(2 * max([one.error for one in found]))
    least[at >= last] = -np.inf
    return least


def _folded(compared: _Compared) -> _Compared:
    """Each item of a query once, with the first of its passages."""
    queries, parts, rows, _, _ = compared
    keys = [rows, queries] if parts is None else [rows, parts, queries]
    order = np.lexsort(keys)
    other = np.ones(len(order), dtype=np.bool_)
    other[1:] = np.logical_or.reduce([np.diff(key.take(order)) != 0 for key in keys])
    return compared.taken(np.sort(order[other]))
