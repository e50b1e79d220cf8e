"""How are single rows taken out of a mapped table?

Value by value, out of the record batch in which the row stands: ten rows of ten columns touch a hundred values, where
`take` would build tables and a look-up in a chunked column would search the chunks anew for each. Texts and numbers are
read from the column's buffers, whatever else there is by Arrow.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

Read = Callable[[int], Any]
"""Gives the value of a column in a row; None where it is null."""

_NUMBERS = {pa.int64(): "<i8", pa.float64(): "<f8"}


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
    if column.null_count == 0 and column.offset == 0 and len(column):
        _, first, *rest = column.buffers()
        if column.type in _NUMBERS:
            return np.frombuffer(first, _NUMBERS[column.type], len(column)).data.__getitem__
        if pa.types.is_string(column.type) and rest[0] is not None:
            return _text_reader(np.frombuffer(first, "<i4", len(column) + 1).data, memoryview(rest[0]))
    return lambda at: column[at].as_py()


def _text_reader(offsets: memoryview, texts: memoryview) -> Read:
    def read(at: int) -> str:
        return str(texts[offsets[at] : offsets[at + 1]], "utf-8")

    return read
