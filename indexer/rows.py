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
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

Read = Callable[[int], Any]
"""Gives the value of a column in a row; None where it is null."""

Found = TypeVar("Found")

_NUMBERS = {pa.int64(): "<i8", pa.float64(): "<f8"}
_MOMENT = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def value_reader(table: pa.Table, column: str) -> Read:
    """Gives the value of a column in a row of the table; raises IndexError where there is no such row.

    Like all readers it is safe to share between threads. Raises KeyError where there is no such column.
    """
    table.schema.field(column)
    return _by_batch(table, lambda batch: _reader(batch[column]))


def row_reader(
    table: pa.Table, columns: Sequence[str], named: Mapping[str, str]
) -> Callable[[int], tuple[list[Any], dict[str, Any]]]:
    """Gives the values of some columns in a row, and those of others that are not null by the names they are wanted by.

    Raises as `value_reader` does.
    """
    for column in (*columns, *named.values()):
        table.schema.field(column)

    def of_batch(batch: pa.RecordBatch) -> Callable[[int], tuple[list[Any], dict[str, Any]]]:
        first = [_reader(batch[column]) for column in columns]
        others = [(name, _reader(batch[column])) for name, column in named.items()]
        return lambda at: (
            [one(at) for one in first],
            {name: value for name, one in others if (value := one(at)) is not None},
        )

    return _by_batch(table, of_batch)


def _by_batch(table: pa.Table, of_batch: Callable[[pa.RecordBatch], Callable[[int], Found]]) -> Callable[[int], Found]:
    """Gives what is found in a row of the table by that which reads the row's batch.

    That is made when the batch is first read: there are hundreds of batches, and a service that starts reads few of
    them. Two threads may make the same, and either will do.
    """
    batches = table.to_batches()
    starts = list(accumulate((batch.num_rows for batch in batches), initial=0))
    readers: list[Callable[[int], Found] | None] = [None] * len(batches)

    def made(which: int) -> Callable[[int], Found]:
        reader = readers[which] = of_batch(batches[which])
        return reader

    def read(row: int) -> Found:
        which = bisect_right(starts, row) - 1
        return (readers[which] or made(which))(row - starts[which])

    return read


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
