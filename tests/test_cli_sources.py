"""Does the command line index, re-index and search what lies in databases, elsewhere and in documents?"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from postgres import PASSWORD, QUOTED, Postgres
from service_support import Run

pytest_plugins = ["service_fixtures"]

FEW = "SELECT * FROM (VALUES ('bread', 'how to bake bread'), ('stars', 'how stars are born')) AS t (id, text)"


def found(run: Run, collection: str, text: str) -> list[str]:
    """The ids of the hits, best first."""
    return [hit["id"] for hit in json.loads(run("search", collection, text, "--json").stdout)["hits"]]


def counts(run: Run, *arguments: str) -> dict[str, int]:
    """What became of the items of an indexed collection, those of which there are any."""
    items = json.loads(run("index", *arguments, "--json").stdout)["items"]
    return {name: count for name, count in items.items() if count}


def test_an_sqlite_database_is_given_on_the_command_line(run: Run, here: Path) -> None:
    with sqlite3.connect(here / "x.db") as database:
        database.execute("CREATE TABLE t (key, body, stars)")
        database.execute("INSERT INTO t VALUES (1, 'how to bake bread', 4), (2, 'how stars are born', 5)")
    given = ("sqlite:///x.db", "--query", "SELECT * FROM t", "--id", "key", "--text", "body", "--collection", "c")
    assert counts(run, *given) == {"added": 2}
    assert found(run, "c", "a loaf from the oven") == ["1", "2"]
    with database:
        database.execute("UPDATE t SET body = 'how rivers flow' WHERE key = 1")
    database.close()
    assert counts(run, *given) == {"changed": 1, "unchanged": 1}
    assert found(run, "c", "water running to the sea")[0] == "1"


def test_a_database_of_the_configuration_is_found_from_any_folder(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(here / "x.db") as database:
        database.execute("CREATE TABLE t AS SELECT 'bread' AS id, 'how to bake bread' AS text")
    database.close()
    (here / "parecido.toml").write_text(
        '[collections.c]\nsource = "sqlite:///x.db"\nquery = "SELECT * FROM t"\n', encoding="utf-8"
    )
    (here / "sub").mkdir()
    monkeypatch.chdir(here / "sub")
    assert counts(run, "--config", "../parecido.toml") == {"added": 1}


def test_a_database_without_a_query_or_a_query_without_a_database_gives_2(run: Run) -> None:
    assert "with `query`" in run("index", "sqlite:///x.db", "--collection", "c", code=2).stderr
    wrong = run("index", "few.jsonl", "--query", "SELECT 1", "--collection", "c", code=2)
    assert "`query` asks a database" in wrong.stderr


def test_a_wrong_query_gives_4(run: Run, here: Path) -> None:
    sqlite3.connect(here / "x.db").close()
    wrong = run("index", "sqlite:///x.db", "--query", "SELEC", "--collection", "c", code=4)
    assert "refuses the query" in wrong.stderr


def test_a_password_is_taken_from_the_environment_and_shown_nowhere(
    run: Run, here: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.url.replace(QUOTED, "${BOOKS_PASSWORD}")
    (here / "parecido.toml").write_text(
        f'[collections.books]\nsource = "{url}"\nquery = "{FEW}"\n[collections.other]\nsource = "few.jsonl"\n',
        encoding="utf-8",
    )
    unset = run("index", "books", code=2)
    assert "names the environment variable 'BOOKS_PASSWORD', which is not set" in unset.stderr
    assert counts(run, "other") == {"added": 2}
    monkeypatch.setenv("BOOKS_PASSWORD", PASSWORD)
    assert counts(run, "books") == {"added": 2}
    monkeypatch.setenv("BOOKS_PASSWORD", "wrong-secret")
    wrong = run("index", "books", "--json", code=4)
    assert "password authentication failed" in wrong.stderr
    assert "wrong-secret" not in wrong.output
    assert found(run, "books", "a loaf from the oven")[0] == "bread"
    files = [path for path in (here / "parecido-data").rglob("*") if path.is_file()]
    assert files
    assert not any(PASSWORD.encode() in path.read_bytes() or QUOTED.encode() in path.read_bytes() for path in files)
