"""How much of what is nearest does an index find, at which effort?

The effort of a graph is how many nodes its walk keeps (`efSearch`), that of 4-bit codes how many candidates are
compared with the vectors. Recall at `limit` is the share of the `limit` nearest items that are found: an item as near
as the last one counts as well as that one. Its interval of 95 % is a bootstrap over the queries (Efron and Tibshirani
1993, percentile method), for the hits of one query are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.ann.choice import Kind
from indexer.config import MEMORY_BUDGET

LIMITS = (10, 100)
"""Where recall is measured; a search for more than the last one is exact."""
RESAMPLES, DRAWN = 1000, 50
"""In all, and at a time."""


@dataclass(frozen=True, slots=True, order=True)
class Figure:
    """A measured recall and the interval in which it lies, by 95 %."""

    recall: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rung:
    """What one effort was found to find."""

    limit: int
    effort: int
    figure: Figure
    filtered: Figure
    """The same with a filter that some of the items pass, see `trial_filters`: the worst of these."""

    def sure(self, filtered: bool) -> float:
        """The recall that it has by 95 %, without a filter or whatever share of the items passes one."""
        return min(self.figure.low, self.filtered.low) if filtered else self.figure.low


@dataclass(frozen=True, slots=True)
class Frame:
    """The parts of an index file that say how long the others are, and where everything begins."""

    regions: tuple[tuple[int, int], ...]
    """Offset and length of each."""
    sha256: str
    """Over all of them, in this order."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What a manifest says of a segment's index."""

    kind: Kind
    reason: str
    """Why it is of that kind."""
    target: float | None = None
    """The recall that it was built for; None for all that is nearest."""
    queries: int = 0
    """How many items were asked with to measure it; 0 where it is exact by proof."""
    ladder: tuple[Rung, ...] = ()
    """In rising order of limit and effort."""
    frame: Frame | None = None
    """None for the exact kind, whose file begins in the one way that its count and dimension allow."""
    gone: int = 0
    """Items of the segment that were deleted or replaced when it was measured; 0 of one measured as it was built."""
    measured_in: int | None = None
    """The generation for which it was measured again; None where it was measured as it was built."""
    logged: int = 0
    """How many queries of a log were asked besides."""
    memory_budget: float = MEMORY_BUDGET
    """Most that it was to take, as a share of what its vectors take."""

    def rung(self, limit: int, recall: float, filtered: bool = False) -> Rung | None:
        """The cheapest effort that surely finds so much of the `limit` nearest; None where none does."""
        measured = next((known for known in LIMITS if limit <= known), None)
        good = (rung for rung in self.ladder if rung.limit == measured and rung.sure(filtered) >= recall)
        return next(good, None)

    def finds(self, recall: float) -> bool:
        """Whether some effort surely finds so much of the few nearest, where there is no filter.

        Where none does for more of them, or with a filter, these are searched exactly, which is no reason to search
        everything so.
        """
        return self.rung(LIMITS[0], recall) is not None


def effort_for(entry: IndexEntry | None, limit: int, recall: float | None, filtered: bool = False) -> int | None:
    """How hard to look for the `limit` nearest; None where only an exact search will do."""
    if entry is None or recall is None or entry.kind == "exact":
        return None
    rung = entry.rung(limit, recall, filtered)
    return rung.effort if rung else None


def figure(shares: Sequence[float] | npt.NDArray[np.float64]) -> Figure:
    """The mean of what each query found, with its interval; the resamples are the same every time."""
    found, rng = np.asarray(shares, dtype=np.float64), np.random.default_rng(0)
    draws = (rng.integers(len(found), size=(DRAWN, len(found))) for _ in range(RESAMPLES // DRAWN))
    low, high = np.quantile(np.concatenate([found[drawn].mean(axis=1) for drawn in draws]), (0.025, 0.975))
    return Figure(*(round(float(value), 4) for value in (found.mean(), low, high)))
