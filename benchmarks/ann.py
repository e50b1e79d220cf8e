"""Does a search find what it promises, as fast as FAISS allows, at ten thousand to a million passages?

Collections of several sizes are written as a run writes them, from vectors alone, each item one passage (`_indexed`).
Then, in one process, queries by vector take turns: `nearest` as the service calls it, and FAISS alone on the same index
files with the same effort (`_beside`). What counts is the ratio of the two, which bears a machine that is not idle
better than rates do. Single queries are answered by one thread, batches of 32 by all cores.

    python -m benchmarks.ann [--sizes 10000 100000 1000000] [--dimension 256] [--keep DIR] [--figures FILE]
    python -m benchmarks.ann --store DIR [--data FILE] [--figures FILE]

Recall at 10 is that of an exact search beside it, at most 2e-6 less similar being as near. A request may ask for more
than the collection promises, and for everything, beside which stands FAISS's flat index of the same vectors. Filters
let 1 %, 10 % and 50 % of the items pass; beside them stands FAISS with a bitmap of these items, and what it finds so.
Vectors are made up (`_vectors`), those of a file of numpy's (`--vectors`), or those of the store that `http` asks
(`--store`), real ones where it was made of texts. Memory is the proportional set size (PSS) of the mapped indexes and
vectors after all queries. A figure is the median of four rounds of queries. With code 1 it leaves where a recall is
more than a hundredth below its promise.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np

from benchmarks import stores
from benchmarks._beside import LIMIT, SHARES, by_round, flat, in_turn, on_files, recall_beside, recall_of
from benchmarks._indexed import SCHEMA, build, made
from benchmarks._machine import mapped
from benchmarks._vectors import from_file
from benchmarks.figures import Aim, Figure, add_option, figure, told
from indexer import filters
from indexer.config import MEMORY_BUDGET
from indexer.search import Asked, nearest
from indexer.segment import ANN, VECTORS
from indexer.snapshot import Snapshot, open_newest
from indexer.together import nearest_each
from indexer.vectors import Vectors

TOGETHER = 32
ROUNDS = 4
MORE_RECALL = (0.99, 1.0)
"""What a request may ask for besides, where the collection promises less; the last of them by proof."""
EXACT_QUERIES = 4 * TOGETHER
"""Fewer, as every vector is looked at for each."""
TOLERANCE = 0.01
"""By how much some hundred queries may find less than is found on average."""
MILLION = 1_000_000
FEWER_STEPS = (
    "among few passages FAISS takes no longer than the steps around it, some thirty calls of numpy that pick what may "
    "be on the page, compare it exactly and order it; next would be the same in compiled code"
)
ONE_THREAD = (
    "FAISS uses all cores, and one then picks, compares exactly and orders what was found; two threads of Python took "
    "longer, as they wait for each other between calls of numpy; next would be the same in compiled code"
)
THE_WALK = (
    "one graph is walked, and most of the time is FAISS's own, see what is beside it; next would be fewer bytes a node"
)
AIMS = {
    "single, of bare FAISS": Aim("at least", 0.5, FEWER_STEPS),
    "batches, of bare FAISS": Aim("at least", 0.8, ONE_THREAD),
}
AIMS_OF_A_MILLION = {
    "single": Aim("at least", 1_500, THE_WALK),
    "recall": Aim("at least", 0.95),
    f"batches of {TOGETHER}": Aim("at least", 3_000, THE_WALK),
    "recall in batches": Aim("at least", 0.95),
    "index, of the vectors": Aim("at most", 0.8),
}
AIMS |= AIMS_OF_A_MILLION
COMPACT = "compact index, of the vectors"
AIMS[COMPACT] = Aim("at most", 0.6)


@dataclass(frozen=True)
class Size:
    """One collection, and how its figures are called."""

    name: str
    """Of its vectors."""
    snapshot: Snapshot
    queries: Vectors
    target: float

    @property
    def count(self) -> int:
        """Of passages."""
        return self.snapshot.generation.counts.passages

    @property
    def compact(self) -> bool:
        """Whether its indexes are to take less memory than they would."""
        entries = [entry.index for entry in self.snapshot.generation.segments if entry.index]
        return any(entry.memory_budget < MEMORY_BUDGET for entry in entries)

    def figure(self, group: str, column: str, values: Sequence[float], unit: str = "", wanted: str = "") -> Figure:
        """A figure with its aim, where one of this size has one; none has where other than the target is `wanted`."""
        aim = AIMS.get(column) if self.count >= MILLION or column not in AIMS_OF_A_MILLION else None
        entries = [entry.index.kind if entry.index else "exact" for entry in self.snapshot.generation.segments]
        what = f"{self.count:,} passages, {wanted or ' and '.join(sorted(set(entries)))}"
        return figure(f"{group}, {self.name}", what, column, values, unit, None if wanted else aim)


def measure(size: Size, recall: float | None = None) -> tuple[list[Figure], float]:
    """Single queries and batches, and the least recall: of what the collection promises, or of more.

    Beside a recall of 1, which is proven, stands FAISS's flat index of the vectors.
    """
    exact = recall == 1
    group, wanted = ("Queries", "") if recall is None else ("Other recalls", "everything" if exact else f"{recall:g}")
    bare = flat(size.snapshot) if exact else on_files(size.snapshot, recall)
    rows = [
        size.queries[at : at + 1] for at in range(min(len(size.queries), EXACT_QUERIES) if exact else len(size.queries))
    ]
    together = [Asked(row, LIMIT, recall=None if exact else recall, exact=exact) for row in rows]
    best = nearest_each(size.snapshot, [replace(one, exact=True) for one in together])
    every = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    single = in_turn(
        lambda turn: nearest(size.snapshot, together[turn]), lambda turn: bare.search(rows[turn]), len(rows)
    )
    found = recall_of([nearest(size.snapshot, one) for one in together], best)
    faiss.omp_set_num_threads(every)

    def batch(turn: int) -> slice:
        return slice(turn * TOGETHER, (turn + 1) * TOGETHER)

    batches = in_turn(
        lambda turn: nearest_each(size.snapshot, together[batch(turn)]),
        lambda turn: bare.search(size.queries[batch(turn)]),
        len(rows) // TOGETHER,
    )
    in_batches = recall_of(nearest_each(size.snapshot, together), best)
    seen = [
        *_speed(single, 1, "single", "single, of bare FAISS"),
        ("recall", [found], ""),
        *_speed(batches, TOGETHER, f"batches of {TOGETHER}", "batches, of bare FAISS"),
        ("recall in batches", [in_batches], ""),
    ]
    return [size.figure(group, *one, wanted=wanted) for one in seen], min(found, in_batches)


def _speed(seconds: tuple[list[float], ...], each: int, name: str, beside: str) -> list[tuple[str, list[float], str]]:
    """The rate and the ratio of each round, with their names and units."""
    ours, bare = (by_round(some, ROUNDS) for some in seconds)
    ratios = [theirs / mine for mine, theirs in zip(ours, bare, strict=True)]
    return [(name, [each / mine for mine in ours], "queries/s"), (beside, ratios, "")]


def filtered(size: Size, share: int) -> tuple[list[Figure], float]:
    """Single queries with a filter that so many of a hundred items pass, and their recall.

    Beside them stands FAISS with a bitmap of these items, on the same files and asked as hard, with what that finds.
    """
    tree = filters.parse({"share": {"$lt": share}}, SCHEMA)
    queries = size.queries[: min(EXACT_QUERIES, len(size.queries))]
    rows = [queries[at : at + 1] for at in range(len(queries))]
    asked = [Asked(row, LIMIT, filter=tree) for row in rows]
    bare = on_files(size.snapshot, share=share)
    best = [nearest(size.snapshot, replace(one, exact=True)) for one in asked]
    every = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    single = in_turn(lambda turn: nearest(size.snapshot, asked[turn]), lambda turn: bare.search(rows[turn]), len(rows))
    faiss.omp_set_num_threads(every)
    found = recall_of([nearest(size.snapshot, one) for one in asked], best)
    theirs = recall_beside(bare, size.snapshot, queries, best)
    seen = [
        *_speed(single, 1, "single", "single, of bare FAISS"),
        ("recall", [found], ""),
        ("recall of bare FAISS", [theirs], ""),
    ]
    return [size.figure("With filters", *one, wanted=f"{share} % pass") for one in seen], found


def report(size: Size, file: Path | None) -> bool:
    """Measure and print one collection; whether the promise is kept."""
    generation = size.snapshot.generation
    contract = generation.contract
    wholes = {w.limit: (w.figure.recall, w.filtered.recall) for w in contract.wholes} if contract else {}
    print(f"\n{size.count:,} passages, {len(generation.segments)} segments")
    print(f"  contract by limit (recall, recall with a filter): {wholes or 'exact'}")
    seen, worst = measure(size)
    for more in MORE_RECALL:
        if more > size.target:
            figures, found = measure(size, more)
            seen += figures
            worst = min(worst, found - (more - size.target))
    for share in SHARES:
        figures, found = filtered(size, share)
        seen += figures
        worst = min(worst, found)
    vectors = 4 * size.count * generation.fingerprint.dimension
    index = COMPACT if size.compact else "index, of the vectors"
    for name, file_name in ((index, ANN), ("vectors, of the vectors", VECTORS)):
        seen.append(size.figure("Mapped memory (PSS)", name, [mapped(file_name) / vectors]))
    told(file, seen)
    return worst >= size.target - TOLERANCE


def sizes(options: argparse.Namespace, temporary: Path) -> Iterator[Size]:
    """One collection after the other, as the options have them."""
    if options.store:
        asked = stores.make(options.store, options.data, options.items, options.queries)
        contract = asked.snapshot.generation.contract
        yield Size("the store that is asked", asked.snapshot, asked.vectors, (contract and contract.target) or 0.0)
        return
    for count in options.sizes:
        if options.vectors:
            dimension = np.load(options.vectors, mmap_mode="r").shape[1]
            blocks = from_file(options.vectors, count + options.queries)
            one = build(temporary / str(count), blocks, count, dimension, options.recall, options.budget)
            name = f"{dimension} dimensions of {options.vectors.name}"
        else:
            like = options.dimension, options.recall, options.queries, options.budget
            one = made(options.keep or temporary, count, *like)
            name = f"{options.dimension} dimensions, made up"
        if options.budget != MEMORY_BUDGET:
            name += f", {options.budget:g} of the vectors' memory"
        print(f"{count:,} passages: built and tuned in {one.seconds:.0f} s")
        yield Size(name, open_newest(one.folder), one.queries[-options.queries :], options.recall)


def main() -> int:
    """Write and measure every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=(10_000, 100_000, MILLION))
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--recall", type=float, default=0.95)
    budget = "most that an index may take, as a share of the vectors (default: %(default)s)"
    parser.add_argument("--budget", type=float, default=MEMORY_BUDGET, help=budget)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--vectors", type=Path, help="a file of numpy's with one vector a row")
    parser.add_argument("--store", type=Path, help="take the store of `http`, made as it makes it unless it is there")
    parser.add_argument("--data", type=Path, help="what that is made of, as there")
    parser.add_argument("--items", type=int, default=39_000, help="of it, at most (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="keep made-up stores here, and take those that are there")
    add_option(parser)
    options = parser.parse_args()
    kept = True
    with tempfile.TemporaryDirectory(prefix="parecido-") as temporary:
        for size in sizes(options, Path(temporary)):
            kept &= report(size, options.figures)
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
