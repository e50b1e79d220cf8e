"""Which items are nearest to a query?

Passages are what is searched, items are what is found: an item is as similar as its most similar passage, and a query
of several passages as similar as its best. Every segment proposes `candidates`, which are rescored exactly. Of segments
that are searched exactly more are fetched until nothing that was left out could belong on the page; of the others, what
a generation's contract says is found. A filter never loses results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer import ann
from indexer.candidates import Candidates, Part, Rows, fold, parts
from indexer.filters import Filter
from indexer.generation import Contract
from indexer.segment import Segment
from indexer.snapshot import Found, Snapshot
from indexer.vectors import Vectors, similarity

FETCH = 4
"""Passages fetched at first for each item wanted, where a search is exact."""


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


@dataclass(frozen=True, slots=True)
class Scored:
    """An item, its best passage and how similar that is."""

    segment: Segment
    row: int
    passage: int
    similarity: float


@dataclass(frozen=True, slots=True)
class _Scores:
    """The items of one segment that have been compared exactly."""

    segment: Segment
    rows: Rows
    passages: Rows
    similarities: npt.NDArray[np.float64]


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
        similarities = np.concatenate([s.similarities for s in scored]) if scored else np.empty(0)
        bound = max((c.bound for c in proposed), default=-np.inf)
        if bound < _needed(similarities, count, floor):
            return _best(scored, similarities, count, floor)
        found = [one if one.bound == -np.inf else None for one in proposed]
        fetch *= 2


def _rescored(proposed: Sequence[Candidates], queries: Vectors, count: int) -> list[_Scores]:
    """The items that may be among the `count` nearest of those proposed, compared exactly."""
    least = -np.inf
    if len(queries) == 1 and sum(len(c.figures) for c in proposed) > count:
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
    scores = similarity(queries, np.asarray(segment.vectors)[passages]).max(axis=0)
    if not segment.one_passage_an_item:
        rows, passages, scores = fold(rows, passages, scores)
    return _Scores(segment, rows, passages, scores)


def _needed(similarities: npt.NDArray[np.float64], count: int, min_similarity: float) -> float:
    """What an item must reach to belong on the page, as far as is known."""
    if len(similarities) < count:
        return min_similarity
    return max(min_similarity, float(np.partition(similarities, -count)[-count]))


def _best(
    scored: Sequence[_Scores], similarities: npt.NDArray[np.float64], count: int, min_similarity: float
) -> list[Scored]:
    floor = _needed(similarities, count, min_similarity)
    found = [
        Scored(s.segment, int(s.rows[i]), int(s.passages[i]), float(s.similarities[i]))
        for s in scored
        for i in np.flatnonzero(s.similarities >= floor)
    ]
    if len({one.similarity for one in found}) == len(found):  # ids are read for ties alone
        found.sort(key=lambda one: -one.similarity)
    else:
        found.sort(key=lambda one: (-one.similarity, one.segment.id(one.row)))
    return found[:count]
