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
"""Gives the value of a column in a row of its batch; None where it is null."""

_NUMBERS = {pa.int64(): "<i8", pa.float64(): "<f8"}


class Rows:
    """The values of a table by row; safe to share between threads."""

    def __init__(self, table: pa.Table) -> None:
        batches = table.to_batches()
        self._batches: Sequence[Mapping[str, Read]] = [
            {name: _reader(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
            for batch in batches
        ]
        self._starts = list(accumulate((batch.num_rows for batch in batches), initial=0))

    def value(self, row: int, column: str) -> Any:
        """One value; raises IndexError or KeyError where it is not there."""
        which = bisect_right(self._starts, row) - 1
        return self._batches[which][column](row - self._starts[which])

    def values(self, row: int, columns: Mapping[str, str]) -> dict[str, Any]:
        """The values of a row that are not null, from columns by the names under which they are wanted."""
        which = bisect_right(self._starts, row) - 1
        batch, at = self._batches[which], row - self._starts[which]
        return {name: value for name, column in columns.items() if (value := batch[column](at)) is not None}


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
