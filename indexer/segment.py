"""What is in a segment, and how is it read?

A segment is a folder written once and then only read, memory-mapped. Format 1, all files little-endian:

    items.arrow      Arrow IPC file, one row an item: `id`, `content` (the 16-byte content hash), `text` (left out where
                     texts are not stored), one `metadata.<field>` column a field
    ids.arrow        Arrow IPC file, one record batch, sorted by id hash: `id_high`, `id_low`, `content_high`,
                     `content_low` (uint64), `row` (uint32, into items.arrow)
    passages.arrow   Arrow IPC file, one record batch, one row a passage in the order of the items: `item` (uint32, row
                     of items.arrow), `start`, `end` (uint32, code points into the text), `hash` (16 bytes, of the exact
                     text embedded)
    vectors.f32      one row of `dimension` float32 a passage, length 1, nothing else; all indexes derive from it
    ann.faiss        the index of those rows, see `ann`; row = passage row = FAISS id

Lengths and checksums stand in the manifest of every generation that uses the segment, see `generation`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer import ann, storage
from indexer.chunking import Span
from indexer.columns import METADATA, SegmentIds, item_schema, map_table, metadata_columns, numbers, to_hashes
from indexer.errors import CorruptGeneration
from indexer.items import Item, Schema, Value, hash_content, hash_id
from indexer.storage import OutputFile, Sealed
from indexer.vectors import Vectors

ITEMS, IDS, PASSAGES, VECTORS, ANN = "items.arrow", "ids.arrow", "passages.arrow", "vectors.f32", "ann.faiss"
FILES = (ITEMS, IDS, PASSAGES, VECTORS, ANN)

PASSAGE_SCHEMA = pa.schema(
    [
        pa.field("item", pa.uint32(), nullable=False),
        pa.field("start", pa.uint32(), nullable=False),
        pa.field("end", pa.uint32(), nullable=False),
        pa.field("hash", pa.binary(16), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """What a manifest says of a segment's files."""

    id: str
    items: int
    passages: int
    dimension: int
    files: Mapping[str, Sealed]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item ready to be written: its passages, the hash of what was embedded for each, and their vectors."""

    item: Item
    spans: Sequence[Span]
    hashes: Sequence[bytes]
    vectors: Vectors
    """(len(spans), dimension)"""


class SegmentWriter:
    """Writes one segment into a folder of its own, batch by batch; shares nothing with others."""

    def __init__(self, folder: Path, schema: Schema, dimension: int, store_text: bool) -> None:
        self._folder = storage.make_folder(folder)
        self._schema = schema
        self._dimension = dimension
        self._store_text = store_text
        self._ids: list[bytes] = []
        self._contents: list[bytes] = []
        self._passages = 0
        self._passage_batches: list[pa.RecordBatch] = []
        self._item_file, self._passage_file = OutputFile(folder / ITEMS), OutputFile(folder / PASSAGES)
        self._vector_file = OutputFile(folder / VECTORS)
        self._items = pa.ipc.new_file(self._item_file, item_schema(schema, store_text))
        self._passage_rows = pa.ipc.new_file(self._passage_file, PASSAGE_SCHEMA)

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in (self._item_file, self._passage_file, self._vector_file):
            file.close()

    @property
    def vector_bytes(self) -> int:
        """How much of vectors.f32 is written."""
        return self._passages * self._dimension * 4

    def add(self, prepared: Sequence[Prepared]) -> None:
        """Append items; no id may come twice."""
        if not prepared:
            return
        first_row = len(self._ids)
        contents = [hash_content(p.item) for p in prepared]
        self._ids.extend(hash_id(p.item.id) for p in prepared)
        self._contents.extend(contents)
        self._items.write_batch(self._item_batch(prepared, contents))
        counts = [len(p.spans) for p in prepared]
        batch = pa.record_batch(
            {
                "item": pa.array(np.repeat(np.arange(first_row, first_row + len(prepared), dtype=np.uint32), counts)),
                "start": pa.array([s.start for p in prepared for s in p.spans], pa.uint32()),
                "end": pa.array([s.end for p in prepared for s in p.spans], pa.uint32()),
                "hash": pa.array([h for p in prepared for h in p.hashes], pa.binary(16)),
            },
            schema=PASSAGE_SCHEMA,
        )
        self._passage_batches.append(batch)
        for p in prepared:
            self._vector_file.write(np.ascontiguousarray(p.vectors, dtype="<f4"))
        self._passages += sum(counts)

    def _item_batch(self, prepared: Sequence[Prepared], contents: Sequence[bytes]) -> pa.RecordBatch:
        columns = {"id": pa.array([p.item.id for p in prepared]), "content": pa.array(contents, pa.binary(16))}
        if self._store_text:
            columns["text"] = pa.array([p.item.text for p in prepared], pa.string())
        columns |= metadata_columns([p.item.metadata for p in prepared], self._schema)
        return pa.record_batch(columns, schema=item_schema(self._schema, self._store_text))

    def finish(self) -> SegmentEntry:
        """Write the look-up and the index, and have every file on disk."""
        self._items.close()
        if self._passage_batches:  # as one batch, so that a reader maps it and copies nothing
            table = pa.Table.from_batches(self._passage_batches).combine_chunks()
            self._passage_rows.write_batch(table.to_batches()[0])
        self._passage_rows.close()
        files = {
            ITEMS: self._item_file.seal(),
            PASSAGES: self._passage_file.seal(),
            VECTORS: self._vector_file.seal(),
            IDS: self._write_ids(),
            ANN: self._write_ann(),
        }
        storage.sync_folder(self._folder)
        return SegmentEntry(
            id=self._folder.name,
            items=len(self._ids),
            passages=self._passages,
            dimension=self._dimension,
            files={name: files[name] for name in FILES},
        )

    def _write_ids(self) -> Sealed:
        ids, contents = to_hashes(self._ids), to_hashes(self._contents)
        order = np.lexsort((ids[:, 1], ids[:, 0]))
        columns = {
            "id_high": ids[order, 0],
            "id_low": ids[order, 1],
            "content_high": contents[order, 0],
            "content_low": contents[order, 1],
            "row": order.astype(np.uint32),
        }
        batch = pa.record_batch({name: pa.array(values) for name, values in columns.items()})
        with OutputFile(self._folder / IDS) as file:
            with pa.ipc.new_file(file, batch.schema) as out:
                out.write_batch(batch)
            return file.seal()

    def _write_ann(self) -> Sealed:
        vectors = _map_vectors(self._folder / VECTORS, self._passages, self._dimension)
        with OutputFile(self._folder / ANN) as file:
            ann.write(vectors, file)
            return file.seal()


class Segment:
    """One segment opened for reading; every file is mapped, nothing is copied."""

    def __init__(self, folder: Path, entry: SegmentEntry) -> None:
        """Raises CorruptGeneration where a file is missing, of another length than published, or not what it claims."""
        check_sizes(folder, entry)
        self.folder = folder
        self.entry = entry
        with _damage_named(folder / IDS):
            self.ids = SegmentIds(folder / IDS)
        with _damage_named(folder / ITEMS):
            self.items = map_table(folder / ITEMS)
        with _damage_named(folder / PASSAGES):
            passages = map_table(folder / PASSAGES)
            self.item_rows: npt.NDArray[np.uint32] = numbers(passages["item"])
            self.starts: npt.NDArray[np.uint32] = numbers(passages["start"])
            self.ends: npt.NDArray[np.uint32] = numbers(passages["end"])
            self.passage_hashes: pa.ChunkedArray = passages["hash"]
        with _damage_named(folder / VECTORS):
            self.vectors = _map_vectors(folder / VECTORS, entry.passages, entry.dimension)
        self.ann = ann.open_index(folder / ANN)
        self._check_structure(folder)

    def _check_structure(self, folder: Path) -> None:
        e = self.entry
        counted = (len(self.ids), self.items.num_rows, len(self.item_rows), self.ann.count, self.ann.dimension)
        expected = (e.items, e.items, e.passages, e.passages, e.dimension)
        if counted != expected:
            raise CorruptGeneration(
                f"The files of segment {str(folder)!r} do not agree: they hold {counted}, published were {expected} "
                "(ids, items, passages, index rows, dimension)."
            )

    @property
    def one_passage_an_item(self) -> bool:
        """Whether passage rows and item rows are the same."""
        return self.entry.items == self.entry.passages

    def passages_of(self, row: int) -> range:
        """The passage rows of an item."""
        if self.one_passage_an_item:
            return range(row, row + 1)
        first, last = np.searchsorted(self.item_rows, [row, row + 1])
        return range(int(first), int(last))

    def column(self, field: str) -> pa.ChunkedArray | None:
        """The column of a metadata field, or of the ids under `id`; None where the segment is older than the field."""
        name = "id" if field == "id" else METADATA + field
        return self.items[name] if name in self.items.column_names else None

    def id(self, row: int) -> str:
        """The id of an item."""
        value: str = self.items["id"][row].as_py()
        return value

    def text(self, row: int) -> str | None:
        """The text of an item; None where texts are not stored."""
        value: str | None = self.items["text"][row].as_py() if "text" in self.items.column_names else None
        return value

    def metadata(self, row: int) -> dict[str, Value]:
        """The metadata of an item, without the fields that it lacks."""
        named = (
            (n.removeprefix(METADATA), self.items[n][row].as_py()) for n in self.items.column_names[2:] if n != "text"
        )
        return {name: value for name, value in named if value is not None}


def check_sizes(folder: Path, entry: SegmentEntry) -> None:
    """Raise CorruptGeneration unless every file is there with the length that was published."""
    for name, sealed in entry.files.items():
        size = storage.size(folder / name)
        if size != sealed.bytes:
            found = "is missing" if size is None else f"has {size} bytes"
            raise CorruptGeneration(f"{str(folder / name)!r} {found}; {sealed.bytes} bytes were published.")


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Whatever Arrow makes of damaged bytes is a CorruptGeneration that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise CorruptGeneration(f"{str(path)!r} is damaged: {error}.") from error


def _map_vectors(path: Path, rows: int, dimension: int) -> Vectors:
    if rows == 0:
        return np.empty((0, dimension), dtype=np.float32)
    return np.memmap(path, dtype="<f4", mode="r", shape=(rows, dimension))
