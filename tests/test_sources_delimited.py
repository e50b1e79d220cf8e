"""Are CSV and TSV read as they were written, and bad rows named?"""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import SourceError
from indexer.items import Place, Rejected
from indexer.sources import Row, delimited
from indexer.sources.delimited import Delimited

CELL = st.text(st.characters(exclude_categories=["Cs"]))


def read(path: Path, data: bytes, delimiter: str = ",", id_field: str = "id") -> list[Row | Rejected]:
    path.write_bytes(data)
    return list(Delimited((path,), delimiter, id_field).rows())


def test_cells_are_text_and_an_empty_cell_is_a_missing_value(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = read(path, b'\xef\xbb\xbfid,text,n\r\n1,"a ""b"", c",07\r\n\r\n2,,""\r\n 3 , d ,\xc3\xa9')
    assert rows == [
        Row({"id": "1", "text": 'a "b", c', "n": "07"}, Place(str(path), 2)),
        Row({"id": "2", "text": None, "n": None}, Place(str(path), 4)),
        Row({"id": " 3 ", "text": " d ", "n": "é"}, Place(str(path), 5)),
    ]


def test_a_row_is_where_it_begins_and_its_line_breaks_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = read(path, b'id,text\n1,"a\nb\r\n\nc"\n2,d\n')
    assert rows == [
        Row({"id": "1", "text": "a\nb\r\n\nc"}, Place(str(path), 2)),
        Row({"id": "2", "text": "d"}, Place(str(path), 6)),
    ]


def test_tabs_separate_the_cells_of_tsv(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    rows = read(path, b"id\ttext\n1\ta, b\n", delimiter="\t")
    assert rows == [Row({"id": "1", "text": "a, b"}, Place(str(path), 2))]


def test_a_bad_row_is_rejected_with_its_reason_and_the_next_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = read(
        path,
        b'id,text,n\n1,a\n2,b,3,4\n3,caf\xe9,1\n\xff,d,1\n5,"e" f,1\n6,g\rh,1\n7,"\xed\xa0\x80",1\n8,"ok\n",1\n9,z,1',
    )
    assert rows == [
        Rejected(Place(str(path), 2), "the row has 2 cells, but the header has 3"),
        Rejected(Place(str(path), 3), "the row has 4 cells, but the header has 3"),
        Rejected(Place(str(path), 4), "field 'text' is not UTF-8", "3"),
        Rejected(Place(str(path), 5), "field 'id' is not UTF-8"),
        Rejected(Place(str(path), 6), "the row cannot be split into cells: ',' expected after '\"'"),
        Rejected(Place(str(path), 7), "the row cannot be split into cells: new-line character seen in unquoted field"),
        Rejected(Place(str(path), 8), "field 'text' is not UTF-8", "7"),
        Row({"id": "8", "text": "ok\n", "n": "1"}, Place(str(path), 9)),
        Row({"id": "9", "text": "z", "n": "1"}, Place(str(path), 11)),
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "there is no header row"),
        (b"id,,text\n", "leaves a field without a name"),
        (b"id, ,text\n", "leaves a field without a name"),
        (b"id,text,id\n", "has 'id' more than once"),
        (b"id,t\xe9xt\n", "the header row is not UTF-8"),
        ("id,text\n".encode("utf-16"), "the header row is not UTF-8"),
        (b'id,"text\n1,a\n', "the header row cannot be split into names: unexpected end of data"),
        (b"id,text\r1,a\r", "the header row cannot be split into names: new-line character"),
    ],
)
def test_a_header_that_leaves_open_what_the_cells_mean_is_an_error(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(SourceError, match=reason) as error:
        read(path, data)
    assert error.value.message.startswith(f"{str(path)!r}, line 1: ")


def test_a_quote_that_is_never_closed_is_an_error_that_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="line 3: a quote is opened in this row and never closed"):
        read(tmp_path / "a.csv", b'id,text\n1,a\n2,"b\n3,c\n4,d\n')


def test_a_quote_that_swallows_a_whole_file_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 100)
    with pytest.raises(
        SourceError, match="line 2: the row is longer than 100 bytes, so a quote is probably not closed"
    ):
        read(tmp_path / "a.csv", b'id,text\n1,"b\n' + b"3,c\n" * 1000)


def test_a_cell_may_be_longer_than_the_limit_of_the_csv_module(tmp_path: Path) -> None:
    (row,) = read(tmp_path / "a.csv", b"id,text\n1," + b"x" * 1_000_000)
    assert isinstance(row, Row)
    assert row.fields["text"] == "x" * 1_000_000


def test_each_file_has_its_own_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,a\n")
    (tmp_path / "b.csv").write_bytes(b"text,id\nb,2\n")
    source = Delimited((tmp_path / "a.csv", tmp_path / "b.csv"), ",", "id")
    assert list(source.rows()) == [
        Row({"id": "1", "text": "a"}, Place(str(tmp_path / "a.csv"), 2)),
        Row({"text": "b", "id": "2"}, Place(str(tmp_path / "b.csv"), 2)),
    ]


@settings(max_examples=80)
@given(st.lists(st.tuples(CELL, CELL)), st.sampled_from([",", "\t"]))
def test_any_cells_written_by_csv_come_back(cells: list[tuple[str, str]], delimiter: str) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "text"), *cells])
    with tempfile.TemporaryDirectory() as folder:
        rows = read(Path(folder) / "a.csv", written.getvalue().encode(), delimiter)
    assert [row.fields for row in rows if isinstance(row, Row)] == [
        {"id": id or None, "text": text or None} for id, text in cells
    ]


@settings(max_examples=100)
@given(st.binary())
def test_no_bytes_make_it_fail_in_a_way_that_is_not_foreseen(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SourceError):
        rows = read(Path(folder) / "a.csv", b"id,text\n" + data)
        assert all(row.place.line >= 2 for row in rows)
