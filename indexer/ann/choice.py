"""Which kind of index suits how many vectors?

A pure function, whose borders `benchmarks/kinds.py` shows, with each kind on either side of them. A kind is only a
first try: what it finds is measured where it is built, and where that is too little the next one `in_turn` is built,
the exact one in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["exact", "pq", "hnsw", "hnsw-sq8"]
KINDS: tuple[Kind, ...] = ("exact", "pq", "hnsw", "hnsw-sq8")

EXACT_NUMBERS = 2_000_000
"""Numbers (vectors times dimensions) up to which a scan of all is quick beside the embedding of a query. An index is
quicker, but would find less, and take seconds to tune after every small run."""
GRAPH_VECTORS = 20_000
"""Vectors from which on a walk of a graph takes less time than a scan of 4-bit codes, in batches half of it or less,
which is worth its memory. Among ten thousand single queries take about as long."""
SURE = 0.99
"""Recall from which on a graph has to look farther, and less surely finds enough."""
SURE_VECTORS = 40_000
"""Vectors from which on a walk is quicker than a scan of codes even so, on whatever processor: among fewer the scan is
where instructions are wide."""
LINKS = 32
"""Neighbours of a node of a graph; twice as many on its lowest level. With fewer a walk among some ten thousand is
quicker, but among a million it has to look farther for as much, and takes longer."""
PQ_DIMENSIONS = 8
"""Dimensions must be a multiple of it for 4-bit codes of 4 dimensions each, two to a byte."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A kind of index and why it was chosen."""

    kind: Kind
    reason: str


def choose(count: int, dimension: int, memory_budget: int, recall: float | None) -> Choice:
    """The kind for `count` vectors of which `recall` (None: all) of the nearest shall be found.

    `memory_budget` is the most bytes that the index may take.
    """
    if recall is None:
        return Choice("exact", "everything that is nearest shall be found")
    if count * dimension <= EXACT_NUMBERS:
        return Choice("exact", f"{count:,} vectors are so few that all are compared")
    coded = dimension % PQ_DIMENSIONS == 0
    least = SURE_VECTORS if recall >= SURE else GRAPH_VECTORS
    if coded and count < least:
        return Choice("pq", f"{count:,} vectors are few enough for a scan of 4-bit codes")
    return _graph(count, dimension, memory_budget, coded)


def _graph(count: int, dimension: int, memory_budget: int, coded: bool) -> Choice:
    large, small = (bytes_of(kind, count, dimension) for kind in ("hnsw", "hnsw-sq8"))
    budget = f"the memory budget of {memory_budget:,} bytes"
    if large <= memory_budget:
        return Choice("hnsw", f"{count:,} vectors are many, and a graph over them takes {large:,} bytes")
    if small <= memory_budget:
        return Choice("hnsw-sq8", f"of graphs over {count:,} vectors, one of 8-bit codes is within {budget}")
    last: Kind = "pq" if coded else "exact"
    least = f"any graph over {count:,} vectors takes more than {budget}, and this {bytes_of(last, count, dimension):,}"
    return Choice(last, least if coded else f"{dimension} dimensions allow no 4-bit codes; {least}")


def bytes_of(kind: Kind, count: int, dimension: int) -> int:
    """About how much an index takes, on disk and in memory."""
    graph = 4 * (2 * LINKS + 4)
    each = {
        "exact": 2 * dimension,
        "pq": dimension // 8 + 8,
        "hnsw": 2 * dimension + graph,
        "hnsw-sq8": dimension + graph,
    }
    return count * each[kind]


def in_turn(choice: Choice, dimension: int) -> Iterator[Choice]:
    """The choice, and what is built where that finds too little: 4-bit codes, then the exact scan."""
    yield choice
    if choice.kind in ("hnsw", "hnsw-sq8") and dimension % PQ_DIMENSIONS == 0:
        yield Choice("pq", f"{choice.kind} found too little")
    if choice.kind != "exact":
        yield Choice("exact", "no other kind found enough")
