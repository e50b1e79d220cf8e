"""Does a collection that was kept up by many small runs answer as fast as one that was built at once?

Made-up items are indexed; then each small run adds two, changes two and removes one, anywhere. The store that this
leaves stands beside one that is built from the same rows at once: both must give the same hits where all are to be
found, the first from at most 12 segments, and it may take at most 1.3 times as long for a query as people ask it. It
leaves with code 1 where one of these fails.

    python -m benchmarks.small_runs [--items 10000] [--runs 1000] [--queries 1000] [--dir FOLDER]

No data is needed. A stub stands in the model's place, as in `memory`, and queries are vectors, so that what is timed is
the search alone. Each query is put to both stores, one right after the other, and another one first each time; a figure
is the median of all queries, and the ratio that of the two medians. How much is found of what is nearest is a matter of
each index; what is compared is asked for once more, and exactly.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import orjson

from benchmarks.figures import Aim, add_option, append, figure
from benchmarks.memory import DIMENSION, WORDS, StubModel
from indexer import models
from indexer.build import build
from indexer.config import CollectionSettings
from indexer.progress import progress
from indexer.queries import Query, search
from indexer.report import Report
from indexer.snapshot import Snapshot, open_newest
from indexer.storage import collection_folder

COLLECTION = "small"
MOST_SEGMENTS = 12
LIMIT = 1.3
GROUP = "After many small runs, beside a fresh build"
AIMS = {
    "segments": Aim("at most", MOST_SEGMENTS),
    "with other hits": Aim("at most", 0),
    "median time, ratio": Aim(
        "at most",
        LIMIT,
        "a second segment, however small, is asked and compared by calls of its own to FAISS and numpy, which weigh "
        "the more the sooner a fresh index answers; next would be one comparison for all",
    ),
}
FILTERS: Mapping[str, Any] = {"no filter": None, "a filter": {"year": {"$gte": 2013}}}

Row = dict[str, Any]


@dataclass(frozen=True)
class Stores:
    """The same rows, twice."""

    after: Snapshot
    """Kept up by small runs."""
    fresh: Snapshot
    """Built at once."""


class Source:
    """Made-up products that are edited a little before each run."""

    def __init__(self, path: Path, count: int) -> None:
        self._path, self._made = path, random.Random(count)
        self._next = 0
        self._rows = [self._row() for _ in range(count)]

    def edit(self) -> None:
        """Two more items, two others changed, one gone."""
        rows = self._rows
        rows += [self._row(), self._row()]
        for _ in range(2):
            at = self._made.randrange(len(rows))
            rows[at] = {**self._row(), "id": rows[at]["id"]}
        rows.pop(self._made.randrange(len(rows)))

    def settings(self) -> CollectionSettings:
        """A run over the rows as they are now, which are written down for it."""
        self._path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in self._rows))
        return CollectionSettings(source=(str(self._path),), keep_generations=1, keep_days=0)

    def _row(self) -> Row:
        self._next += 1
        text = f"{' '.join(self._made.choices(WORDS, k=8))}, model {self._next}"
        return {"id": f"item-{self._next:09d}", "text": text, "year": 2000 + self._next % 26}


def make(folder: Path, count: int, runs: int) -> Stores:
    """Both stores."""
    model = StubModel()
    models.identify = lambda *_: model.fingerprint
    models.load = lambda *_: model
    source = Source(folder / "items.jsonl", count)
    most, began = 0, time.monotonic()
    for run in range(runs + 1):
        report = _run(source, folder / "after")
        most = max(most, report.segments.after)
        if run and run % 100 == 0:
            print(f"{run} small runs: {report.segments.after} segments, {time.monotonic() - began:.0f} s", flush=True)
        if run < runs:
            source.edit()
    _run(source, folder / "fresh")
    print(f"most segments after any run: {most}")
    return Stores(*(open_newest(collection_folder(folder / name, COLLECTION)) for name in ("after", "fresh")))


def _run(source: Source, store: Path) -> Report:
    return build(store, COLLECTION, source.settings(), progress(COLLECTION))


def no_model() -> NoReturn:
    """What a query by vector has for a model."""
    raise AssertionError("a search by vector needs no model")


def ask(snapshot: Snapshot, vector: Sequence[float], filter: Any) -> tuple[float, list[tuple[str, float]]]:
    """Seconds of a search, and the hits of an exact one."""
    began = time.perf_counter()
    search(snapshot, no_model, Query(vector=vector, filter=filter))
    seconds = time.perf_counter() - began
    hits = search(snapshot, no_model, Query(vector=vector, filter=filter, exact=True))["hits"]
    return seconds, [(hit["id"], hit["similarity"]) for hit in hits]


def compare(stores: Stores, count: int, filter: Any) -> tuple[float, float, int]:
    """Both medians in seconds, and how many queries had other hits."""
    vectors = np.random.default_rng(count).standard_normal((count, DIMENSION)).tolist()
    seconds: dict[str, list[float]] = {"after": [], "fresh": []}
    different = 0
    for turn, vector in enumerate(vectors):
        answers = {}
        for name in ("after", "fresh") if turn % 2 else ("fresh", "after"):
            taken, answers[name] = ask(getattr(stores, name), vector, filter)
            seconds[name].append(taken)
        different += answers["after"] != answers["fresh"]
    return statistics.median(seconds["after"]), statistics.median(seconds["fresh"]), different


def main() -> int:
    """Make both stores and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000, help="of the first run (default: 10000)")
    parser.add_argument("--runs", type=int, default=1_000, help="small ones after it (default: 1000)")
    parser.add_argument("--queries", type=int, default=1_000, help="of each kind (default: 1000)")
    parser.add_argument("--dir", type=Path, help="folder for both stores (default: a temporary one)")
    add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parecido-", dir=options.dir) as folder:
        stores = make(Path(folder), options.items, options.runs)
        segments = [len(each.segments) for each in (stores.after, stores.fresh)]
        print(f"{stores.after.generation.counts.items:,} items; segments: {segments[0]} after, {segments[1]} fresh")
        failed = segments[0] > MOST_SEGMENTS
        for name, filter in FILTERS.items():
            compare(stores, options.queries // 10, filter)  # so that both are warm
            after, fresh, different = compare(stores, options.queries, filter)
            print(
                f"{name}: {after * 1e3:.3f} ms after, {fresh * 1e3:.3f} ms fresh, ratio {after / fresh:.2f}; "
                f"{different} of {options.queries} queries had other hits"
            )
            values = {"with other hits": different, "median time, ratio": after / fresh, "segments": segments[0]}
            seen = [figure(GROUP, f"queries, {name}", what, [value], "", AIMS[what]) for what, value in values.items()]
            append(options.figures, seen)
            failed |= different > 0 or after / fresh > LIMIT
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
