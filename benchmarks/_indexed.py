"""How do vectors alone become a collection as a run writes it?

Each item is one passage without a text; the kinds of index, their tuning and the contract are the project's own.
`share`, a number from 0 to 99, lets a filter pass any share of the items.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from benchmarks._machine import Sampler
from benchmarks._vectors import made_up
from indexer import generation as generations
from indexer import storage
from indexer.columns import item_schema, to_hashes
from indexer.config import MEMORY_BUDGET, PassageSettings
from indexer.generation import Counts, Generation
from indexer.items import FieldType, hash_id
from indexer.models import Fingerprint
from indexer.recall import agreed
from indexer.report import Stopwatch
from indexer.storage import CollectionFolder, collection_folder
from indexer.vectors import Vectors
from indexer.writing import Rows, SegmentShape, write_segments

COLLECTION = "made-up"
SCHEMA = {"share": FieldType.INTEGER}
QUERIES = "queries.npy"
BUILT = "built.json"
"""Written last, so that a store which has it is whole."""


@dataclass(frozen=True)
class Made:
    """A store with one collection of vectors, and what to ask it."""

    store: Path
    queries: Vectors
    """Of the same kind as what is stored, and not stored."""
    seconds: float
    """That building took, from vectors on."""
    peak: int | None
    """Most memory of its own that the process which built it held, in bytes; None where it cannot be seen."""

    @property
    def folder(self) -> CollectionFolder:
        """Of the collection."""
        return collection_folder(self.store, COLLECTION)


def made(
    folder: Path, count: int, dimension: int, recall: float, queries: int, memory_budget: float = MEMORY_BUDGET
) -> Made:
    """So many made-up vectors and queries, built by a process of their own, or those that are in the folder already."""
    store = folder / f"made-up-{dimension}-{count}-{recall:g}-{queries}-{memory_budget:g}"
    if not (store / BUILT).exists():
        shutil.rmtree(store, ignore_errors=True)
        how = map(str, (count, dimension, recall, queries, memory_budget))
        subprocess.run([sys.executable, "-m", "benchmarks._indexed", str(store), *how], check=True)
    return Made(store, np.load(store / QUERIES), **orjson.loads((store / BUILT).read_bytes()))


def build(
    store: Path,
    blocks: Iterator[Vectors],
    count: int,
    dimension: int,
    recall: float | None,
    memory_budget: float = MEMORY_BUDGET,
) -> Made:
    """A store of so many vectors; what is left of them is what is asked."""
    left: list[Vectors] = []
    seconds = 0.0

    def indexed() -> Iterator[Vectors]:
        nonlocal seconds
        wanted = count
        began = time.perf_counter()
        for block in blocks:
            seconds -= time.perf_counter() - began  # to make them up is no part of building
            if wanted:
                yield block[:wanted]
            left.append(block[wanted:].copy())  # a view would hold the whole block
            wanted = max(0, wanted - len(block))
            began = time.perf_counter()

    folder = collection_folder(store, COLLECTION)
    for one in (folder.path, folder.segments, folder.generations, folder.runs):
        storage.make_folder(one)
    sampler = Sampler()
    sampler.start()
    began = time.perf_counter()
    shape = SegmentShape(1, SCHEMA, dimension, store_text=False, recall=recall, memory_budget=memory_budget)
    write(folder, indexed(), shape)
    seconds += time.perf_counter() - began
    peak = sampler.stop()
    queries = np.concatenate(left)
    np.save(store / QUERIES, queries)
    (store / BUILT).write_bytes(orjson.dumps({"seconds": seconds, "peak": peak}))
    return Made(store, queries, seconds, peak)


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


def write(folder: CollectionFolder, blocks: Iterator[Vectors], shape: SegmentShape) -> None:
    """Publish the vectors as the first generation of a collection."""
    rng, first = np.random.default_rng(1), 0

    def batches() -> Iterator[Any]:
        nonlocal first
        for block in blocks:
            for start in range(0, len(block), 4096):
                some = block[start : start + 4096]
                yield _rows(first, some, rng)
                first += len(some)

    with storage.lock(folder):
        scratch = storage.add_folder(folder.runs / "one")
        entries = write_segments(batches(), shape, scratch, folder, Stopwatch())
        generation = Generation(
            number=1,
            collection=folder.name,
            created_at=datetime.now(UTC),
            fingerprint=Fingerprint("none", "none", "1", shape.dimension, "", "", "none", True),
            device=None,
            schema=SCHEMA,
            passages=PassageSettings(),
            store_text=False,
            segments=tuple(entries),
            deleted={},
            counts=Counts(first, first),
        )
        generation = replace(generation, contract=agreed(entries, shape.recall))
        generations.publish(folder, generation)


def main() -> None:
    """Build what `made` gives."""
    store, count, dimension, recall, queries, memory_budget = sys.argv[1:]
    vectors = made_up(int(count) + int(queries), int(dimension))
    build(Path(store), vectors, int(count), int(dimension), float(recall), float(memory_budget))


if __name__ == "__main__":
    main()
