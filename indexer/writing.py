"""How do items become segments on disk?

Nobody refers to a segment before a manifest does, so that a half-written one is only a leftover. Until one is full,
nothing is held of it, see `aside`; it is closed at a size that bounds what is held then: some 100 bytes for each item
while its look-up is sorted, and of its index all of a graph, about three quarters of what its vectors take, or of 4-bit
codes, a thirty-second; an exact one is written as it is made. A batch is written by a thread while the next is made, so
that two are held then, and no more. The format is specified in `segment`.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer import ann, storage
from indexer.ann import Aim, IndexEntry, Logged, Passages, nothing_logged
from indexer.aside import Aside
from indexer.columns import Hashes, MappedTable, item_schema, metadata_columns, numbers, to_hashes
from indexer.config import MEMORY_BUDGET
from indexer.items import Schema, hash_content, hash_id
from indexer.memory import give_back
from indexer.report import Stopwatch
from indexer.segment import (
    ANN,
    FILES,
    IDS,
    ITEMS,
    PASSAGE_SCHEMA,
    PASSAGES,
    VECTORS,
    Prepared,
    SegmentEntry,
    map_vectors,
)
from indexer.stages import Progress
from indexer.storage import CollectionFolder, OutputFile, Sealed
from indexer.vectors import Vectors

_HASHES = pa.schema(
    [pa.field(name, pa.uint64(), nullable=False) for name in ("id_high", "id_low", "content_high", "content_low")]
)
SEGMENT_BYTES = 31 << 25
"""Vectors in one segment: a million of 256 dimensions are one graph, which answers several times as fast as four would.
A graph over twice as many would take twice the memory while it is built. With a window more, of 384 dimensions, it is
below 1 GiB: 4-bit codes of that take 32 MiB, and beyond, FAISS moves them into twice the room, so that for a moment
they are there twice."""


@dataclass(frozen=True, slots=True)
class SegmentShape:
    """What all segments of one generation have in common."""

    number: int
    """The generation that they are written for; the first part of their ids."""
    schema: Schema
    dimension: int
    store_text: bool
    recall: float | None = None
    """How much of what is nearest their indexes shall find; None for all."""
    memory_budget: float = MEMORY_BUDGET
    """Most that these shall take, as a share of what their vectors take."""
    logged: Logged = nothing_logged
    """Queries of a log, with which these are tuned besides."""

    @property
    def most_passages(self) -> int:
        """A segment that holds as many is closed."""
        return SEGMENT_BYTES // (4 * self.dimension)

    @property
    def aim(self) -> Aim:
        """What their indexes shall be like."""
        return Aim(self.recall, self.memory_budget, self.logged)


@dataclass(frozen=True, slots=True)
class Rows:
    """Items as a segment's files hold them, n of them with m passages in all, in one order."""

    ids: Hashes
    """(n, 2): id hashes."""
    contents: Hashes
    """(n, 2): content hashes."""
    items: pa.RecordBatch
    """n rows of items.arrow."""
    counts: npt.NDArray[np.int64]
    """(n,): passages of each item."""
    starts: pa.Array
    """(m,) uint32, as are `ends`."""
    ends: pa.Array
    hashes: pa.Array
    """(m,) of 16 bytes."""
    vectors: Sequence[Vectors]
    """One after the other (m, dimension)."""


class SegmentWriter:
    """Writes one segment into a folder of its own, batch by batch; shares nothing with others."""

    def __init__(self, folder: Path, shape: SegmentShape) -> None:
        self._folder = storage.add_folder(folder)
        self._shape = shape
        self._count = 0
        self._passages = 0
        self._hashes = Aside(folder / f"{IDS}.aside", _HASHES)
        self._passage_rows = Aside(folder / f"{PASSAGES}.aside", PASSAGE_SCHEMA)
        self._item_file, self._vector_file = OutputFile(folder / ITEMS), OutputFile(folder / VECTORS)
        self._items = pa.ipc.new_file(self._item_file, item_schema(shape.schema, shape.store_text))

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in (self._hashes, self._passage_rows, self._item_file, self._vector_file):
            file.close()

    def add(self, batch: Sequence[Prepared] | Rows) -> None:
        """Append items; no id may come twice."""
        rows = batch if isinstance(batch, Rows) else _rows(batch, self._shape)
        count = len(rows.ids)
        halves = [*rows.ids.T, *rows.contents.T]
        self._hashes.add(pa.record_batch([pa.array(np.ascontiguousarray(half)) for half in halves], schema=_HASHES))
        self._items.write_batch(rows.items)
        item = np.repeat(np.arange(self._count, self._count + count, dtype=np.uint32), rows.counts)
        columns = [pa.array(item), rows.starts, rows.ends, rows.hashes]
        self._passage_rows.add(pa.record_batch(columns, schema=PASSAGE_SCHEMA))
        for vectors in rows.vectors:
            self._vector_file.write(np.ascontiguousarray(vectors, dtype="<f4"))
        self._count += count
        self._passages += len(item)

    def finish(self, progress: Progress | None = None) -> SegmentEntry:
        """Write the look-up and the index, and have every file on disk."""
        self._items.close()
        files = {
            ITEMS: self._item_file.seal(),
            PASSAGES: self._sealed_passages(),
            VECTORS: self._vector_file.seal(),
            IDS: self._look_up(),
        }
        shape = self._shape
        files[ANN], index = write_ann(self._folder, self._passages, shape.dimension, shape.aim, progress=progress)
        storage.sync_folder(self._folder)
        return SegmentEntry(
            id=self._folder.name,
            items=self._count,
            passages=self._passages,
            dimension=self._shape.dimension,
            files={name: files[name] for name in FILES},
            index=index,
        )

    def _sealed_passages(self) -> Sealed:
        """As one batch, so that a reader maps it and copies nothing."""
        return _write_whole(self._folder / PASSAGES, self._passage_rows.whole())

    def _look_up(self) -> Sealed:
        """That of all items, of whose hashes nothing is held afterwards."""
        columns = [column.to_numpy() for column in self._hashes.whole()]
        return write_ids(self._folder, np.column_stack(columns[:2]), np.column_stack(columns[2:]))


def _rows(prepared: Sequence[Prepared], shape: SegmentShape) -> Rows:
    contents = [hash_content(p.item) for p in prepared]
    columns = {"id": pa.array([p.item.id for p in prepared]), "content": pa.array(contents, pa.binary(16))}
    if shape.store_text:
        columns["text"] = pa.array([p.item.text for p in prepared], pa.string())
    columns |= metadata_columns([p.item.metadata for p in prepared], shape.schema)
    return Rows(
        ids=to_hashes(hash_id(p.item.id) for p in prepared),
        contents=to_hashes(contents),
        items=pa.record_batch(columns, schema=item_schema(shape.schema, shape.store_text)),
        counts=np.array([len(p.spans) for p in prepared], dtype=np.int64),
        starts=pa.array([s.start for p in prepared for s in p.spans], pa.uint32()),
        ends=pa.array([s.end for p in prepared for s in p.spans], pa.uint32()),
        hashes=pa.array([h for p in prepared for h in p.hashes], pa.binary(16)),
        vectors=[p.vectors for p in prepared],
    )


def write_ids(folder: Path, ids: Hashes, contents: Hashes) -> Sealed:
    """Write the look-up of a segment whose item rows have these hashes."""
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    columns = {
        "id_high": ids[order, 0],
        "id_low": ids[order, 1],
        "content_high": contents[order, 0],
        "content_low": contents[order, 1],
        "row": order.astype(np.uint32),
    }
    return _write_whole(folder / IDS, pa.record_batch({name: pa.array(values) for name, values in columns.items()}))


def _write_whole(path: Path, batch: pa.RecordBatch) -> Sealed:
    """Write an Arrow file of one batch."""
    with OutputFile(path) as file:
        with pa.ipc.new_file(file, batch.schema) as out:
            out.write_batch(batch)
        return file.seal()


def write_ann(
    folder: Path,
    passages: int,
    dimension: int,
    aim: Aim,
    source: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Sealed, IndexEntry]:
    """Build the index of a segment from its vectors and passages, by default those in the same folder, and write it."""
    source = source or folder
    give_back()
    with storage.disk(source / VECTORS, "read"):
        vectors = map_vectors(source / VECTORS, passages, dimension)
        items = numbers(MappedTable(source / PASSAGES).table["item"])
    with OutputFile(folder / ANN) as file:
        one_each = len(items) == int(items[-1]) + 1 if passages else True
        index = ann.build(Passages(vectors, None if one_each else items), aim, file, progress)
        return file.seal(), index


def write_segments(
    batches: Generator[list[Prepared] | Rows],
    shape: SegmentShape,
    scratch: Path,
    folder: CollectionFolder,
    watch: Stopwatch,
    progress: Progress | None = None,
) -> list[SegmentEntry]:
    """Write all batches as segments, in `scratch` first and under their final names when they are on disk.

    What is raised where one is written is raised here, once the next is made; its files are closed then, and so are the
    batches.
    """
    entries: list[SegmentEntry] = []
    with closing(batches):
        batch = next(batches, None)
        while batch is not None:
            id = f"{shape.number:06d}-{secrets.token_hex(4)}"
            with SegmentWriter(scratch / id, shape) as writer, ThreadPoolExecutor(1, "writing") as thread:
                passages, written = 0, None
                while batch is not None:
                    passages += _passages(batch)
                    _wait(written, watch)
                    written = thread.submit(writer.add, batch)
                    batch = None  # not held once it is written, nor while the index is built
                    batch = None if passages >= shape.most_passages else next(batches, None)
                _wait(written, watch)
                with watch.stage("write"):
                    entries.append(_finish(writer, scratch, folder, progress))
            batch = next(batches, None)
    return entries


def _passages(batch: Sequence[Prepared] | Rows) -> int:
    return len(batch.starts) if isinstance(batch, Rows) else sum(len(p.spans) for p in batch)


def _wait(written: Future[None] | None, watch: Stopwatch) -> None:
    """Until a batch is written; raises what that raised."""
    if written is not None:
        with watch.stage("write"):
            written.result()


def _finish(writer: SegmentWriter, scratch: Path, folder: CollectionFolder, progress: Progress | None) -> SegmentEntry:
    entry = writer.finish(progress)
    storage.move_folder(scratch / entry.id, folder.segments / entry.id)
    return entry
