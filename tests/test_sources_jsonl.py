"""Are JSON Lines read as they were written, and bad lines named?"""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.items import Place, Rejected
from indexer.sources import Row
from indexer.sources import files as files_module
from indexer.sources.jsonl import JsonLines

UNICODE = st.text(st.characters(exclude_categories=["Cs"]))


def read(path: Path, data: bytes, id_field: str = "id") -> list[Row | Rejected]:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return list(JsonLines((path,), id_field).rows())


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_each_line_is_a_row_with_its_line_number(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = read(path, b'\xef\xbb\xbf{"id": "a", "n": 1}\r\n\n  \n{"id": 2, "x": [1.5, null, {"y": true}]}')
    assert rows == [
        Row({"id": "a", "n": 1}, Place(str(path), 1)),
        Row({"id": 2, "x": [1.5, None, {"y": True}]}, Place(str(path), 4)),
    ]


def test_a_bad_line_is_rejected_with_its_reason_and_the_next_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = read(
        path,
        b'{"id": "a"\n'
        b"[1, 2]\n"
        b'"word"\n'
        b'{"id": "b", "text": "caf\xe9"}\n'
        b'{"id": "\xff"}\n'
        b'{"id": "c", "price": NaN}\n'
        b'{"id": "d", "text": "\\ud83d"}\n'
        b"null\n"
        b'{"id": "e"}\n',
    )
    assert rows == [
        Rejected(Place(str(path), 1), "the line is not JSON: unexpected end of data at column 12"),
        Rejected(Place(str(path), 2), "the line holds a list, not an object"),
        Rejected(Place(str(path), 3), "the line holds text ('word'), not an object"),
        Rejected(Place(str(path), 4), "the line is not UTF-8: byte 0xe9 at offset 24", "b"),
        Rejected(Place(str(path), 5), "the line is not UTF-8: byte 0xff at offset 8"),
        Rejected(
            Place(str(path), 6), "the line is not JSON: unexpected character, expected a JSON value at column 22", "c"
        ),
        Rejected(Place(str(path), 7), "the line is not JSON: no low surrogate in string at column 22", "d"),
        Rejected(Place(str(path), 8), "the line holds nothing, not an object"),
        Row({"id": "e"}, Place(str(path), 9)),
    ]


def test_the_id_of_a_broken_line_is_looked_for_in_the_field_that_holds_ids(tmp_path: Path) -> None:
    (row,) = read(tmp_path / "a.jsonl", b'{"id": "x", "sku": 7, "n": Infinity}', id_field="sku")
    assert isinstance(row, Rejected)
    assert row.id == "7"


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl", b"") == []
    assert read(tmp_path / "b.jsonl", b"\xef\xbb\xbf") == []
    assert read(tmp_path / "c.jsonl.gz", b"") == []


def test_a_line_beyond_the_limit_is_rejected_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "MAX_ROW_BYTES", 20)
    path = tmp_path / "a.jsonl"
    rows = read(path, b'{"id":"' + b"a" * 100 + b'"}\n{"id": "a"}\n{"id":"1234567890"}\n{"id": "last one: 1234567890"}')
    assert [(type(row), row.place.line) for row in rows] == [(Rejected, 1), (Row, 2), (Row, 3), (Rejected, 4)]
    assert isinstance(rows[0], Rejected)
    assert rows[0].reason.startswith("the line is longer than")


@settings(max_examples=60)
@given(st.lists(st.dictionaries(UNICODE, UNICODE | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none())))
def test_any_object_written_by_json_comes_back(objects: list[dict[str, object]]) -> None:
    data = "".join(json.dumps(o, ensure_ascii=len(o) % 2 == 0) + "\n" for o in objects)
    with tempfile.TemporaryDirectory() as folder:
        rows = read(Path(folder) / "a.jsonl", data.encode())
    assert [row.fields for row in rows if isinstance(row, Row)] == objects


@settings(max_examples=100)
@given(st.binary())
def test_no_bytes_make_it_fail(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = read(Path(folder) / "a.jsonl", data)
    assert all(row.place.line <= data.count(b"\n") + 1 for row in rows)
