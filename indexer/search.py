"""Which items are nearest to a query?

Passages are what is searched, items are what is found: an item is as similar as its most similar passage, and a query
of several passages as similar as its best. Every segment proposes `candidates`, which are rescored exactly. Of segments
that are searched exactly more are fetched until nothing that was left out could belong on the page; of the others, what
a generation's contract says is found. A filter never loses results.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, repeat
from operator import itemgetter, neg
from typing import NamedTuple

import numpy as np

from indexer.candidates import Candidates, Part, fold
from indexer.filters import Filter
from indexer.generation import Contract
from indexer.parts import parts
from indexer.segment import Segment
from indexer.snapshot import Found, Snapshot
from indexer.vectors import Vectors, best_similarity_to_rows, similarity_to_rows

FETCH = 4
"""Passages fetched at first for each item wanted, where a search is exact."""

Hit = tuple[Segment, int, int, float]
"""What becomes a `Scored`, once it is known to be on the page."""


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


_SIMILARITY = itemgetter(3)
scored: Callable[[Hit], Scored] = partial(tuple.__new__, Scored)  # as Scored._make does, in two thirds of the time


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
    while True:
        proposed = [
            one or part.exact(asked.vectors, asked.count, fetch, asked.exclude)
            for part, one in zip(searched, found, strict=True)
        ]
        page = paged(_compared(proposed, asked.vectors, asked.count), asked)
        if found_all(page, asked, max([-np.inf, *[one.bound for one in proposed]])):
            return page
        found = [one if one.bound == -np.inf else None for one in proposed]
        fetch *= 2


def found_all(page: Sequence[Scored], asked: Asked, bound: float) -> bool:
    """Whether nothing belongs on the page that is no more similar than the bound."""
    return bound < (page[-1].similarity if len(page) == asked.count else asked.min_similarity)


def paged(found: list[Hit], asked: Asked) -> list[Scored]:
    """The best of some items, each once, ties by id; `found` is put in order."""
    found.sort(key=_SIMILARITY, reverse=True)
    found = found[: _end(found, asked)]
    if len(set(map(_SIMILARITY, found))) < len(found):
        found = [one for _, tied in groupby(found, _SIMILARITY) for one in _by_id([*tied])]
    return [*map(scored, found[: asked.count])]


def _by_id(tied: list[Hit]) -> list[Hit]:
    """Equally similar items in the order of their ids, which are read for ties alone."""
    return sorted(tied, key=lambda one: one[0].id(one[1])) if len(tied) > 1 else tied


def _end(found: Sequence[Hit], asked: Asked) -> int:
    """How many of these, best first, may be on the page: as many as are wanted, and what ties with the last of them."""
    count, floor, end = asked.count, asked.min_similarity, len(found)
    if end > count:
        floor = max(floor, found[count - 1][3])
    while end and found[end - 1][3] < floor:
        end -= 1
    return end


def _compared(proposed: Sequence[Candidates], queries: Vectors, count: int) -> list[Hit]:
    """The items that may be among the `count` nearest of those proposed, compared exactly."""
    found: list[Hit] = []
    least = _least(proposed, count) if len(queries) == 1 else -np.inf
    for one in proposed:
        passages, rows = one.passages, one.rows
        if len(queries) == 1:
            end = bisect_right(one.figures.tolist(), -least, key=neg)
            if not end:
                continue
            passages, rows = passages[:end], rows[:end]
            scores = similarity_to_rows(queries, one.vectors, passages)
        else:
            scores = best_similarity_to_rows(queries, one.vectors, passages)
        if not one.folded:
            rows, passages, scores = fold(rows, passages, scores)
        found += zip(repeat(one.segment), rows.tolist(), passages.tolist(), scores.tolist())
    return found


def _least(proposed: Sequence[Candidates], count: int) -> float:
    """What a figure must reach for its passage to be on the page, as far as figures tell."""
    best: list[float] = sorted(chain.from_iterable(one.best.tolist() for one in proposed), reverse=True)
    if len(best) <= count:
        return -np.inf
    return best[count - 1] - 2 * max(one.error for one in proposed)
