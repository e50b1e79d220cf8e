"""Are Parquet files read a few rows at a time, every type as Python knows it, and bad values named?"""

from __future__ import annotations

import decimal
import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import SourceError
from indexer.items import Place, Rejected
from indexer.sources import Row
from indexer.sources.parquet import Parquet


def read(path: Path, columns: dict[str, Any], **options: Any) -> list[Row | Rejected]:
    pq.write_table(pa.table(columns), path, **options)
    return list(Parquet((path,), "id").rows())


def cell(path: Path, column: pa.Array) -> object:
    (row,) = read(path, {"v": column})
    assert isinstance(row, Row)
    return row.fields["v"]


def not_utf8(*cells: bytes) -> pa.Array:
    return pa.array(cells, pa.binary()).view(pa.utf8())


def test_rows_are_counted_through_all_batches_and_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = read(path, {"id": list(range(1000)), "text": [f"t{i}" for i in range(1000)]}, row_group_size=150)
    assert rows == [Row({"id": i, "text": f"t{i}"}, Place(str(path), i + 1)) for i in range(1000)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([None], pa.utf8()), None),
        (pa.array([True]), True),
        (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        (pa.array([0.5], pa.float32()), 0.5),
        (pa.array([["a", "b"]]), ["a", "b"]),
        (pa.array([{"a": 1}]), {"a": 1}),
        (pa.array([b"\xff"]), b"\xff"),
        (pa.array([decimal.Decimal("12.50")]), 12.5),
        (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), str(uuid.UUID(int=1))),
        (pa.array([date(2024, 2, 29)]), datetime(2024, 2, 29, tzinfo=UTC)),
        (pa.array([datetime(2024, 2, 29, 12)], pa.timestamp("ms")), datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (pa.array([0], pa.timestamp("s", "Europe/Rome")), datetime(1970, 1, 1, tzinfo=UTC)),
        (pa.array([1_999], pa.timestamp("ns", "+02:00")), datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    ],
)
def test_each_type_comes_as_python_knows_it(tmp_path: Path, column: pa.Array, value: object) -> None:
    read_value = cell(tmp_path / "a.parquet", column)
    assert read_value == value
    assert type(read_value) is type(value)


def test_a_value_that_python_cannot_hold_rejects_its_row_only(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = read(
        path,
        {
            "id": not_utf8(b"a", b"b", b"\xff", b"d"),
            "text": not_utf8(b"one", b"caf\xe9", b"three", b"four"),
            "at": pa.array([0, 0, 0, 2**50], pa.timestamp("ms")),
        },
    )
    assert [row.place.line for row in rows] == [1, 2, 3, 4]
    assert isinstance(rows[0], Row)
    rejected = [row for row in rows if isinstance(row, Rejected)]
    assert [row.id for row in rejected] == ["b", None, "d"]
    assert rejected[0].reason.startswith("field 'text' cannot be read: 'utf-8' codec can't decode byte 0xe9")
    assert rejected[1].reason.startswith("field 'id' cannot be read: ")
    assert rejected[2].reason.startswith("field 'at' cannot be read: ")


def test_a_cut_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    read(path, {"id": ["a"]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"a\.parquet' cannot be read to its end: at row 1 or soon after: "):
        list(Parquet((path,), "id").rows())


def test_damage_in_the_middle_is_an_error_that_says_how_far_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = read(
        path,
        {"id": [f"{i:06}" for i in range(1000)]},
        row_group_size=500,
        use_dictionary=False,
        write_page_checksum=True,
    )
    assert len(rows) == 1000
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data[start + 100 : start + 130] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(
        SourceError, match=r"cannot be read to its end: at row (449|501) or soon after: .*CRC.*Nothing is published"
    ):
        list(Parquet((path,), "id").rows())


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"]), path)
    with pytest.raises(SourceError, match="has more than one column 'id'"):
        list(Parquet((path,), "id").rows())


def test_a_row_group_is_never_whole_in_memory(tmp_path: Path) -> None:
    path, text = tmp_path / "a.parquet", "x" * 500
    column = pa.array([f"{i}{text}" for i in range(60_000)])
    pq.write_table(
        pa.table({"id": column}),
        path,
        row_group_size=60_000,
        compression="none",
        use_dictionary=False,
        data_page_size=2**16,
    )
    size = column.nbytes
    del column
    pa.default_memory_pool().release_unused()
    before = most = pa.total_allocated_bytes()
    for row in Parquet((path,), "id").rows():
        assert isinstance(row, Row)
        if row.place.line % 1000 == 0:
            most = max(most, pa.total_allocated_bytes())
    assert most - before < size / 10
