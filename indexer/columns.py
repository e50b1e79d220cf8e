"""How do metadata and hashes stand in Arrow columns?

| field type | column type                 |
|------------|-----------------------------|
| string     | string                      |
| integer    | int64                       |
| float      | float64                     |
| boolean    | bool                        |
| datetime   | timestamp in µs, UTC        |
| strings    | list of strings             |

A missing value is null. A 128-bit hash is two uint64 columns, the high half first: a binary search needs no copy.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.items import FieldType, Schema, Value

Hashes = npt.NDArray[np.uint64]
"""(n, 2): the high and the low half of each hash."""

ARROW_TYPES: Mapping[FieldType, pa.DataType] = {
    FieldType.STRING: pa.string(),
    FieldType.INTEGER: pa.int64(),
    FieldType.FLOAT: pa.float64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.DATETIME: pa.timestamp("us", tz="UTC"),
    FieldType.STRINGS: pa.list_(pa.string()),
}

METADATA = "metadata."
"""What stands before a metadata field's name in a column's name, so that no field can hide another column."""


def item_schema(schema: Schema, store_text: bool) -> pa.Schema:
    """The columns of items.arrow."""
    columns = [pa.field("id", pa.string(), nullable=False), pa.field("content", pa.binary(16), nullable=False)]
    if store_text:
        columns.append(pa.field("text", pa.string(), nullable=False))
    return pa.schema(columns + [pa.field(METADATA + name, ARROW_TYPES[kind]) for name, kind in schema.items()])


def metadata_columns(rows: Sequence[Mapping[str, Value]], schema: Schema) -> dict[str, pa.Array]:
    """One column a field, named as in items.arrow."""
    return {
        METADATA + name: pa.array([_widened(row.get(name), kind) for row in rows], ARROW_TYPES[kind])
        for name, kind in schema.items()
    }


def _widened(value: Value, kind: FieldType) -> Any:
    return float(value) if kind is FieldType.FLOAT and isinstance(value, int) else value


def to_hashes(raw: Iterable[bytes]) -> Hashes:
    """16-byte hashes as numbers that sort as the bytes do."""
    return np.frombuffer(b"".join(raw), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def to_bytes(hashes: Hashes) -> list[bytes]:
    """The 16 bytes of each hash."""
    raw = hashes.astype(">u8").tobytes()
    return [raw[start : start + 16] for start in range(0, len(raw), 16)]


def find(
    sorted_high: npt.NDArray[np.uint64], sorted_low: npt.NDArray[np.uint64], wanted: Hashes
) -> npt.NDArray[np.int64]:
    """Where each wanted hash stands among hashes sorted by (high, low): its position, or -1. Binary search."""
    found = np.full(len(wanted), -1, dtype=np.int64)
    if len(sorted_high) == 0:
        return found
    high, low = wanted[:, 0], wanted[:, 1]
    position = np.searchsorted(sorted_high, high)
    open_ = np.flatnonzero(position < len(sorted_high))
    while len(open_):
        here = position[open_]
        same_high = sorted_high[here] == high[open_]
        hit = same_high & (sorted_low[here] == low[open_])
        found[open_[hit]] = here[hit]
        # Equal high halves are next to never seen; when they are, the low half decides further along.
        open_ = open_[same_high & ~hit]
        position[open_] += 1
        open_ = open_[position[open_] < len(sorted_high)]
    return found


class MappedTable:
    """An Arrow IPC file as a table, memory-mapped."""

    def __init__(self, path: Path) -> None:
        """Raises ArrowInvalid where reading a value could leave the file's buffers.

        Arrow takes the offsets of texts and lists on trust, and one damaged byte of them would end the process that
        reads. The texts themselves are not looked at: that would read the whole file.
        """
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.table: pa.Table = pa.ipc.open_file(pa.py_buffer(self._map)).read_all()
        for column in self.table.columns:
            as_bytes = _as_bytes(column.type)
            for chunk in column.chunks:
                chunk.view(as_bytes).validate(full=True)

    def release(self) -> None:
        """Let go of the pages that reading has touched, so that a run over everything does not hold everything."""
        self._map.madvise(mmap.MADV_DONTNEED)


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The type whose validation looks at the same offsets, but not whether the texts are UTF-8."""
    if pa.types.is_string(kind):
        return pa.binary()
    return pa.list_(_as_bytes(kind.value_type)) if pa.types.is_list(kind) else kind


def numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column without nulls as numbers; one batch stays mapped, several are copied together."""
    chunk = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    values: npt.NDArray[Any] = chunk.to_numpy()
    return values


class SegmentIds:
    """The look-up of one segment: from id hash to item row and content hash."""

    def __init__(self, path: Path) -> None:
        self._file = MappedTable(path)
        columns = self._file.table
        self._high, self._low = (numbers(columns[name]) for name in ("id_high", "id_low"))
        self._contents = tuple(numbers(columns[name]) for name in ("content_high", "content_low"))
        self._rows: npt.NDArray[np.uint32] = numbers(columns["row"])

    def __len__(self) -> int:
        return len(self._rows)

    def release(self) -> None:
        """Let go of the pages that look-ups have touched."""
        self._file.release()

    @property
    def ordered(self) -> bool:
        """Whether the entries stand in the order that a binary search needs, none of them twice."""
        high, low = self._high, self._low
        rising = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
        return bool(rising.all())

    @property
    def last_row(self) -> int:
        """The highest row of items.arrow that an entry names; -1 where there are no entries."""
        return int(self._rows.max(initial=0)) if len(self) else -1

    @property
    def names_each_row_once(self) -> bool:
        """Whether every row of items.arrow has one entry."""
        return bool(np.array_equal(np.sort(self._rows), np.arange(len(self))))

    def by_row(self) -> tuple[Hashes, Hashes]:
        """The id hash and the content hash of every item, in the order of items.arrow; both (n, 2)."""
        ids, contents = np.empty((2, len(self), 2), dtype=np.uint64)
        for half, column in enumerate((self._high, self._low)):
            ids[self._rows, half] = column
        for half, column in enumerate(self._contents):
            contents[self._rows, half] = column
        return ids, contents

    def find(self, ids: Hashes) -> tuple[npt.NDArray[np.int64], Hashes]:
        """The item row of each id hash, -1 where it is not here, and the content hash of those that are."""
        position = find(self._high, self._low, ids)
        rows = np.where(position >= 0, self._rows[position].astype(np.int64), -1) if len(self) else position
        contents = np.zeros((len(ids), 2), dtype=np.uint64)
        here = position >= 0
        for half, column in enumerate(self._contents):
            contents[here, half] = column[position[here]]
        return rows, contents
