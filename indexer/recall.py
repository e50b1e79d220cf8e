"""How much of what is nearest does a search of a generation find, and how hard must its segments be asked for that?

Items are taken at random, and looked for by their first passage in all segments at once, each as a search would, with
and without a filter that half of the items pass; the item itself is left out. What is nearest is told by an exact
search. Of many segments each need find less than the whole shall: the few that it has of what is nearest to all are
the nearest of its own, and these are found first. Measured anew when more than 5 % of the passages have changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from indexer.ann import LIMITS, Figure, IndexEntry, figure
from indexer.candidates import Part
from indexer.generation import Contract, Generation, Whole
from indexer.search import Asked, Scored
from indexer.snapshot import Found, Snapshot
from indexer.together import among_each
from indexer.vectors import Vectors

QUERIES = 200
CHANGED = 0.05
"""Share of the passages that may have changed before it is measured anew."""
SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
"""What a segment may be asked for, as a share of the target."""
SURER = (0.99, 0.999)
"""What it is asked for where the target itself does not suffice."""
NEAR = 1.5e-6
"""Similarities are rounded to six decimals: two that differ by no more may be equal."""


def agreed(snapshot: Snapshot, target: float | None, before: Generation | None) -> Contract:
    """What searches of a snapshot find; measured where `before`, the generation before it, does not tell."""
    generation = snapshot.generation
    if target is None or all(_exact(part.segment.entry.index) for part in snapshot.segments):
        return Contract(target)
    old = before.contract if before else None
    if before and old and old.wholes and old.target == target:
        changed = old.changed + _changed(before, generation)
        if changed <= CHANGED * generation.counts.passages:
            return replace(old, changed=changed)
    trial = _Trial.of(snapshot)
    wholes = tuple(trial.whole(limit, target) for limit in LIMITS)
    return Contract(target, wholes, len(trial.asking), generation.number)


def _exact(entry: IndexEntry | None) -> bool:
    return entry is None or entry.kind == "exact"


def _changed(before: Generation, after: Generation) -> int:
    """The passages that were written or went from one generation to the next."""
    known = {entry.id for entry in before.segments}
    written = sum(entry.passages for entry in after.segments if entry.id not in known)
    gone = sum(one.passages for id, one in after.deleted.items() if id in known)
    return written + gone - sum(one.passages for id, one in before.deleted.items() if id in after.deleted)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Some items that are looked for, among all parts of a snapshot and among half of them."""

    asking: list[tuple[Found, Vectors]]
    fields: tuple[list[Part], list[Part]]

    @classmethod
    def of(cls, snapshot: Snapshot) -> _Trial:
        rng = np.random.default_rng(snapshot.generation.counts.items)
        every = [Part(part, letting_go=True) for part in snapshot.segments]
        halves = [
            Part(part, rng.random(part.segment.entry.items) < 1 / 2, letting_go=True) for part in snapshot.segments
        ]
        return cls(list(_sample(snapshot, rng)), (every, halves))

    def whole(self, limit: int, target: float) -> Whole:
        """What is found at the least recall of each segment that reaches the target, found by halving."""
        asked = [Asked(vectors, limit, exclude=found) for found, vectors in self.asking]
        nearest = [among_each(field, asked, None) for field in self.fields]
        steps = [*(share * target for share in SHARES), *(each for each in SURER if each > target)]
        found: Whole | None = None
        low, high = 0, len(steps)
        while low < high:
            middle = (low + high) // 2
            tried = self._tried(limit, steps[middle], asked, nearest)
            if min(tried.figure.low, tried.filtered.low) >= target:
                found, high = tried, middle
            else:
                low = middle + 1
        all_of_it = Figure(1.0, 1.0, 1.0)
        return found or Whole(limit, None, all_of_it, all_of_it)

    def _tried(
        self, limit: int, each: float, asked: Sequence[Asked], nearest: Sequence[Sequence[Sequence[Scored]]]
    ) -> Whole:
        plain, filtered = (
            figure([_share(*pair) for pair in zip(among_each(field, asked, each), best, strict=True)])
            for field, best in zip(self.fields, nearest, strict=True)
        )
        return Whole(limit, each, plain, filtered)


def _sample(snapshot: Snapshot, rng: np.random.Generator) -> Iterator[tuple[Found, Vectors]]:
    """Some of the live items, each with the vector of its first passage."""
    living = [part.segment.entry.items if part.live is None else int(part.live.sum()) for part in snapshot.segments]
    ends = np.cumsum(living)
    for place in np.sort(rng.choice(int(ends[-1]), min(int(ends[-1]), QUERIES), replace=False)):
        at = int(np.searchsorted(ends, place, side="right"))
        part, nth = snapshot.segments[at], int(place) - int(ends[at] - living[at])
        row = nth if part.live is None else int(np.flatnonzero(part.live)[nth])
        passage = part.segment.passages_of(row).start
        yield Found(part.segment, row), np.array(part.segment.vectors[passage : passage + 1])


def _share(found: Sequence[Scored], nearest: Sequence[Scored]) -> float:
    """How much of what is nearest was found; what is as near as the last one counts as well as that one."""
    if not nearest:
        return 1.0
    return sum(one.similarity >= nearest[-1].similarity - NEAR for one in found) / len(nearest)
