"""Does a search find what it promises, as fast as FAISS allows, at ten thousand to a million passages?

Collections of several sizes are written as a run writes them, from vectors alone, each item one passage: the kinds of
index, their tuning and the contract are the project's own. Then, in one process, queries by vector take turns:
`nearest` as the service calls it, and FAISS alone on the same index files with the same effort: candidates of 4-bit
codes are refined by half-precision codes (IndexRefine), and nothing is rescored, filtered or folded. What counts is the
ratio of the two, which bears a machine that is not idle better than rates do.

    python -m benchmarks.ann [--sizes 10000 40000 300000 1000000] [--dimension 384] [--vectors FILE.npy] [--dir FOLDER]

Recall at 10 is that of an exact search beside it, at most 2e-6 less similar being as near. Vectors are those of the
file, as many as there are, or made up: clusters of uneven size (Zipf) around centres in 64 dimensions, spread along 24
directions in each, and noise in all. Memory is the proportional set size (PSS) of the mapped indexes and vectors after
all queries. With code 1 it leaves where a recall is more than a hundredth below its promise.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa

from benchmarks._vectors import from_file, made_up
from indexer import ann, filters, storage
from indexer import generation as generations
from indexer.columns import item_schema, to_hashes
from indexer.config import PassageSettings
from indexer.generation import Counts, Generation
from indexer.items import FieldType, hash_id
from indexer.models import Fingerprint
from indexer.recall import agreed
from indexer.report import Stopwatch
from indexer.search import Asked, Scored, nearest
from indexer.segment import ANN
from indexer.snapshot import Snapshot
from indexer.storage import CollectionFolder, collection_folder
from indexer.together import nearest_each
from indexer.vectors import Vectors
from indexer.writing import Rows, SegmentShape, write_segments

SCHEMA = {"share": FieldType.INTEGER}
SHARES = (1, 10, 50)
LIMIT = 10
TOGETHER = 32
NEAR = 2e-6
TOLERANCE = 0.01
"""By how much some hundred queries may find less than is found on average."""


def _rows(first: int, vectors: Vectors, rng: np.random.Generator) -> Rows:
    ids = [f"item-{first + at:09d}" for at in range(len(vectors))]
    hashes = to_hashes(map(hash_id, ids))
    ones = np.ones(len(ids), np.uint32)
    digests = pa.array([b"\0" * 16] * len(ids), pa.binary(16))
    columns = {
        "id": pa.array(ids),
        "content": digests,
        "metadata.share": pa.array(rng.integers(100, size=len(ids)), pa.int64()),
    }
    items = pa.record_batch(columns, schema=item_schema(SCHEMA, store_text=False))
    starts, ends = pa.array(0 * ones), pa.array(ones)
    return Rows(hashes, 0 * hashes, items, ones.astype(np.int64), starts, ends, digests, [vectors])


def write(folder: CollectionFolder, blocks: Iterator[Vectors], dimension: int, recall: float | None) -> Snapshot:
    """Publish the vectors as the first generation of a collection."""
    rng, first = np.random.default_rng(1), 0

    def batches() -> Iterator[Any]:
        nonlocal first
        for block in blocks:
            for start in range(0, len(block), 4096):
                some = block[start : start + 4096]
                yield _rows(first, some, rng)
                first += len(some)

    shape = SegmentShape(1, SCHEMA, dimension, store_text=False, recall=recall)
    with storage.lock(folder):
        scratch = storage.add_folder(folder.runs / "one")
        entries = write_segments(batches(), shape, scratch, folder, Stopwatch())
        generation = Generation(
            number=1,
            collection=folder.name,
            created_at=datetime.now(UTC),
            fingerprint=Fingerprint("none", "none", "1", dimension, "", "", "none", True),
            device=None,
            schema=SCHEMA,
            passages=PassageSettings(),
            store_text=False,
            segments=tuple(entries),
            deleted={},
            counts=Counts(first, first),
        )
        generation = replace(generation, contract=agreed(entries, recall))
        generations.publish(folder, generation)
    return Snapshot(folder, generation)


class Bare:
    """FAISS alone on the index files of a snapshot, asked as hard as the project asks them."""

    def __init__(self, snapshot: Snapshot) -> None:
        contract = snapshot.generation.contract
        each = contract.target if contract else None
        self._asked = []
        for part in snapshot.segments:
            entry = part.segment.entry
            effort = ann.effort_for(entry.index, LIMIT, each)
            index = faiss.read_index(str(part.segment.folder / ANN), faiss.IO_FLAG_MMAP_IFC)
            kind = entry.index.kind if entry.index else "exact"
            if effort is None or kind == "exact":
                index = faiss.downcast_index(index.storage) if kind.startswith("hnsw") else index
                self._asked.append((index, LIMIT, None))
            elif kind == "pq":
                self._asked.append(_refining(index, np.asarray(part.segment.vectors), effort))
            else:
                self._asked.append((index, LIMIT, faiss.SearchParametersHNSW(efSearch=max(effort, LIMIT))))

    def search(self, queries: Vectors) -> Any:
        """The best figures of all segments."""
        found = [index.search(queries, count, params=how)[0] for index, count, how in self._asked]
        every = np.concatenate(found, axis=1)
        return -np.sort(-every, axis=1)[:, :LIMIT]


def _refining(codes: faiss.Index, vectors: Vectors, effort: int) -> tuple[faiss.Index, int, Any]:
    """4-bit codes whose candidates are compared by codes of half precision."""
    half = faiss.IndexScalarQuantizer(codes.d, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    half.add(vectors)
    index = faiss.IndexRefine(codes, half)
    one_list = faiss.IVFSearchParameters(nprobe=1)
    return index, LIMIT, faiss.IndexRefineSearchParameters(k_factor=effort / LIMIT, base_index_params=one_list)


@dataclass(frozen=True)
class Measured:
    """Seconds a query, and what was found."""

    ours: float
    bare: float
    recall: float


def in_turn(first: Callable[[int], object], second: Callable[[int], object], turns: int) -> tuple[float, float]:
    """The median seconds of two acts that take turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for at in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            (first, second)[at](turn)
            seconds[at].append(time.perf_counter() - began)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def recall_of(found: list[list[Scored]], best: list[list[Scored]]) -> float:
    """The share of the nearest that was found."""
    shares = [
        sum(one.similarity >= nearest[-1].similarity - NEAR for one in hits) / len(nearest)
        for hits, nearest in zip(found, best, strict=True)
        if nearest
    ]
    return statistics.fmean(shares) if shares else 1.0


def measure(snapshot: Snapshot, queries: Vectors) -> tuple[Measured, Measured]:
    """Single queries, each answered by one thread, and batches with all cores."""
    bare = Bare(snapshot)
    rows = [queries[at : at + 1] for at in range(len(queries))]
    together = [Asked(row, LIMIT) for row in rows]
    best = nearest_each(snapshot, [replace(one, exact=True) for one in together])
    every = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    ours, theirs = in_turn(
        lambda turn: nearest(snapshot, together[turn]), lambda turn: bare.search(rows[turn]), len(rows)
    )
    single = Measured(ours, theirs, recall_of([nearest(snapshot, one) for one in together], best))
    faiss.omp_set_num_threads(every)
    turns = len(rows) // TOGETHER

    def batch(turn: int) -> slice:
        return slice(turn * TOGETHER, (turn + 1) * TOGETHER)

    ours, theirs = in_turn(
        lambda turn: nearest_each(snapshot, together[batch(turn)]),
        lambda turn: bare.search(queries[batch(turn)]),
        turns,
    )
    found = nearest_each(snapshot, together)
    return single, Measured(ours / TOGETHER, theirs / TOGETHER, recall_of(found, best))


def filtered(snapshot: Snapshot, queries: Vectors, share: int) -> tuple[float, float]:
    """Seconds a query with a filter that so many of a hundred items pass, and the recall."""
    tree = filters.parse({"share": {"$lt": share}}, SCHEMA)
    asked = [Asked(queries[at : at + 1], LIMIT, filter=tree) for at in range(min(100, len(queries)))]
    best = [nearest(snapshot, replace(one, exact=True)) for one in asked]
    seconds, found = [], []
    for one in asked:
        began = time.perf_counter()
        found.append(nearest(snapshot, one))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), recall_of(found, best)


def mapped(name: str) -> int:
    """Bytes of the PSS of mapped files of that name; 0 where the system does not tell."""
    smaps = Path("/proc/self/smaps")
    total, wanted = 0, False
    for line in smaps.read_text().splitlines() if smaps.exists() else ():
        if "-" in line.split(" ", 1)[0]:
            wanted = line.endswith(name)
        elif wanted and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total


def report(count: int, snapshot: Snapshot, build: float, queries: Vectors) -> bool:
    """Measure and print one size; whether the promise is kept."""
    generation = snapshot.generation
    kinds = [entry.index.kind if entry.index else "exact" for entry in generation.segments]
    size = sum(entry.files[ANN].bytes for entry in generation.segments) / generation.counts.passages
    wholes = {w.limit: (w.figure.recall, w.filtered.recall) for w in generation.contract.wholes}
    print(f"\n{count:,} passages: {', '.join(kinds)}; built and measured in {build:.0f} s, {size:.0f} bytes each")
    print(f"  contract by limit (recall, recall with a filter): {wholes or 'exact'}")
    kept = True
    for what, one in zip(("single", f"batch of {TOGETHER}"), measure(snapshot, queries), strict=True):
        kept &= generation.contract.target is None or one.recall >= generation.contract.target - TOLERANCE
        print(f"  {what}: {1 / one.ours:,.0f}/s at recall {one.recall:.4f}, {one.bare / one.ours:.2f} of bare FAISS")
    for share in SHARES:
        seconds, recall = filtered(snapshot, queries, share)
        kept &= generation.contract.target is None or recall >= generation.contract.target - TOLERANCE
        print(f"  {share} % pass: {1 / seconds:,.0f}/s at recall {recall:.4f}")
    vectors = 4 * generation.counts.passages * generation.fingerprint.dimension
    shares = ", ".join(f"{name} {mapped(name) / vectors:.2f}" for name in (ANN, "vectors.f32"))
    print(f"  PSS as a share of the vectors: {shares}", flush=True)
    return kept


def main() -> int:
    """Write and measure every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=(10_000, 40_000, 300_000, 1_000_000))
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--vectors", type=Path, help="a file of numpy's with one vector a row")
    parser.add_argument("--dir", type=Path, help="folder for the stores (default: a temporary one)")
    options = parser.parse_args()
    kept = True
    for count in options.sizes:
        with tempfile.TemporaryDirectory(prefix="parecido-", dir=options.dir) as store:
            dimension = np.load(options.vectors, mmap_mode="r").shape[1] if options.vectors else options.dimension
            held = count + options.queries
            blocks = list(from_file(options.vectors, held)) if options.vectors else made_up(held, dimension)
            kept &= _one(Path(store), iter(blocks), dimension, count, options.recall, options.queries)
    return int(not kept)


def _one(store: Path, blocks: Iterator[Vectors], dimension: int, count: int, recall: float, asked: int) -> bool:
    """One size; its last vectors are not indexed, but asked with."""
    queries: list[Vectors] = []

    def indexed() -> Iterator[Vectors]:
        left = count
        for block in blocks:
            yield block[:left]
            queries.append(block[left:])
            left = max(0, left - len(block))

    folder = collection_folder(store, "made-up")
    for one in (folder.path, folder.segments, folder.generations, folder.runs):
        storage.make_folder(one)
    began = time.monotonic()
    snapshot = write(folder, (block for block in indexed() if len(block)), dimension, recall)
    return report(count, snapshot, time.monotonic() - began, np.concatenate(queries)[-asked:])


if __name__ == "__main__":
    sys.exit(main())
