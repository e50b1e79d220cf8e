"""Does a query of a database give its rows as items know them, and is what goes wrong told?"""

from __future__ import annotations

import re
import sqlite3
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support import NAME, Silent, StandIn, contents

from indexer.build import build
from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError, SourceError
from indexer.items import Place, Rejected
from indexer.report import Report
from indexer.sources import Row, open_source

ALL = "SELECT * FROM t ORDER BY id"


def execute(path: Path, *statements: str, many: tuple[str, Iterable[tuple[Any, ...]]] | None = None) -> Path:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
        if many:
            connection.executemany(*many)
    connection.close()
    return path


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Two rows."""
    return execute(
        tmp_path / "x.db",
        "CREATE TABLE t (id, text, n)",
        "INSERT INTO t VALUES ('a', 'one', 1), ('b', 'two', 2)",
    )


def settings(source: Path | str | list[str], query: str | None = ALL, **more: Any) -> CollectionSettings:
    url = f"sqlite:///{source}" if isinstance(source, Path) else source
    return CollectionSettings.model_validate(
        {"source": url, "query": query, "device": "cpu", "max_shrink": 1, "max_rejects": 1, **more}
    )


def read(source: Path | str | list[str], query: str | None = ALL, **more: Any) -> list[Row | Rejected]:
    return list(open_source(settings(source, query, **more)).rows())


def failure(source: Path | str | list[str], query: str | None = ALL, **more: Any) -> SourceError | ConfigurationError:
    with pytest.raises((SourceError, ConfigurationError)) as error:
        read(source, query, **more)
    return error.value


def test_each_row_of_the_query_is_a_row_with_its_number(db: Path) -> None:
    place = f"sqlite:///{db}"
    assert read(db) == [
        Row({"id": "a", "text": "one", "n": 1}, Place(place, 1)),
        Row({"id": "b", "text": "two", "n": 2}, Place(place, 2)),
    ]


def test_several_databases_are_asked_one_after_the_other(db: Path, tmp_path: Path) -> None:
    other = execute(tmp_path / "y.db", "CREATE TABLE t (id, text)", "INSERT INTO t VALUES ('c', 'three')")
    rows = read([f"sqlite:///{other}", f"sqlite:///{db}"])
    assert [(row.fields["id"], row.place.line) for row in rows if isinstance(row, Row)] == [
        ("c", 1),
        ("a", 1),
        ("b", 2),
    ]


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("NULL", None),
        ("'100% :x ?'", "100% :x ?"),
        ("x'ff'", b"\xff"),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_each_value_comes_as_python_knows_it(db: Path, literal: str, value: object) -> None:
    (row,) = read(db, f"SELECT {literal} AS v")
    assert isinstance(row, Row)
    assert row.fields == {"v": value}


def test_a_text_that_is_not_utf_8_rejects_its_row_only(db: Path) -> None:
    execute(db, "INSERT INTO t VALUES ('aa', CAST(x'63e9' AS TEXT), 3), (CAST(x'ff' AS TEXT), 'x', 4)")
    place = f"sqlite:///{db}"
    assert read(db)[1:] == [
        Rejected(Place(place, 2), "field 'text' is not UTF-8", "aa"),
        Row({"id": "b", "text": "two", "n": 2}, Place(place, 3)),
        Rejected(Place(place, 4), "field 'id' is not UTF-8", None),
    ]


def test_many_rows_take_little_memory_and_come_as_they_are_asked_for(tmp_path: Path) -> None:
    many = ((i, "x" * 1000) for i in range(20_000))
    db = execute(tmp_path / "x.db", "CREATE TABLE t (id, text)", many=("INSERT INTO t VALUES (?, ?)", many))
    source = open_source(settings(db, "SELECT id, text FROM t"))
    assert isinstance(next(source.rows()), Row)
    tracemalloc.start()
    try:
        count = sum(isinstance(row, Row) for row in source.rows())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 2**20 < 20_000 * 1000 / 10


def test_nothing_is_ever_written_to_the_database(db: Path) -> None:
    before = db.read_bytes()
    for query in ("DELETE FROM t RETURNING id, text", "INSERT INTO t VALUES ('c', 'x', 1)", "DROP TABLE t"):
        assert "attempt to write a readonly database" in failure(db, query).message
    assert db.read_bytes() == before


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    error = failure(tmp_path / "none.db")
    assert isinstance(error, SourceError)
    assert f"There is no database file '{tmp_path}/none.db'" in error.message
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello" * 999, encoding="utf-8")
    assert "file is not a database" in failure(tmp_path / "x.db").message


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT * FROM none", "refuses the query: no such table: none. Nothing is published"),
        ("SELEC 1", 'refuses the query: near "SELEC": syntax error'),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT 1 AS id, 2 AS id", "more than one column 'id': name all but one differently with AS"),
        ("ATTACH ':memory:' AS m", "gives no rows: make it a SELECT"),
    ],
)
def test_a_wrong_query_is_told(db: Path, query: str, reason: str) -> None:
    error = failure(db, query)
    assert isinstance(error, SourceError)
    assert reason in error.message
    assert error.param == "query"


def test_damage_in_the_middle_is_an_error_that_says_how_far_it_was_read(tmp_path: Path) -> None:
    many = ((i, "x" * 1000) for i in range(2000))
    db = execute(tmp_path / "x.db", "CREATE TABLE t (id, text)", many=("INSERT INTO t VALUES (?, ?)", many))
    data = bytearray(db.read_bytes())
    data[2**20 : 2**20 + 2**16] = b"\xff" * 2**16
    db.write_bytes(data)
    error = failure(db, "SELECT id, text FROM t")
    assert isinstance(error, SourceError)
    assert re.search(r"cannot be read to its end: at row (7|10)\d\d or soon after: ", error.message)
    assert "database disk image is malformed" in error.message


@pytest.mark.parametrize(
    ("more", "param", "message"),
    [
        ({"query": None}, "query", "is a database: say with `query` which rows"),
        ({"query": "  "}, "query", "is a database: say with `query` which rows"),
        ({"format": "csv"}, "format", "is a database, not csv: leave `format` out"),
        ({"source": ["sqlite:///x.db", "a.csv"]}, "source", "is a database and 'a.csv' is not"),
        ({"source": "a.csv"}, "query", "`query` asks a database, and `source` names none"),
        ({"source": "https://h/a.csv?token=secret"}, "query", "`query` asks a database"),
        ({"source": "a.csv", "format": "sql"}, "source", "'a.csv' is no URL of a database"),
        ({"source": "nosuch://me:secret@h/d", "format": "sql"}, "source", "needs a driver that is not installed"),
        ({"source": "postgresql+nosuch://me:secret@h/d"}, "source", "needs a driver that is not installed"),
        ({"source": "mysql://me:secret@h/d"}, "source", "needs a driver that is not installed (No module named"),
        ({"source": "postgresql+psycopg_async://me:secret@h/d"}, "source", "names an asynchronous driver"),
        ({"source": "postgresql://me:sec:ret@h:secret/d"}, "source", "cannot be read as a URL"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_read(more: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        open_source(settings(**{"source": "sqlite:///x.db", **more}))
    assert message in error.value.message
    assert error.value.param == param
    assert "secret" not in error.value.message


@pytest.mark.parametrize(("module", "url"), [("sqlalchemy", "sqlite:///x.db"), ("psycopg", "postgres://me:secret@h/d")])
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, module: str, url: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'parecido\[sql\]'") as error:
        open_source(settings(url))
    assert "secret" not in error.value.message


def index(store: Path, db: Path, **more: Any) -> Report:
    return build(store, NAME, settings(db, **more), Silent())


def test_items_follow_the_database_from_run_to_run(db: Path, tmp_path: Path, stand_in: StandIn) -> None:
    store = tmp_path / "store"
    assert index(store, db).items.added == 2
    assert contents(store) == {"a": ("one", {"n": 1}), "b": ("two", {"n": 2})}
    assert not index(store, db).published
    execute(db, "UPDATE t SET text = 'deux' WHERE id = 'b'", "INSERT INTO t VALUES (7, 'seven', 7)")
    execute(db, "DELETE FROM t WHERE id = 'a'")
    counts = index(store, db).items
    assert (counts.added, counts.changed, counts.deleted) == (1, 1, 1)
    assert contents(store) == {"7": ("seven", {"n": 7}), "b": ("deux", {"n": 2})}


def test_a_row_with_a_bad_id_or_value_is_rejected_with_its_number(db: Path, tmp_path: Path, stand_in: StandIn) -> None:
    execute(db, "INSERT INTO t VALUES (NULL, 'x', 1), (1.5, 'y', 1), ('c', 'z', x'00'), ('', 'z', 1)")
    store = tmp_path / "store"
    report = index(store, db)
    assert (report.items.added, report.items.rejected) == (2, 4)
    rejects = (store / "collections" / NAME / "rejects.jsonl").read_text(encoding="utf-8")
    for reason in (
        "field 'id' is missing",
        "the id is a float (1.5)",
        "field 'n' holds binary data",
        "the id is empty",
        f'"file":"sqlite:///{db}","line":6,"id":"c"',
    ):
        assert reason in rejects


def test_a_query_that_fails_leaves_the_generation_as_it_was(db: Path, tmp_path: Path, stand_in: StandIn) -> None:
    store = tmp_path / "store"
    index(store, db)
    before = contents(store)
    execute(db, "DROP TABLE t")
    with pytest.raises(SourceError, match="no such table: t"):
        index(store, db)
    assert contents(store) == before
