"""How are single rows taken out of a mapped table?

Value by value, out of the record batch in which the row stands: ten rows of ten columns touch a hundred values, where
`take` would build tables and a look-up in a chunked column would search the chunks anew for each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa

Columns = Mapping[str, pa.Array]


class Rows:
    """The values of a table by row; safe to share between threads."""

    def __init__(self, table: pa.Table) -> None:
        batches = table.to_batches()
        self._batches: Sequence[Columns] = [dict(zip(b.schema.names, b.columns, strict=True)) for b in batches]
        self._starts = list(accumulate((batch.num_rows for batch in batches), initial=0))

    def value(self, row: int, column: str) -> Any:
        """One value; raises IndexError or KeyError where it is not there."""
        batch, at = self._place(row)
        return batch[column][at].as_py()

    def values(self, row: int, columns: Mapping[str, str]) -> dict[str, Any]:
        """The values of a row that are not null, from columns by the names under which they are wanted."""
        batch, at = self._place(row)
        found = {}
        for name, column in columns.items():
            value = batch[column][at].as_py()
            if value is not None:
                found[name] = value
        return found

    def _place(self, row: int) -> tuple[Columns, int]:
        which = bisect_right(self._starts, row) - 1
        return self._batches[which], row - self._starts[which]
