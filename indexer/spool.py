"""How is a source of any size brought into the order of id hashes in bounded memory?

Rows are spread over 256 files by the first byte of their id hash as they are read; each file is then small enough to
be sorted in memory, and the files one after the other are the whole source in order. A source that is small enough by
itself is one file. Text and metadata are kept only for rows that may have to be written. The files live in the run's
own folder and never outlive the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from indexer import storage
from indexer.columns import Hashes, to_hashes
from indexer.items import FieldType, Item, Place, Schema, Value, hash_content, hash_id
from indexer.storage import OutputFile

FLUSH_ROWS = 32_768
FLUSH_CHARACTERS = 16_000_000

Bits = npt.NDArray[np.bool_]
Unchanged = Callable[[Hashes, Hashes], Bits]
"""Of (id hashes, content hashes): which rows are published already, exactly so."""

_SCHEMA = pa.schema(
    [
        pa.field("high", pa.uint64(), nullable=False),
        pa.field("low", pa.uint64(), nullable=False),
        pa.field("content_high", pa.uint64(), nullable=False),
        pa.field("content_low", pa.uint64(), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("sequence", pa.uint64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.uint64(), nullable=False),
        pa.field("text", pa.large_string()),
        pa.field("metadata", pa.large_binary()),
    ]
)


@dataclass(frozen=True, slots=True)
class Partition:
    """The rows of one file, sorted by id hash; rows of one id stand together, the one that counts first."""

    ids: Hashes
    contents: Hashes
    kept: Bits
    """Rows that were rejected, but say that their item is still there."""
    first: Bits
    """The one row of each id that counts: valid before rejected, then in order of reading."""
    table: pa.Table

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, row: int) -> str:
        """The id of a row."""
        value: str = self.table["id"][row].as_py()
        return value

    def place(self, row: int) -> Place:
        """Where a row was read."""
        return Place(self.table["file"][row].as_py(), self.table["line"][row].as_py())

    def item(self, row: int, schema: Schema) -> Item:
        """The item of a row whose text was spooled."""
        values = orjson.loads(self.table["metadata"][row].as_py())
        metadata = {name: _restored(value, schema[name]) for name, value in values.items()}
        return Item(self.id(row), self.table["text"][row].as_py(), metadata)


class Spool:
    """Takes rows in any order and gives them back partition by partition."""

    def __init__(self, folder: Path, unchanged: Unchanged) -> None:
        self._folder = storage.add_folder(folder)
        self._unchanged = unchanged
        self._files: dict[int, tuple[OutputFile, pa.RecordBatchWriter]] = {}
        self._rows: list[tuple[str, Place, Item | None]] = []
        self._characters = 0
        self._sequence = 0

    def add(self, item: Item, place: Place) -> None:
        """Take a valid row."""
        self._take(item.id, place, item)

    def keep(self, id: str, place: Place) -> None:
        """Take a rejected row whose id is known."""
        self._take(id, place, None)

    def _take(self, id: str, place: Place, item: Item | None) -> None:
        self._rows.append((id, place, item))
        self._characters += len(item.text) if item else 0
        if len(self._rows) >= FLUSH_ROWS or self._characters >= FLUSH_CHARACTERS:
            self._flush()

    def partitions(self) -> Iterator[Partition]:
        """All that was taken, in order of id hash; may be asked for more than once, and ends the taking."""
        self._flush(whole=not self._files)
        for file, writer in self._files.values():
            if not file.closed:
                writer.close()
                file.complete()
        for number in sorted(self._files):
            path = self._path(number)
            with storage.disk(path, "read"):
                source = pa.memory_map(str(path))
            with source:
                yield _sorted(pa.ipc.open_stream(source).read_all())

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:03d}.arrows"

    def _flush(self, whole: bool = False) -> None:
        """Write what was taken since the last time; as one partition where that is the `whole` source."""
        if not self._rows:
            return
        batch = self._batch()
        number = (batch["high"].to_numpy() >> np.uint64(56)).astype(np.int64)
        if whole:
            number[:] = 0
        order = np.argsort(number, kind="stable")
        starts = np.flatnonzero(np.diff(number[order], prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            self._writer(int(number[order[start]])).write_batch(batch.take(pa.array(order[start:end])))
        self._rows, self._characters = [], 0

    def _batch(self) -> pa.RecordBatch:
        ids = to_hashes(hash_id(id) for id, _, _ in self._rows)
        contents = to_hashes(hash_content(item) if item else bytes(16) for _, _, item in self._rows)
        unchanged = self._unchanged(ids, contents).tolist()
        payload = [None if same else item for (_, _, item), same in zip(self._rows, unchanged, strict=True)]
        columns = [
            *(pa.array(half) for half in (ids[:, 0], ids[:, 1], contents[:, 0], contents[:, 1])),
            pa.array([item is None for _, _, item in self._rows]),
            pa.array(np.arange(self._sequence, self._sequence + len(self._rows), dtype=np.uint64)),
            pa.array([id for id, _, _ in self._rows], pa.string()),
            pa.array([place.file for _, place, _ in self._rows], pa.string()),
            pa.array([place.line for _, place, _ in self._rows], pa.uint64()),
            pa.array([item and item.text for item in payload], pa.large_string()),
            pa.array([item and _encoded(item) for item in payload], pa.large_binary()),
        ]
        self._sequence += len(self._rows)
        return pa.record_batch(columns, schema=_SCHEMA)

    def _writer(self, number: int) -> pa.RecordBatchWriter:
        if number not in self._files:
            file = OutputFile(self._path(number))
            self._files[number] = file, pa.ipc.new_stream(file, _SCHEMA)
        return self._files[number][1]


def _encoded(item: Item) -> bytes:
    """The metadata as JSON; a copy, because what orjson returns keeps 4 KiB of memory, however short it is."""
    return bytes(memoryview(orjson.dumps(dict(item.metadata))))


def _sorted(table: pa.Table) -> Partition:
    high, low, sequence = (table[name].to_numpy() for name in ("high", "low", "sequence"))
    kept = table["kept"].to_numpy()
    order = np.lexsort((sequence, kept, low, high))
    ids = np.column_stack((high[order], low[order]))
    contents = np.column_stack([table[name].to_numpy()[order] for name in ("content_high", "content_low")])
    first = np.ones(len(ids), dtype=bool)
    first[1:] = (ids[1:] != ids[:-1]).any(axis=1)
    return Partition(ids, contents, kept[order], first, table.take(pa.array(order)))


def _restored(value: Value, kind: FieldType) -> Value:
    return datetime.fromisoformat(value) if kind is FieldType.DATETIME and isinstance(value, str) else value
