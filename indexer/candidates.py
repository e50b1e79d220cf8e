"""Which passages of one segment may be of items on the page?

A part is a segment with the passages that count. It is asked through its index where that was found to find enough, and
exactly where it was not, or where that is quicker. Where an index gives fewer items than there are, it is asked harder,
and exactly in the end. Each candidate has a figure, which is its similarity but for a known error, and an exact answer
says how near what it left out can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from indexer import ann
from indexer.segment import Segment
from indexer.snapshot import Found, LiveSegment
from indexer.vectors import Rows, Vectors

Float = TypeVar("Float", bound=np.floating)
Figures = npt.NDArray[np.float32]
Items = npt.NDArray[np.bool_]
"""One entry an item row: whether the item counts."""

HARDER = 4
"""So many times as many passages are asked for, and an index as hard, where they were of too few items."""

TOGETHER = 32
"""Queries, or vectors of one, that are put to a segment at once: a scan holds that many figures for each passage."""

PLANS_KEPT = 256
"""Ways of asking a part that are remembered."""


class Candidates(NamedTuple):
    """Passages of one segment that may be of items on the page, each once; a tuple, as every query makes some."""

    segment: Segment
    vectors: Vectors
    """Of all its passages."""
    passages: Rows
    rows: Rows
    """The item of each."""
    figures: Figures
    """Best first, where one vector was asked for; meaningless where several were."""
    items: int
    """How many different items there are."""
    bound: float
    """No item that was not looked at is more similar than this; minus infinity where no more is to be looked at."""
    error: float
    """Most that a figure differs from the similarity."""

    @property
    def folded(self) -> bool:
        """Whether each item is there once."""
        return self.items == len(self.rows)

    @property
    def best(self) -> Figures:
        """The figure of each item's best passage."""
        return self.figures if self.folded else fold(self.rows, self.passages, self.figures)[2]


class Several(NamedTuple):
    """What one segment proposes for several queries of one vector each."""

    part: Part
    passages: Rows
    """(queries, m); -1 at the end, where there are no more."""
    rows: Rows
    """(queries, m): the item of each; any where there is none."""
    figures: Figures
    """(queries, m): best first."""
    bounds: npt.NDArray[np.float64] | None
    """(queries,): as of `Candidates`; None where no more is to be looked at for any of them."""
    error: float
    enough: npt.NDArray[np.bool_] | None
    """(queries,): whether no other way would give more items; None where it is so of all."""
    short: bool
    """Whether there are fewer for some of them."""
    again: npt.NDArray[np.int64] | None
    """(queries,): how many passages are of items of which there is one before; None where each item is there once."""


class Part:
    """One segment with the passages that count; asking it changes nothing in what it answers."""

    def __init__(self, part: LiveSegment, items: Items | None = None) -> None:
        """`items` are those that pass a filter; None where all do."""
        self.segment = segment = part.segment
        self.vectors = np.asarray(segment.vectors)
        self._mask, self._passing = part.live_passages, segment.entry.passages
        self._filtered = items is not None
        self._plans: dict[tuple[int, int, float | None, int, int, bool], ann.Plan | None] = {}
        self.may_keep = False
        """Whether the codes of what passes may be kept once the filter is asked with again."""
        self._asked_before = False
        self._kept: tuple[ann.AnnIndex, Rows] | None = None
        if items is not None:
            passages = items if segment.one_passage_an_item else items[segment.item_rows]
            self._mask = passages if self._mask is None else passages & self._mask
        if self._mask is not None:
            self._passing = int(np.count_nonzero(self._mask))

    @property
    def code_bytes(self) -> int:
        """Of the codes of all passages that count."""
        return 2 * self._passing * self.segment.entry.dimension

    def quick(self, queries: Vectors, count: int, exclude: Found | None, recall: float | None) -> Candidates | None:
        """What the index finds, asked harder where that is too few items; None once an exact search is no slower.

        For each of several queries as many items are found: however near those are that another finds, what is nearest
        to this one may be nearer.
        """
        own = self._passages_of(exclude)
        if len(queries) > 1:
            return self._quick_of_each(queries, count, exclude, own, recall)
        harder = 1
        while plan := self._quick_plan(count, own, recall, 1, harder):
            found = self._gathered(self._proposed(queries, plan), exclude)
            if found.items >= count:
                return found
            harder *= HARDER
        return None

    def _quick_of_each(
        self, queries: Vectors, count: int, exclude: Found | None, own: int, recall: float | None
    ) -> Candidates | None:
        """The same of several queries, of which those are asked harder that have found too few items."""
        harder, figures, rows = 1, list[Figures](), list[Rows]()
        while plan := self._quick_plan(count, own, recall, min(len(queries), TOGETHER), harder):
            found = self._proposed(queries, plan)
            items = self.items_of(found.rows)
            others = np.where(items == exclude.row, -1, found.rows) if own and exclude else found.rows
            again = _again(items, others)
            enough = np.count_nonzero(others >= 0, axis=1) - (0 if again is None else again) >= count
            figures.append(found.figures[enough].ravel())
            rows.append(found.rows[enough].ravel())
            queries = queries[~enough]
            if not len(queries):
                whole = ann.Proposal(np.concatenate(figures)[:, None], np.concatenate(rows)[:, None], None, found.error)
                return self._gathered(whole, exclude)
            harder *= HARDER
        return None

    def exact(self, queries: Vectors, count: int, fetch: int, exclude: Found | None) -> Candidates:
        """The `fetch` passages nearest to each of the queries, in one.

        Where there are no more items than are wanted, all that it takes: however many more passages were fetched, they
        might be of the same few items.
        """
        if fetch < self._passing and self._items <= count + (exclude is not None):
            return self._best_of_each(queries, exclude)
        return self._gathered(self._proposed(queries, self._plan(fetch, None, min(len(queries), TOGETHER))), exclude)

    def together(
        self, queries: Vectors, count: int, fetch: int, excludes: Sequence[Found | None], recall: float | None
    ) -> Several:
        """What is found for queries of one vector each, quick where it can be, else exact."""
        excluding = any(one is not None for one in excludes)
        left_out = max(map(self._passages_of, excludes)) if excluding else 0
        plan = self._quick_plan(count, left_out, recall, len(queries)) or self._plan(fetch, None, len(queries))
        figures, passages, bounds, error = self._proposed(queries, plan)
        if excluding:
            own = [one.row if one is not None and one.segment is self.segment else -1 for one in excludes]
            figures, passages = ann.without(figures, passages, self.items_of(passages) == np.array(own)[:, None])
        rows, enough = self.items_of(passages), None
        short = bool(np.count_nonzero(passages[:, -1:] < 0))
        again = None if self.segment.one_passage_an_item else _again(rows, passages)
        if not plan.exact and (short or passages.shape[1] < count or again is not None):
            enough = np.count_nonzero(passages >= 0, axis=1) - (0 if again is None else again) >= count
        return Several(self, passages, rows, figures, bounds, error, enough, short, again)

    @cached_property
    def _items(self) -> int:
        """How many items have passages that count."""
        if self._mask is None:
            return self.segment.entry.items
        if self.segment.one_passage_an_item:
            return self._passing
        return int(np.count_nonzero(np.diff(self.items_of(np.flatnonzero(self._mask)), prepend=-1)))

    def _best_of_each(self, queries: Vectors, exclude: Found | None) -> Candidates:
        """Of every item the passages that may be nearest to one of the queries."""
        passages = np.arange(self._passing) if self._mask is None else np.flatnonzero(self._mask)
        figures, error = ann.nearness(self.vectors, queries, passages)
        rows = self.items_of(passages)
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        best = np.repeat(np.maximum.reduceat(figures, firsts), np.diff(firsts, append=len(rows)))
        own = exclude.row if exclude is not None and exclude.segment is self.segment else -1
        kept = np.flatnonzero((figures >= best - 2 * error) & (rows != own))
        kept = kept[(-figures[kept]).argsort(kind="stable")]
        passages, rows, figures = passages[kept], rows[kept], figures[kept]
        items = len(set(rows.tolist()))
        return Candidates(self.segment, self.vectors, passages, rows, figures, items, -np.inf, error)

    def items_of(self, passages: Rows) -> Rows:
        """The item of each passage; of passage -1, that of the last one."""
        return passages if self.segment.one_passage_an_item else self.segment.item_rows[passages].astype(np.int64)

    def _passages_of(self, exclude: Found | None) -> int:
        """How many passages of the item that is left out are here: they may all be nearer than any other."""
        if exclude is None or exclude.segment is not self.segment:
            return 0
        return len(self.segment.passages_of(exclude.row))

    def _quick_plan(self, count: int, own: int, recall: float | None, queries: int, harder: int = 1) -> ann.Plan | None:
        key = count, own, recall, queries, harder, self._keeping
        if key in (plans := self._plans):
            return plans[key]
        effort = ann.effort_for(self.segment.entry.index, count, recall, self._filtered)
        fetch = ann.to_fetch(count, self.segment.passages_an_item) + own
        plan = None if effort is None else self._plan(harder * fetch, harder * effort, queries)
        quick = None if plan is None or plan.exact else plan
        self._plans = {key: quick} if len(plans) >= PLANS_KEPT else {**plans, key: quick}
        return quick

    def _plan(self, fetch: int, effort: int | None, queries: int) -> ann.Plan:
        kind, entry = self.segment.ann.kind, self.segment.entry
        rows, passing, dimension = entry.passages, self._passing, entry.dimension
        return ann.plan(kind, rows, passing, dimension, fetch, effort, queries, self._keeping)

    @property
    def _keeping(self) -> bool:
        return self.may_keep and self._asked_before

    def _proposed(self, queries: Vectors, plan: ann.Plan) -> ann.Proposal:
        """What that plan finds for each query, of which some are asked at a time."""
        if len(queries) <= TOGETHER:
            return self._proposed_at_once(queries, plan)
        each = [self._proposed_at_once(queries[at : at + TOGETHER], plan) for at in range(0, len(queries), TOGETHER)]
        figures, rows, bounds, errors = zip(*each, strict=True)
        whole = None if bounds[0] is None else np.concatenate(bounds)
        return ann.Proposal(np.concatenate(figures), np.concatenate(rows), whole, errors[0])

    def _proposed_at_once(self, queries: Vectors, plan: ann.Plan) -> ann.Proposal:
        if plan.way != "kept" or self._mask is None:
            self._asked_before = True
            return ann.propose(self.segment.ann, self.vectors, queries, plan, self._mask, self._passing)
        if self._kept is None:
            rows = np.flatnonzero(self._mask)
            self._kept = ann.gathered(self.vectors, rows), rows
        index, rows = self._kept
        found = ann.propose(index, self.vectors, queries, plan, None, self._passing)
        return found._replace(rows=rows[found.rows])

    def _gathered(self, found: ann.Proposal, exclude: Found | None) -> Candidates:
        segment = self.segment
        if len(found.rows) == 1:
            passages, figures = found.rows[0], found.figures[0]
        else:
            passages, at = np.unique(found.rows, return_index=True)
            figures = found.figures.reshape(-1)[at]
        rows = self.items_of(passages)
        own = exclude.row if exclude is not None and exclude.segment is segment else -1
        short = len(passages) > 0 and min(passages[0], passages[-1]) < 0  # -1 is last of one query, first of several
        if own >= 0 or short:
            keep = (passages >= 0) & (rows != own)
            passages, rows, figures = passages[keep], rows[keep], figures[keep]
        items = len(rows) if segment.one_passage_an_item else len(set(rows.tolist()))
        bound = -np.inf if found.bounds is None else max(found.bounds.tolist())
        return Candidates(segment, self.vectors, passages, rows, figures, items, bound, found.error)


def fold(rows: Rows, passages: Rows, scores: npt.NDArray[Float]) -> tuple[Rows, Rows, npt.NDArray[Float]]:
    """Each item once, with its best passage; of equal ones, the first in the text."""
    order = np.lexsort((passages, -scores, rows))
    ordered, new = rows[order], np.ones(len(rows), dtype=np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    first = order[new]
    return rows[first], passages[first], scores[first]


def _again(rows: Rows, passages: Rows) -> npt.NDArray[np.int64] | None:
    """How many of each query's passages are of an item that another is of; None where none is."""
    rising = np.sort(np.where(passages < 0, -1, rows), axis=1)
    again = np.count_nonzero((rising[:, 1:] == rising[:, :-1]) & (rising[:, 1:] >= 0), axis=1)
    return again if np.count_nonzero(again) else None
