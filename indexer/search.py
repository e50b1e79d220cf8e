"""Which items are nearest to a query?

Passages are what is searched, items are what is found: an item is as similar as its most similar passage, and a query
of several passages as similar as its best. Every segment proposes `candidates`, which are rescored exactly. Of segments
that are searched exactly more are fetched until nothing that was left out could belong on the page; of the others, what
a generation's contract says is found. A filter never loses results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from indexer import ann
from indexer.candidates import Candidates, Part, fold, parts
from indexer.filters import Filter
from indexer.generation import Contract
from indexer.segment import Segment
from indexer.snapshot import Found, Snapshot
from indexer.vectors import Vectors, similarity

FETCH = 4
"""Passages fetched at first for each item wanted, where a search is exact."""
SPARED = 2
"""Where there are more candidates for each item wanted, figures say first which of them are compared exactly."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for: the `count` items most similar to any of the vectors."""

    vectors: Vectors
    """(n, dimension)"""
    count: int
    filter: Filter | None = None
    exclude: Found | None = None
    min_similarity: float = -1.0
    recall: float | None = None
    """How much of what is nearest shall be found, where that is more than the collection promises."""
    exact: bool = False
    """Whether all of it shall be found, by proof."""


class Scored(NamedTuple):
    """An item, its best passage and how similar that is; a tuple, as it is made for every hit of every query."""

    segment: Segment
    row: int
    passage: int
    similarity: float


@dataclass(frozen=True, slots=True)
class _Scores:
    """The items of one segment that have been compared exactly."""

    segment: Segment
    rows: list[int]
    passages: list[int]
    similarities: list[float]


def nearest(snapshot: Snapshot, asked: Asked) -> list[Scored]:
    """The items most similar to what is asked, best first, ties by id.

    As many as there are: fewer than `count` only where fewer pass the filter and reach `min_similarity`.
    """
    recall = each_finds(snapshot.generation.contract, asked)
    return among(parts(snapshot, asked.filter), asked, recall)


def each_finds(contract: Contract | None, asked: Asked) -> float | None:
    """How much each segment must find of what is nearest in it for what is asked to be found; None for all."""
    if contract is None or contract.target is None or asked.exact:
        return None
    if asked.recall is not None and asked.recall > contract.target:
        return asked.recall
    return contract.target


def among(searched: Sequence[Part], asked: Asked, recall: float | None) -> list[Scored]:
    """What is asked among some parts, each of which finds so much of what is nearest in it."""
    quick = [part.quick(asked.vectors, asked.count, asked.exclude, recall) for part in searched]
    return _page(searched, asked, quick, FETCH * asked.count)


def _page(searched: Sequence[Part], asked: Asked, found: list[Candidates | None], fetch: int) -> list[Scored]:
    """The best of what was found and of what more it takes."""
    count, floor = asked.count, asked.min_similarity
    while True:
        proposed = [
            one or part.exact(asked.vectors, fetch, asked.exclude) for part, one in zip(searched, found, strict=True)
        ]
        scored = _rescored(proposed, asked.vectors, count)
        needed = _needed(scored, count, floor)
        if max((c.bound for c in proposed), default=-np.inf) < needed:
            return _best(scored, count, needed)
        found = [one if one.bound == -np.inf else None for one in proposed]
        fetch *= 2


def _rescored(proposed: Sequence[Candidates], queries: Vectors, count: int) -> list[_Scores]:
    """The items that may be among the `count` nearest of those proposed, compared exactly."""
    least = -np.inf
    if len(queries) == 1 and sum(len(c.figures) for c in proposed) > SPARED * count:
        best = np.concatenate([c.best for c in proposed])
        if len(best) > count:
            least = float(np.partition(best, -count)[-count]) - 2 * ann.ERROR
    return [_compared(c, queries, least) for c in proposed]


def _compared(candidates: Candidates, queries: Vectors, least: float) -> _Scores:
    """The items whose figures reach `least`, each with its best passage."""
    segment, rows, passages = candidates.segment, candidates.rows, candidates.passages
    if least > -np.inf:
        keep = candidates.figures >= least
        rows, passages = rows[keep], passages[keep]
    scores = similarity(queries, candidates.vectors.take(passages, axis=0))
    scores = scores[0] if len(queries) == 1 else scores.max(axis=0)
    if not segment.one_passage_an_item:
        rows, passages, scores = fold(rows, passages, scores)
    return _Scores(segment, rows.tolist(), passages.tolist(), scores.tolist())


def _needed(scored: Sequence[_Scores], count: int, min_similarity: float) -> float:
    """What an item must reach to belong on the page, as far as is known."""
    similarities = sorted(similarity for s in scored for similarity in s.similarities)
    return min_similarity if len(similarities) < count else max(min_similarity, similarities[-count])


def _best(scored: Sequence[_Scores], count: int, needed: float) -> list[Scored]:
    """The best of the items that are as similar as is needed, ties by id."""
    found = [
        Scored(s.segment, row, passage, similarity)
        for s in scored
        for row, passage, similarity in zip(s.rows, s.passages, s.similarities, strict=True)
        if similarity >= needed
    ]
    if len({one.similarity for one in found}) == len(found):  # ids are read for ties alone
        found.sort(key=attrgetter("similarity"), reverse=True)
    else:
        found.sort(key=lambda one: (-one.similarity, one.segment.id(one.row)))
    return found[:count]
