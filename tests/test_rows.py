"""Are single rows what the table has, whatever batch they are in?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from indexer.rows import Rows

VALUES: list[dict[str, Any]] = [
    {"id": "a", "n": 1, "share": 0.5, "fresh": True, "day": datetime(2024, 5, 6, tzinfo=UTC), "tags": ["x", "y"]},
    {"id": "b", "n": None, "share": None, "fresh": False, "day": None, "tags": []},
    {
        "id": "ü",
        "n": -(2**63),
        "share": -0.0,
        "fresh": None,
        "day": datetime(1969, 1, 1, 1, 2, 3, 4, UTC),
        "tags": None,
    },
    {"id": "", "n": 0, "share": 1e300, "fresh": True, "day": None, "tags": ["…"]},
]
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "n": pa.int64(),
        "share": pa.float64(),
        "fresh": pa.bool_(),
        "day": pa.timestamp("us", tz="UTC"),
        "tags": pa.list_(pa.string()),
    }
)
NAMED = {f"the {name}": name for name in SCHEMA.names}


@pytest.mark.parametrize("sizes", [[4], [1, 3], [2, 0, 1, 1]], ids=str)
def test_every_row_is_found_in_its_batch_without_what_is_null(sizes: list[int]) -> None:
    parts, at = [], 0
    for size in sizes:
        parts.append(pa.RecordBatch.from_pylist(VALUES[at : at + size], SCHEMA))
        at += size
    rows = Rows(pa.Table.from_batches(parts, SCHEMA))
    for row, values in enumerate(VALUES):
        assert rows.values(row, NAMED) == {f"the {name}": v for name, v in values.items() if v is not None}
        assert [rows.value(row, name) for name in values] == list(values.values())


def test_a_row_or_column_that_is_not_there_is_an_error() -> None:
    rows = Rows(pa.Table.from_pylist(VALUES, SCHEMA))
    with pytest.raises(IndexError):
        rows.value(4, "id")
    with pytest.raises(IndexError):
        rows.value(4, "n")
    with pytest.raises(KeyError):
        rows.value(0, "colour")
    with pytest.raises(IndexError):
        Rows(SCHEMA.empty_table()).value(0, "id")
