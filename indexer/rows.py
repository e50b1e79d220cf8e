"""How are single rows taken out of a mapped table?

Value by value, out of the record batch in which the row stands: ten rows of ten columns touch a hundred values, where
`take` would build tables and a look-up in a chunked column would search the chunks anew for each. They are read from
the column's buffers, as the Arrow columnar format lays them out: a bit for each row that is not null, offsets, values.
Lists are read by Arrow, which makes one no slower; for a single value it takes two to six times as long.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

Read = Callable[[int], Any]
"""Gives the value of a column in a row; None where it is null."""

_NUMBERS = {pa.int64(): "<i8", pa.float64(): "<f8"}
_MOMENT = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def value_reader(table: pa.Table, column: str) -> Read:
    """Gives the value of a column in a row of the table; raises IndexError where there is no such row.

    Like all readers it is safe to share between threads. Raises KeyError where there is no such column.
    """
    starts, batches = _batches(table)
    readers = [_reader(batch[column]) for batch in batches]

    def read(row: int) -> Any:
        which = bisect_right(starts, row) - 1
        return readers[which](row - starts[which])

    return read


def row_reader(
    table: pa.Table, columns: Sequence[str], named: Mapping[str, str]
) -> Callable[[int], tuple[list[Any], dict[str, Any]]]:
    """Gives the values of some columns in a row, and those of others that are not null by the names they are wanted by.

    Raises as `value_reader` does.
    """
    starts, batches = _batches(table)
    readers = [
        (
            [_reader(batch[column]) for column in columns],
            [(name, _reader(batch[column])) for name, column in named.items()],
        )
        for batch in batches
    ]

    def read(row: int) -> tuple[list[Any], dict[str, Any]]:
        which = bisect_right(starts, row) - 1
        at = row - starts[which]
        first, others = readers[which]
        return [one(at) for one in first], {name: value for name, one in others if (value := one(at)) is not None}

    return read


def _batches(table: pa.Table) -> tuple[list[int], list[pa.RecordBatch]]:
    """Where each batch begins, and the last one ends; and the batches."""
    batches = table.to_batches()
    return list(accumulate((batch.num_rows for batch in batches), initial=0)), batches


def _reader(column: pa.Array) -> Read:
    read = _present(column) if column.offset == 0 and len(column) else None
    if read is None:
        return lambda at: column[at].as_py()
    return _unless_null(read, _bits(column.buffers()[0])) if column.null_count else read


def _present(column: pa.Array) -> Read | None:
    """Gives the values that are not null; None for a type that is left to Arrow."""
    kind, (_, first, *rest) = column.type, column.buffers()
    if kind in _NUMBERS:
        return np.frombuffer(first, _NUMBERS[kind], len(column)).data.__getitem__
    if kind == _MOMENT:
        return _moment_reader(np.frombuffer(first, "<i8", len(column)).data)
    if pa.types.is_boolean(kind):
        return _bits(first)
    if pa.types.is_string(kind) and rest[0] is not None:
        return _text_reader(np.frombuffer(first, "<i4", len(column) + 1).data, memoryview(rest[0]))
    return None


def _bits(buffer: pa.Buffer) -> Read:
    octets = np.frombuffer(buffer, np.uint8).data
    return lambda at: octets[at >> 3] >> (at & 7) & 1 == 1


def _unless_null(read: Read, valid: Read) -> Read:
    return lambda at: read(at) if valid(at) else None


def _text_reader(offsets: memoryview, texts: memoryview) -> Read:
    return lambda at: texts[offsets[at] : offsets[at + 1]].tobytes().decode()


def _moment_reader(microseconds: memoryview) -> Read:
    return lambda at: _EPOCH + timedelta(microseconds=microseconds[at])
