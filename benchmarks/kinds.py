"""Is the kind of index that is chosen the quickest that finds enough?

Made-up vectors (`_vectors`) of several numbers are written with each kind, whatever would be chosen, and tuned to the
same recall; then all kinds of one number are asked in turns as the service asks, by vector alone, for the ten nearest.
Single queries are answered by one thread, batches of 32 by all cores. So the borders of `indexer/ann/choice.py` can be
seen where they were measured. A kind that finds too little at every effort gives way to the exact one, as in a run, and
is not shown.

    python -m benchmarks.kinds [--sizes 5000 10000 20000 40000 100000] [--recalls 0.95 0.99] [--dimension 256]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import faiss

from benchmarks._beside import LIMIT, recall_of
from benchmarks._indexed import Made, build
from benchmarks._vectors import made_up
from benchmarks.figures import Figure, add_option, figure, told
from indexer.ann import Choice, Kind, building, choose
from indexer.config import MEMORY_BUDGET
from indexer.search import Asked, nearest
from indexer.segment import ANN
from indexer.snapshot import Snapshot, open_newest
from indexer.together import nearest_each

KINDS: tuple[Kind, ...] = ("exact", "pq", "hnsw")
TOGETHER = 32
ROUNDS = 4


@dataclass(frozen=True)
class Tried:
    """An index of one kind and what it takes to build and to ask it."""

    kind: Kind
    chosen: bool
    made: Made
    snapshot: Snapshot
    asked: Sequence[Asked]

    def single(self) -> float:
        """Queries a second, one after the other, by one thread."""
        every = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            return self._rate(lambda: [nearest(self.snapshot, one) for one in self.asked])
        finally:
            faiss.omp_set_num_threads(every)

    def batches(self) -> float:
        """The same together, by all cores."""
        starts = range(0, len(self.asked), TOGETHER)
        return self._rate(lambda: [nearest_each(self.snapshot, self.asked[at : at + TOGETHER]) for at in starts])

    def recall(self) -> float:
        """The share of the nearest that is found."""
        best = nearest_each(self.snapshot, [replace(one, exact=True) for one in self.asked])
        return recall_of([nearest(self.snapshot, one) for one in self.asked], best)

    def _rate(self, ask: Callable[[], object]) -> float:
        began = time.perf_counter()
        ask()
        return len(self.asked) / (time.perf_counter() - began)


def tried(folder: Path, count: int, dimension: int, recall: float, queries: int) -> Iterator[Tried]:
    """So many vectors in an index of each kind that finds enough."""
    chosen = choose(count, dimension, round(MEMORY_BUDGET * 4 * count * dimension), recall).kind
    for kind in KINDS:
        with patch.object(building, "choose", return_value=Choice(kind, "it is tried")):
            made = build(folder / kind, made_up(count + queries, dimension), count, dimension, recall)
        snapshot = open_newest(made.folder)
        if {entry.index.kind for entry in snapshot.generation.segments if entry.index} == {kind}:
            rows = made.queries[-queries:]
            asked = [Asked(rows[at : at + 1], LIMIT) for at in range(len(rows))]
            yield Tried(kind, kind == chosen, made, snapshot, asked)


def measure(each: Sequence[Tried], count: int, group: str) -> list[Figure]:
    """What each kind comes to; they take turns."""
    rounds = [[(one.single(), one.batches()) for one in each] for _ in range(ROUNDS)]
    seen = []
    for at, one in enumerate(each):
        what = f"{count:,} vectors, {one.kind}{' (chosen)' if one.chosen else ''}"
        index = sum((part.segment.folder / ANN).stat().st_size for part in one.snapshot.segments)
        singles, batches = zip(*(seconds[at] for seconds in rounds), strict=True)
        seen += [
            figure(group, what, "single", singles, "queries/s"),
            figure(group, what, f"batches of {TOGETHER}", batches, "queries/s"),
            figure(group, what, "recall", [one.recall()]),
            figure(group, what, "built in", [one.made.seconds], "s"),
            figure(group, what, "index, a vector", [index / count], "bytes"),
        ]
    return seen


def main() -> int:
    """Measure every number and every recall."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=(5_000, 10_000, 20_000, 40_000, 100_000))
    parser.add_argument("--recalls", type=float, nargs="+", default=(0.95, 0.99))
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--queries", type=int, default=256)
    add_option(parser)
    options = parser.parse_args()
    for recall in options.recalls:
        for count in options.sizes:
            with tempfile.TemporaryDirectory(prefix="parecido-") as folder:
                each = [*tried(Path(folder), count, options.dimension, recall, options.queries)]
                group = f"Kinds, recall {recall:g}, {options.dimension} dimensions, made up"
                told(options.figures, measure(each, count, group))
    return 0


if __name__ == "__main__":
    sys.exit(main())
