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
import errno
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer import ann, storage
from indexer.ann import IndexEntry
from indexer.chunking import Span
from indexer.columns import METADATA, MappedTable, SegmentIds, numbers
from indexer.errors import CorruptGeneration, StorageError
from indexer.items import Item, Value
from indexer.rows import row_reader, value_reader
from indexer.storage import Sealed
from indexer.vectors import Vectors

ITEMS, IDS, PASSAGES, VECTORS, ANN = "items.arrow", "ids.arrow", "passages.arrow", "vectors.f32", "ann.faiss"
FILES = (ITEMS, IDS, PASSAGES, VECTORS, ANN)

_DAMAGE = (pa.ArrowException, OSError, LookupError, OverflowError, ValueError)
"""What Arrow and Python make of damaged bytes."""

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
    index: IndexEntry | None = None
    """Of which kind its index is and what that finds; None in what earlier versions wrote, whose indexes are exact."""

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files.values())


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item ready to be written: its passages, the hash of what was embedded for each, and their vectors."""

    item: Item
    spans: Sequence[Span]
    hashes: Sequence[bytes]
    vectors: Vectors
    """(len(spans), dimension)"""


class Segment:
    """One segment opened for reading; every file is mapped, nothing is copied."""

    def __init__(self, folder: Path, entry: SegmentEntry) -> None:
        """Raises CorruptGeneration where a file is missing, of another length than published, or not what it claims."""
        check_sizes(folder, entry)
        self.folder = folder
        self.entry = entry
        with _damage_named(folder / ANN):
            # First, for FAISS does not hold the interpreter: a service that starts goes on importing meanwhile.
            self.ann = ann.open_index(folder / ANN, entry.passages, entry.dimension, entry.index)
        with _damage_named(folder / IDS):
            self.ids = SegmentIds(folder / IDS)
        with _damage_named(folder / ITEMS):
            self._item_file = MappedTable(folder / ITEMS)
            self.items = self._item_file.table
            names = self.items.column_names
            fields = {name.removeprefix(METADATA): name for name in names if name.startswith(METADATA)}
            self._id = value_reader(self.items, "id")
            self._text = value_reader(self.items, "text") if "text" in names else None
            self._record = row_reader(self.items, ["id", "text"] if "text" in names else ["id"], fields)
        with _damage_named(folder / PASSAGES):
            self._passage_file = MappedTable(folder / PASSAGES)
            passages = self._passage_file.table
            self.item_rows: npt.NDArray[np.uint32] = numbers(passages["item"])
            self.starts: npt.NDArray[np.uint32] = numbers(passages["start"])
            self.ends: npt.NDArray[np.uint32] = numbers(passages["end"])
            self.passage_hashes: pa.ChunkedArray = passages["hash"]
        with _damage_named(folder / VECTORS):
            self.vectors = map_vectors(folder / VECTORS, entry.passages, entry.dimension)
        self._check_structure(folder)
        self.release()

    def release(self) -> None:
        """Let go of the pages that reading has touched, so that a run over everything does not hold everything."""
        for file in (self.ids, self._item_file, self._passage_file):
            file.release()
        if isinstance(self.vectors.base, mmap.mmap):
            self.vectors.base.madvise(mmap.MADV_DONTNEED)

    def _check_structure(self, folder: Path) -> None:
        e = self.entry
        counted = (len(self.ids), self.items.num_rows, len(self.item_rows), self.ann.count, self.ann.dimension)
        expected = (e.items, e.items, e.passages, e.passages, e.dimension)
        if counted != expected:
            raise CorruptGeneration(
                f"The files of segment {str(folder)!r} do not agree: they hold {counted}, published were {expected} "
                "(ids, items, passages, index rows, dimension)."
            )
        for name, last in ((IDS, self.ids.last_row), (PASSAGES, int(self.item_rows.max(initial=0)))):
            if last >= e.items > 0:
                path = folder / name
                raise CorruptGeneration(
                    f"{str(path)!r} is damaged: it names items that the segment does not have.", path=path
                )

    @property
    def one_passage_an_item(self) -> bool:
        """Whether passage rows and item rows are the same."""
        return self.entry.items == self.entry.passages

    @property
    def passages_an_item(self) -> float:
        """How many passages an item has on average."""
        return self.entry.passages / max(1, self.entry.items)

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
        try:
            value: str = self._id(row)
        except _DAMAGE as error:
            raise _named(self.folder / ITEMS, error) from error
        return value

    def text(self, row: int) -> str | None:
        """The text of an item; None where texts are not stored."""
        try:
            return None if self._text is None else str(self._text(row))
        except _DAMAGE as error:
            raise _named(self.folder / ITEMS, error) from error

    def metadata(self, row: int) -> dict[str, Value]:
        """The metadata of an item, without the fields that it lacks."""
        return self.record(row)[2]

    def record(self, row: int) -> tuple[str, str | None, dict[str, Value]]:
        """The id, the text and the metadata of an item, in one look."""
        try:
            (id, *text), metadata = self._record(row)
        except _DAMAGE as error:
            raise _named(self.folder / ITEMS, error) from error
        return id, text[0] if text else None, metadata


def check_sizes(folder: Path, entry: SegmentEntry) -> None:
    """Raise CorruptGeneration unless every file is there with the length that was published."""
    for name, sealed in entry.files.items():
        try:
            size = storage.size(folder / name)
        except StorageError as error:
            raise CorruptGeneration(error.message) from error
        if size != sealed.bytes:
            found = "is missing" if size is None else f"has {size} bytes"
            raise CorruptGeneration(f"{str(folder / name)!r} {found}; {sealed.bytes} bytes were published.")


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Whatever Arrow and Python make of damaged bytes names the file; of a disk that refuses, say that it does."""
    try:
        yield
    except _DAMAGE as error:
        raise _named(path, error) from error


def _named(path: Path, error: Exception) -> CorruptGeneration:
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
        return CorruptGeneration(storage.refusal(path, "read", error).message, path=path)
    return CorruptGeneration(f"{str(path)!r} is damaged: {error}.", path=path)


def map_vectors(path: Path, rows: int, dimension: int) -> Vectors:
    """The vectors of a segment (rows, dimension), memory-mapped."""
    if rows == 0:
        return np.empty((0, dimension), dtype=np.float32)
    return np.memmap(path, dtype="<f4", mode="r", shape=(rows, dimension))
