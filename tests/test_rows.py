"""Are single rows what the table has, whatever batch they are in?"""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from indexer import rows
from indexer.rows import row_reader, value_reader

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
    table = pa.Table.from_batches(parts, SCHEMA)
    read, readers = row_reader(table, ["n", "id"], NAMED), [value_reader(table, name) for name in SCHEMA.names]
    for row, values in enumerate(VALUES):
        there = {f"the {name}": value for name, value in values.items() if value is not None}
        assert read(row) == ([values["n"], values["id"]], there)
        assert [one(row) for one in readers] == list(values.values())


def test_a_row_or_column_that_is_not_there_is_an_error() -> None:
    table = pa.Table.from_pylist(VALUES, SCHEMA)
    for name in ("id", "n"):
        with pytest.raises(IndexError):
            value_reader(table, name)(4)
    with pytest.raises(IndexError):
        row_reader(table, ["id"], NAMED)(4)
    with pytest.raises(KeyError):
        value_reader(table, "colour")
    with pytest.raises(KeyError):
        row_reader(table, ["id"], {"colour": "colour"})
    with pytest.raises(IndexError):
        value_reader(SCHEMA.empty_table(), "id")(0)


def test_what_reads_a_batch_is_made_once_and_only_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []
    real = rows._reader

    def noted(column: pa.Array) -> rows.Read:
        made.append(column.to_pylist())
        return real(column)

    monkeypatch.setattr(rows, "_reader", noted)
    table = pa.Table.from_batches([pa.RecordBatch.from_pylist([row], SCHEMA) for row in VALUES], SCHEMA)
    one, whole = value_reader(table, "id"), row_reader(table, ["id"], {"count": "n"})
    assert made == []
    assert [one(row) for row in (2, 1, 2)] == ["ü", "b", "ü"]
    assert made == [["ü"], ["b"]]
    assert [whole(3), whole(3)] == [([""], {"count": 0})] * 2
    assert made[2:] == [[""], [0]]


def test_threads_that_read_a_batch_first_read_what_is_there() -> None:
    table = pa.Table.from_batches([pa.RecordBatch.from_pylist([{"id": f"{row}"}]) for row in range(400)])
    read, at_once = value_reader(table, "id"), threading.Barrier(4)

    def all_of_it(_: int) -> list[str]:
        at_once.wait()
        return [read(row) for row in range(400)]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(all_of_it, range(4))) == [[f"{row}" for row in range(400)]] * 4


def random_rows(seed: int, count: int) -> list[dict[str, Any]]:
    """Values of all types, a part of which are null: all of some columns, none of others."""
    made = random.Random(seed)
    makers: dict[str, Callable[[], Any]] = {
        "id": lambda: "aü…\U0001f600\0"[: made.randrange(6)],
        "n": lambda: made.choice([0, -1, 2**63 - 1, -(2**63)]),
        "share": lambda: made.choice([0.0, 5e-324, -1.5, float("inf")]),
        "fresh": lambda: made.random() < 0.5,
        "day": lambda: (
            datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=made.randrange(9999 * 365 * 86_400 * 10**6))
        ),
        "tags": lambda: ["", "x", "ü"][: made.randrange(4)],
    }
    nulls = {name: made.choice([0.0, 0.3, 1.0]) for name in makers}
    return [
        {name: None if made.random() < nulls[name] else make() for name, make in makers.items()} for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(30))
def test_values_of_every_type_are_those_that_arrow_reads(seed: int) -> None:
    whole = pa.Table.from_pylist(random_rows(seed, 40), SCHEMA)
    with io.BytesIO() as file:
        with pa.ipc.new_file(file, SCHEMA) as writer:
            writer.write_table(whole, max_chunksize=17)
        read = pa.ipc.open_file(file.getvalue()).read_all()
    for table in (whole, read, read.slice(3, 30)):
        expected = table.to_pylist()
        one, each = row_reader(table, ["id"], NAMED), {name: value_reader(table, name) for name in SCHEMA.names}
        for row, values in enumerate(expected):
            assert one(row) == ([values["id"]], {f"the {k}": v for k, v in values.items() if v is not None})
            assert {name: value(row) for name, value in each.items()} == values
            assert {type(value(row)) for value in each.values()} == set(map(type, values.values()))
            assert (day := each["day"](row)) is None or day.utcoffset() == timedelta(0)
