"""What does an index find of what is nearest to its own vectors?

It is asked with items that were held out of it, see `passages`, as a search would ask it: at rising efforts, with and
without filters, see `trial_filters`, each in the way that `ways` has for it, and not at all where a search would
compare all that pass. What counts, where there is a log of queries, is the figure of those for which less is found.
Passages are folded into items. What is nearest is told by comparing with every passage.

One walk of a graph serves every effort, limit and filter that would have it look as far, and one scan of 4-bit codes
every effort and limit with the same filter, for the candidates of a lower one are the first of those of a higher.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.ann.ladder import LIMITS, Figure, Rung, figure
from indexer.ann.nearest import Scores, nearest
from indexer.ann.opened import AnnIndex, Mask
from indexer.ann.passages import Passages, Queries, let_go
from indexer.ann.trial_filters import trial_filters
from indexer.ann.ways import Plan, plan, quick_way
from indexer.stages import Progress, stage
from indexer.vectors import Rows, Vectors

LEAST = 50
"""Queries, of which fewer tell too little."""
AS_NEAR = 2e-6
"""Two similarities that differ by less may be equal: they are summed in float32."""
ENOUGH = 0.999
"""A ladder ends where so much is found."""
NEARLY, NO_MORE = 0.995, 0.00045
"""And where so much is, and twice the effort finds less than that besides: the rest lies where hardly any effort leads.
Figures have four decimals, so that none differ by just so much."""
EFFORTS = (
    *(16, 20, 24, 28, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256),
    *(320, 384, 512, 640, 768, 1024, 1536, 2048, 3072),
)
STAGES = (192, 768, EFFORTS[-1])
"""How many candidates of 4-bit codes are asked for at once; hardly ever the most."""
FETCH, EXTRA = 4, 4
"""Passages fetched for each item at most, as those that are near are hardly ever all of its own, and besides."""
SPREAD = 1.25
"""How many more are fetched than so many items have on average, where some have several."""
AT_ONCE = 64
"""Queries that are asked, and whose candidates are compared, at a time: there may be thousands of each."""
GATHERED, WITHIN = 4096, 8192
"""Vectors that are compared, and rows within which they lie, before their pages are let go of: each brings others
around it into memory, as much as two megabytes."""

Few = npt.NDArray[np.int32]
"""Rows in half the room."""


def to_fetch(items: int, passages_an_item: float) -> int:
    """How many passages are asked for where so many items are wanted, which have so many on average."""
    several = 1.0 if passages_an_item == 1 else SPREAD * passages_an_item
    return min(FETCH * items, math.ceil(several * items)) + EXTRA


def measured(
    index: AnnIndex, passages: Passages, queries: Queries, progress: Progress | None = None
) -> tuple[Rung, ...]:
    """What each effort finds of the items nearest to the queries.

    `passages` are those in the index. Each effort is also tried with filters, and where enough is found it is not
    looked for harder. Of too few queries nothing is said.
    """
    if len(queries.vectors) < LEAST:
        return ()
    items = [passages.live, *trial_filters(passages, index.kind)]
    with stage(progress, "compare", passages.item_count, "items") as advance:
        near = nearest(passages, queries, items, LIMITS[-1], advance)
    masks = [passages.mask(mask) for mask in items]
    trials = [
        _Trial(index, passages, queries, limit, at, mask, best[:, :limit])
        for at, (mask, best) in enumerate(zip(masks, near, strict=True))
        for limit in LIMITS
    ]
    answers = _Answers(index, passages, queries, trials)
    found: list[tuple[int, list[tuple[int, Figure]]]] = []
    with stage(progress, "tune", len(trials), "trials") as advance:
        for trial in trials:  # all limits of a filter in turn
            found.append((trial.limit, _found(trial, answers)))
            advance(1)
    return tuple(rung for limit in LIMITS for rung in _rungs(limit, [figures for of, figures in found if of == limit]))


def _found(trial: _Trial, answers: _Answers) -> list[tuple[int, Figure]]:
    """What each effort finds, up to the one that settles it."""
    figures: list[tuple[int, Figure]] = []
    for effort in trial.efforts:
        if _settled(figures):
            break
        figures.append((effort, trial.finds(effort, answers)))
    return figures


def _rungs(limit: int, found: Sequence[Sequence[tuple[int, Figure]]]) -> list[Rung]:
    """Of what is found without a filter, and with each: as many rungs as the longest; the last figure of the others."""
    efforts = [effort for effort, _ in max(found, key=len)]
    rungs = []
    for at, effort in enumerate(efforts):
        last = [figures[min(at, len(figures) - 1)][1] for figures in found]
        rungs.append(Rung(limit, effort, last[0], min(last[1:], key=lambda one: one.low)))
    return rungs


def _settled(figures: Sequence[tuple[int, Figure]]) -> bool:
    """Whether the last effort found enough, or nearly, and one half as hard hardly less."""
    if not figures:
        return False
    effort, last = figures[-1]
    half = [found for tried, found in figures if 2 * tried <= effort][-1:]
    return last.low >= ENOUGH or (last.recall >= NEARLY and any(last.recall - one.recall < NO_MORE for one in half))


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """Searches for up to `limit` items among the passages of a mask, and what they should find."""

    index: AnnIndex
    passages: Passages
    queries: Queries
    limit: int
    filter: int
    """Its number; 0 where there is none, and the mask has what counts."""
    mask: Mask | None
    nearest: Scores
    """(queries, limit): minus infinity where there are fewer."""

    @property
    def fetch(self) -> int:
        """How many passages a search asks for."""
        excluding = bool((self.queries.own >= 0).any())
        return to_fetch(self.limit + excluding, self.passages.an_item)

    @property
    def efforts(self) -> list[int]:
        return [effort for effort in EFFORTS if effort >= self.fetch or effort == EFFORTS[-1]]

    def plan(self, effort: int) -> Plan | None:
        """How a search would ask the index with that effort; None where it would not."""
        rows, dimension = self.passages.vectors.shape
        count = rows - self.passages.taken_out
        passing = rows if self.mask is None else int(np.count_nonzero(self.mask))
        if not passing:
            return None
        if not self.filter:
            return quick_way(self.index.kind, count, passing, dimension, self.fetch, effort)
        chosen = plan(self.index.kind, count, passing, dimension, self.fetch, effort)
        return None if chosen.exact else chosen

    def finds(self, effort: int, answers: _Answers) -> Figure:
        """How much that effort finds; of the queries' groups, that which finds less."""
        how = self.plan(effort)
        if how is None:
            return Figure(1.0, 1.0, 1.0)
        shares = self._shares(*answers.to(how, self.filter, self.mask))
        return min((figure(shares[group]) for group in self.queries.groups), key=lambda found: found.low)

    def _shares(self, rows: Rows, scores: Scores) -> npt.NDArray[np.float64]:
        """The share of the nearest items that each query finds in its rows.

        All, where these are of too few items: it would be asked again, much harder, and exactly in the end.
        """
        items = self.passages.items_of(rows)
        there = (rows >= 0) & (items != self.queries.own[:, None])
        wanted = np.isfinite(self.nearest).sum(axis=1)
        least = np.where(wanted > 0, self.nearest[np.arange(len(rows)), wanted - 1].astype(np.float64), 0) - AS_NEAR
        found = self._different(items, there & (scores >= least[:, None]))
        short = (self._different(items, there) < wanted) | (wanted == 0)
        return np.where(short, 1.0, np.minimum(found, wanted) / np.maximum(wanted, 1))

    def _different(self, items: Rows, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """How many items are among the chosen rows of each query."""
        if self.passages.items is None:
            return np.asarray(chosen.sum(axis=1))
        rising = np.sort(np.where(chosen, items, -1), axis=1)
        different: npt.NDArray[np.int64] = (np.diff(rising, axis=1, prepend=-1) > 0).sum(axis=1, dtype=np.int64)
        return different


class _Answers:
    """What an index gives for all queries, each row with its similarity; nothing is asked twice."""

    def __init__(self, index: AnnIndex, passages: Passages, queries: Queries, trials: Iterable[_Trial]) -> None:
        self._index, self._vectors, self._queries = index, passages.vectors, queries.vectors
        self._most: dict[int, int] = {}
        self._walks: dict[int, tuple[Few, Scores]] = {}
        self._codes: tuple[int, Few, Scores] | None = None
        self._groups = _groups(len(self._queries))
        for trial in trials:
            for how in (one for effort in trial.efforts if (one := trial.plan(effort))):
                self._most[how.effort] = max(how.fetch, self._most.get(how.effort, 0))

    def to(self, how: Plan, filter: int, mask: Mask | None) -> tuple[Rows, Scores]:
        """The rows that a search gets by that plan, -1 where one does not pass, and their similarities."""
        if how.way == "codes":
            return _best(*self._coded(how.effort, filter, mask), how.fetch)
        if how.effort not in self._walks:
            self._walks[how.effort] = self._walked(how.effort)
        few, scores = self._walks[how.effort]
        rows = few[:, : how.fetch].astype(np.int64)
        if mask is not None:
            rows[(rows >= 0) & ~mask[rows]] = -1
        return rows, scores[:, : how.fetch]

    def _coded(self, effort: int, filter: int, mask: Mask | None) -> tuple[Few, Scores]:
        """So many of the best rows by their codes, in this order; those of one filter are held at a time."""
        if self._codes is None or self._codes[0] != filter or self._codes[1].shape[1] < effort:
            passing = len(self._vectors) if mask is None else int(np.count_nonzero(mask))
            stage = min(passing, next(stage for stage in STAGES if stage >= effort))
            self._codes = None
            few = self._asked(stage, 0, mask)
            self._codes = filter, few, self._compared(few)
        _, few, scores = self._codes
        return few[:, :effort], scores[:, :effort]

    def _walked(self, effort: int) -> tuple[Few, Scores]:
        """As many rows as any plan fetches, in the order of the index, or where its figures are not true, in theirs."""
        most = self._most[effort]
        few = self._asked(most if self._index.true else effort, effort)
        scores = self._compared(few)
        if self._index.true:
            return few, scores
        rows, scores = _best(few, scores, most)
        return rows.astype(np.int32), scores

    def _asked(self, k: int, effort: int, mask: Mask | None = None) -> Few:
        """About the k rows nearest to each query, as the index gives them."""
        rows = np.empty((len(self._queries), k), dtype=np.int32)
        for at in self._groups:
            rows[at] = self._index.search(self._queries[at], k, effort, mask)[1]
        return rows

    def _compared(self, rows: Few) -> Scores:
        """How similar each row is to its query; minus infinity where there is none."""
        scores = np.empty(rows.shape, dtype=np.float32)
        for at in self._groups:
            scores[at] = self._some(rows[at], self._queries[at])
        return scores

    def _some(self, rows: Few, queries: Vectors) -> Scores:
        """The same of some queries. The rows are read as they lie."""
        vectors, order = np.asarray(self._vectors), rows.ravel().argsort(kind="stable")
        rising, which = rows.ravel()[order], order // rows.shape[1]
        scores = np.full(rows.size, -np.inf, dtype=np.float32)
        start = int(np.searchsorted(rising, 0))
        while start < len(rising):
            end = min(start + GATHERED, int(np.searchsorted(rising, rising[start] + WITHIN)))
            scores[order[start:end]] = np.vecdot(vectors[rising[start:end]], queries[which[start:end]])
            let_go(vectors)
            start = end
        return scores.reshape(rows.shape)


def _best(rows: Few, scores: Scores, count: int) -> tuple[Rows, Scores]:
    """The `count` most similar rows of each query, best first."""
    order = np.empty((len(scores), min(count, scores.shape[1])), dtype=np.int32)
    for at in _groups(len(scores)):
        order[at] = np.argsort(-scores[at], axis=1, kind="stable")[:, :count]
    return np.take_along_axis(rows, order, axis=1).astype(np.int64), np.take_along_axis(scores, order, axis=1)


def _groups(count: int) -> list[slice]:
    """Of so many queries, those that are compared at a time."""
    return [slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE)]
