"""In which way is a segment searched, for so many passing rows?

A pure function from what each way costs; what matters is where two ways cost the same, not the figures themselves.
`benchmarks/ann.py` measures what comes of it, with filters that 1, 10 and 50 % of the items pass. An exact way is
always among them, so that a filter can lose nothing. FAISS could also mask a graph while it walks, which is quicker
where items pass at random; where alike ones do, and somebody asks from outside, it ends among the first that pass, far
from the nearest, while a walk that is masked afterwards has too few, and is then made longer:

    scan       all half-precision codes, those that a mask leaves out passed over; exact
    wide scan  all half-precision codes, so many fetched that enough pass the mask afterwards; exact
    gather     the vectors of the passing rows, one by one; exact
    kept       half-precision codes of the passing rows alone, which were gathered before; exact
    product    all vectors in the order in which they lie; exact
    codes      all 4-bit codes that pass, and the best of them by their vectors
    walk       a graph, so many fetched that enough pass the mask afterwards
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from indexer.ann.choice import Kind

Way = Literal["scan", "wide scan", "gather", "kept", "product", "codes", "walk"]

# Nanoseconds for each dimension of each row that is looked at; for each row whose bit is looked up, or whose figure is
# among those of which the best are chosen.
SCAN, MASKED_SCAN, PRODUCT, MULTIPLY, GATHER = 0.055, 0.09, 0.16, 0.01, 0.14
CODE, REFINE, NODE = 0.0045, 0.4, 2.2
CHECK, CHOOSE = 1.0, 4.0
MARGIN = 1.25
"""How many more are fetched than would pass on average."""
SPARE = 8
"""And how many besides."""
REMEMBERED = 1024
"""Plans that are not made anew: small segments are searched in about as much time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a segment is searched, and why."""

    way: Way
    fetch: int
    """Rows that are asked for, those that do not pass among them where the mask comes afterwards."""
    effort: int
    """Of a walk or a scan of 4-bit codes, see `ladder`; 0 for an exact way."""
    nanoseconds: float
    """What it costs by the model, relative to the others."""
    reason: str

    @property
    def exact(self) -> bool:
        """Whether nothing that passes is left out but what is no nearer than the last that is proposed."""
        return self.way not in ("codes", "walk")


@lru_cache(REMEMBERED)
def plan(
    kind: Kind,
    count: int,
    passing: int,
    dimension: int,
    fetch: int,
    effort: int | None,
    queries: int = 1,
    kept: bool = False,
) -> Plan:
    """The cheapest way to the `fetch` nearest of `passing` rows among `count`.

    `effort` is what finds enough without a mask; None where only an exact way will do. For `queries` that are searched
    together vectors are read once in a `product`, and where they are gathered. `kept` says whether the codes of the
    passing rows are at hand.
    """
    if not passing:
        return Plan("gather", 0, 0, 0.0, "no row passes")
    fetch = min(fetch, passing)
    ways = list(_exact_ways(kind, count, passing, dimension, fetch, queries))
    if kept:
        again = f"{passing:,} of {count:,} rows pass, whose codes lie together"
        ways.append(Plan("kept", fetch, 0, passing * dimension * SCAN, again))
    if effort is not None:
        quick = quick_way(kind, count, passing, dimension, fetch, effort)
        ways += [quick] if quick else []
    return min(ways, key=lambda way: way.nanoseconds)


def _exact_ways(kind: Kind, count: int, passing: int, dimension: int, fetch: int, queries: int) -> Iterator[Plan]:
    masked = passing < count
    if masked:
        few = f"{passing:,} of {count:,} rows pass, which are compared one by one"
        row = dimension * GATHER if queries == 1 else dimension * (GATHER / queries + MULTIPLY) + CHOOSE
        yield Plan("gather", fetch, 0, passing * row, few)
    if kind in ("exact", "hnsw"):
        if masked:
            some = f"{passing:,} of {count:,} rows pass, and the others' codes are passed over"
            yield Plan("scan", fetch, 0, count * CHECK + passing * dimension * MASKED_SCAN, some)
            wide = min(count, _widened(fetch, count, passing))
            most = f"{passing:,} of {count:,} rows pass, so that it is quicker to leave the others out afterwards"
            yield Plan("wide scan", wide, 0, count * dimension * SCAN + wide * CHECK, most)
        else:
            yield Plan("scan", fetch, 0, count * dimension * SCAN, f"all {count:,} codes are compared")
    every = f"all {count:,} vectors are compared as they lie"
    each = count * dimension * (PRODUCT / queries + MULTIPLY) + count * (CHECK * masked + CHOOSE)
    yield Plan("product", fetch, 0, each, every)


def quick_way(kind: Kind, count: int, passing: int, dimension: int, fetch: int, effort: int) -> Plan | None:
    """How an index that may leave something out is asked; None where that would be to ask for everything."""
    if kind == "pq":
        candidates = min(passing, max(effort, fetch))
        cost = count * dimension * CODE + count * CHECK * (passing < count) + candidates * dimension * REFINE
        return Plan("codes", fetch, candidates, cost, f"{candidates:,} candidates out of {count:,} codes find enough")
    wide = fetch if passing == count else _widened(fetch, count, passing)
    if kind == "exact" or wide >= count:
        return None
    walk = max(wide, math.ceil(effort * count / passing))
    return Plan(
        "walk", wide, walk, walk * dimension * NODE, f"a walk that keeps {walk:,} nodes of {count:,} finds enough"
    )


def _widened(fetch: int, count: int, passing: int) -> int:
    return math.ceil(MARGIN * fetch * count / passing) + SPARE
