"""Is a query of a real PostgreSQL server read as a stream, to its end or not at all, without a word of the password?"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from postgres import PASSWORD, QUOTED, Postgres
from support import NAME, Silent, StandIn, contents

from indexer.build import build
from indexer.config import CollectionSettings
from indexer.errors import SourceError
from indexer.items import Place, Rejected
from indexer.report import Report
from indexer.sources import Row, open_source

FEW = "SELECT * FROM (VALUES ('a', 'one', 1), ('b', 'two', 2)) AS t (id, text, n)"


def settings(url: str, query: str, **more: Any) -> CollectionSettings:
    return CollectionSettings.model_validate({"source": url, "query": query, "device": "cpu", "max_shrink": 1, **more})


def read(url: str, query: str) -> list[Row | Rejected]:
    return list(open_source(settings(url, query)).rows())


def value(postgres: Postgres, expression: str) -> object:
    (row,) = read(postgres.url, f"SELECT {expression} AS v")
    assert isinstance(row, Row)
    return row.fields["v"]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_each_row_of_the_query_is_a_row_of_the_server_without_its_password(postgres: Postgres, scheme: str) -> None:
    url, place = (each.replace("postgresql", scheme, 1) for each in (postgres.url, postgres.shown))
    assert read(url, FEW) == [
        Row({"id": "a", "text": "one", "n": 1}, Place(place, 1)),
        Row({"id": "b", "text": "two", "n": 2}, Place(place, 2)),
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("7::bigint", 7),
        ("'7'::numeric(20)", 7),
        ("7.50::numeric(10, 2)", 7.5),
        ("0.5::float8", 0.5),
        ("true", True),
        ("NULL", None),
        ("'100% naïve :x %s'", "100% naïve :x %s"),
        ("'2024-02-29'::date", datetime(2024, 2, 29, tzinfo=UTC)),
        ("'2024-02-29 12:00'::timestamp", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("'2024-02-29 12:00+02'::timestamptz", datetime(2024, 2, 29, 10, tzinfo=UTC)),
        ("array['a', 'b']", ["a", "b"]),
        ("array['00000000-0000-0000-0000-000000000001'::uuid]", ["00000000-0000-0000-0000-000000000001"]),
        ("""'["a"]'::jsonb""", ["a"]),
        ("""'{"a": 1}'::json""", {"a": 1}),
        ("'00000000-0000-0000-0000-000000000001'::uuid", "00000000-0000-0000-0000-000000000001"),
        ("'\\xff'::bytea", b"\xff"),
    ],
)
def test_each_type_comes_as_items_know_it(postgres: Postgres, expression: str, expected: object) -> None:
    found = value(postgres, expression)
    assert found == expected
    assert type(found) is type(expected)


def test_a_value_that_no_item_can_hold_rejects_its_row_with_the_reason(
    postgres: Postgres, tmp_path: Path, stand_in: StandIn
) -> None:
    wrong = ["'\\xff'::bytea", "'{}'::json", "interval '1 day'", "time '12:30'", "'NaN'::float8", "array[1]"]
    for number, expression in enumerate(wrong):
        query = f"SELECT 'a' AS id, 'text' AS text, {expression} AS v"
        assert index(tmp_path / str(number), postgres, query).items.rejected == 1
        (line,) = rejects(tmp_path / str(number))
        assert (line["id"], line["line"], line["file"]) == ("a", 1, postgres.shown)
        assert line["reason"].startswith("field 'v' holds ")


def index(store: Path, postgres: Postgres, query: str, **more: Any) -> Report:
    return build(store, NAME, settings(postgres.url, query, max_rejects=1, **more), Silent())


def rejects(store: Path) -> list[dict[str, Any]]:
    text = (store / "collections" / NAME / "rejects.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_row_with_a_bad_id_is_rejected_and_the_rest_goes_through(
    postgres: Postgres, tmp_path: Path, stand_in: StandIn
) -> None:
    query = "SELECT * FROM (VALUES ('a', 'one'), (NULL, 'two'), ('', 'three'), ('d', 'four')) AS t (id, text)"
    assert index(tmp_path, postgres, query).items.rejected == 2
    assert sorted(contents(tmp_path)) == ["a", "d"]
    assert [(row["line"], row["id"]) for row in rejects(tmp_path)] == [(2, None), (3, None)]


@pytest.mark.parametrize(
    ("kind", "id"),
    [
        ("bigint", "9007199254740993"),
        ("numeric(30)", "123456789012345678901234567890"),
        ("uuid", "00000000-0000-0000-0000-000000000001"),
        ("text", "a/b c"),
    ],
)
def test_ids_are_those_of_the_table(postgres: Postgres, tmp_path: Path, stand_in: StandIn, kind: str, id: str) -> None:
    index(tmp_path, postgres, f"SELECT '{id}'::{kind} AS key, 'one' AS text", id="key")
    assert list(contents(tmp_path)) == [id]


def test_items_follow_the_table_from_run_to_run(postgres: Postgres, tmp_path: Path, stand_in: StandIn) -> None:
    postgres.run("CREATE TABLE books (id int PRIMARY KEY, text text, tags text[])")
    postgres.run("INSERT INTO books VALUES (1, 'one', '{a,b}'), (2, 'two', NULL)")
    query = "SELECT * FROM books"
    index(tmp_path, postgres, query)
    assert contents(tmp_path) == {"1": ("one", {"tags": ["a", "b"]}), "2": ("two", {})}
    assert not index(tmp_path, postgres, query).published
    postgres.run("UPDATE books SET text = 'deux' WHERE id = 2", "DELETE FROM books WHERE id = 1")
    counts = index(tmp_path, postgres, query).items
    assert (counts.added, counts.changed, counts.deleted) == (0, 1, 1)
    assert contents(tmp_path) == {"2": ("deux", {})}


def test_nothing_is_ever_written_to_the_database(postgres: Postgres) -> None:
    postgres.run(
        "CREATE TABLE kept (id int)",
        "CREATE FUNCTION spoil() RETURNS int LANGUAGE sql AS 'INSERT INTO kept VALUES (1) RETURNING id'",
    )
    with pytest.raises(SourceError, match="cannot execute INSERT in a read-only transaction"):
        read(postgres.url, "SELECT spoil() AS id")
    assert postgres.run("SELECT count(*) FROM kept") == [(0,)]


def test_a_connection_that_is_lost_in_the_middle_is_an_error_and_the_generation_stays(
    postgres: Postgres, tmp_path: Path, stand_in: StandIn
) -> None:
    index(tmp_path, postgres, FEW)
    before = contents(tmp_path)

    class Ends(Silent):
        """Ends the connection after the first thousand rows."""

        ended = 0

        def advance(self, count: int) -> None:
            """Rows were read."""
            self.ended = self.ended or postgres.end_readers()

    ends = Ends()
    many = settings(postgres.url, "SELECT g AS id, 'text ' || g AS text FROM generate_series(1, 100000) AS g")
    with pytest.raises(SourceError) as error:
        build(tmp_path, NAME, many, ends)
    assert ends.ended == 1
    assert re.fullmatch(
        re.escape(f"'{postgres.shown}'") + r" cannot be read to its end: at row 1[0-9]{3} or soon after: terminating "
        "connection due to administrator command. Nothing is published from a part of a source: run again when the "
        "query gives all its rows.",
        error.value.message,
    )
    assert contents(tmp_path) == before
    assert index(tmp_path, postgres, FEW).reason == "nothing changed"


def test_an_error_in_the_middle_of_the_rows_is_an_error_of_the_source(postgres: Postgres) -> None:
    query = "SELECT 1 / (1000 - g) AS id, 'x' AS text FROM generate_series(1, 2000) AS g"
    with pytest.raises(SourceError, match=r"cannot be read to its end: at row 9\d\d or soon after: division by zero"):
        read(postgres.url, query)


def test_many_rows_take_little_memory(postgres: Postgres) -> None:
    query = "SELECT g AS id, repeat('x', 1000) AS text FROM generate_series(1, 200000) AS g"
    code = (
        "import resource, sys\n"
        "from indexer.config import CollectionSettings\n"
        "from indexer.sources import open_source\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "rows = open_source(CollectionSettings(source=(sys.argv[1],), query=sys.argv[2])).rows()\n"
        "count = sum(1 for row in [*(next(rows) for _ in range(1000))])\n"
        "before = peak()\n"
        "print(count + sum(1 for row in rows), peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, postgres.url, query], capture_output=True, text=True, check=True, env=os.environ
    )
    count, kilobytes = map(int, done.stdout.split())
    assert count == 200_000
    assert kilobytes < 10_000 < 200_000 * 1000 / 1024 / 10


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT * FROM absent", 'relation "absent" does not exist'),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("UPDATE t SET x = 1", 'syntax error at or near "UPDATE"'),
        ("SELECT 1 AS id, 2 AS id", "more than one column 'id'"),
    ],
)
def test_a_wrong_query_is_told(postgres: Postgres, query: str, reason: str) -> None:
    with pytest.raises(SourceError) as error:
        read(postgres.url, query)
    assert reason in error.value.message
    assert postgres.shown in error.value.message
    assert error.value.param == "query"


def test_whatever_is_wrong_with_the_connection_is_told_without_the_password(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = {
        postgres.url.replace(QUOTED, "wrong-secret"): 'password authentication failed for user "postgres"',
        postgres.url.replace(str(postgres.port), "1"): "Connection refused",
        postgres.url.replace("127.0.0.1", "no.such.host.invalid"): "no.such.host.invalid",
        postgres.url.removesuffix("/postgres") + "/absent": 'database "absent" does not exist',
        f"{postgres.url}?password={QUOTED}&sslmode={QUOTED}": 'invalid sslmode value: "***"',
        f"{postgres.url}?nosuch=1": 'invalid connection option "nosuch"',
    }
    for url, reason in wrong.items():
        with pytest.raises(SourceError) as error:
            read(url, FEW)
        assert "cannot be reached: " in error.value.message
        assert reason in error.value.message
        assert "correct host, port, user and password of `source`" in error.value.message
        for secret in (PASSWORD, QUOTED, "wrong-secret"):
            assert secret not in error.value.message + repr(error.value) + caplog.text


def test_the_source_never_shows_its_password(postgres: Postgres) -> None:
    source = open_source(settings(postgres.url, FEW))
    assert PASSWORD not in repr(source)
    assert QUOTED not in repr(source)
