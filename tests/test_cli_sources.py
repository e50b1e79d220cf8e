"""Does the command line index, re-index and search what lies in databases, elsewhere and in documents?"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import pytest
from document_files import paragraph, pdf, word, write
from postgres import PASSWORD, QUOTED, Postgres
from service_support import Run
from web import Web

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


def test_a_file_behind_a_url_is_given_on_the_command_line(run: Run) -> None:
    lines = b'{"id": "bread", "text": "how to bake bread"}\n{"id": "stars", "text": "how stars are born"}\n'
    with Web() as web:
        given = (web.put("/a.jsonl?token=hidden", lines), "--collection", "c")
        assert counts(run, *given) == {"added": 2}
        assert found(run, "c", "a loaf from the oven") == ["bread", "stars"]
        web.put("/a.jsonl?token=hidden", lines.replace(b"stars are born", b"rivers flow"))
        assert counts(run, *given) == {"changed": 1, "unchanged": 1}
        web.put("/a.jsonl?token=hidden", lines[:-20], length=len(lines))
        cut = run("index", *given, code=4)
        assert f"'{web.url('/a.jsonl')}?***' cannot be read to its end" in cut.stderr
        assert "hidden" not in cut.output
        assert found(run, "c", "water running to the sea")[0] == "stars"


def test_documents_of_a_folder_are_indexed_by_their_paths_with_their_titles(run: Run, here: Path) -> None:
    docs = here / "docs"
    write(
        docs,
        **{
            "food/bread.pdf": pdf("How to bake bread", title="Bread"),
            "sky/stars.docx": word(paragraph("How stars are born"), "Stars"),
            "sea.html": "<title>Rivers</title><p>How rivers flow",
            "shoes.md": "How to tie shoes",
        },
    )
    given = ("docs", "--collection", "c")
    assert counts(run, *given) == {"added": 4}
    assert found(run, "c", "a loaf from the oven")[0] == "food/bread.pdf"
    only = run("search", "c", "anything", "--filter", '{"title": {"$in": ["Rivers", "Stars"]}}', "--json")
    assert {hit["id"] for hit in json.loads(only.stdout)["hits"]} == {"sea.html", "sky/stars.docx"}
    write(docs, **{"sea.html": "<title>Rivers</title><p>How cheese is made", "food/bread.pdf": b"damaged"})
    again = run("index", *given, "--json", code=3)
    items = json.loads(again.stdout)["items"]
    assert (items["changed"], items["rejected"], items["deleted"]) == (1, 1, 0)
    assert found(run, "c", "milk, rennet and salt")[0] == "sea.html"
    assert found(run, "c", "a loaf from the oven")[0] == "food/bread.pdf"


def test_a_missing_extra_gives_2_and_a_glob_is_the_way_out(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here / "docs", **{"a.md": "one", "b/c.pdf": pdf("two")})
    monkeypatch.delitem(sys.modules, "indexer.sources.documents.pdf", raising=False)
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    missing = run("index", "docs", "--collection", "c", code=2)
    assert "'docs/b/c.pdf' is a document, which needs packages that are not installed" in missing.stderr
    assert counts(run, "docs/**/*.md", "--collection", "c") == {"added": 1}
