"""Is every mistake told in a sentence, with the exit code that is stated for it, and never with a traceback?"""

from __future__ import annotations

import gzip
import json
import socket
from pathlib import Path

import httpx2 as httpx
import pytest
from service_support import Run, process

from indexer import storage

pytest_plugins = ["service_fixtures"]


def test_rejected_rows_give_3_and_are_written_down(run: Run, here: Path) -> None:
    rows = '{"id": "a", "text": "bread"}\n{"id": "b"}\nnot JSON\n{"id": "c", "text": "soup"}\n'
    (here / "bad.jsonl").write_text(rows, encoding="utf-8")
    result = run("index", "bad.jsonl", "--collection", "bad", "--json", code=3)
    report = json.loads(result.stdout)
    assert (report["published"], report["items"]["rejected"]) == (True, 2)
    rejects = [json.loads(line) for line in Path(report["rejects_file"]).read_text(encoding="utf-8").splitlines()]
    assert [(row["line"], row["id"]) for row in rejects] == [(2, "b"), (3, None)]
    assert "2 rows rejected, see " in run("index", "bad.jsonl", "--collection", "again", code=3).stdout


def test_a_source_that_cannot_be_read_gives_4_and_the_other_collections_go_on(run: Run, here: Path) -> None:
    (here / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"id": "a", "text": "bread"}\n' * 999)[:-9])
    assert "cut.jsonl.gz" in run("index", "cut.jsonl.gz", "--collection", "cut", code=4).stderr
    config = '[collections.bad]\nsource = "cut.jsonl.gz"\n[collections.good]\nsource = "few.jsonl"\n'
    (here / "parecido.toml").write_text(config, encoding="utf-8")
    first, second = map(json.loads, run("index", "--json", code=4).stdout.splitlines())
    assert (first["collection"], first["error"]["code"]) == ("bad", "source_error")
    assert (second["collection"], second["published"]) == ("good", True)


def test_a_collection_that_another_run_holds_gives_5(run: Run, here: Path) -> None:
    with storage.lock(storage.collection_folder(here / "parecido-data", "few")):
        assert "is being indexed by process" in run("index", "few.jsonl", "--collection", "few", code=5).stderr
    run("index", "few.jsonl", "--collection", "few")


def test_a_damaged_collection_gives_1_and_names_the_file(run: Run, here: Path) -> None:
    for name in ("broken", "whole"):
        run("index", "few.jsonl", "--collection", name)
    manifest = here / "parecido-data" / "collections" / "broken" / "generations" / "000001.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"items":2', b'"items":3'))
    for command in (("search", "broken", "x"), ("compare", "broken", "a", "b"), ("generations", "broken")):
        assert "000001.json" in run(*command, code=1).stderr
    said = run("status", code=1).stdout
    assert "000001.json" in said
    assert "whole: generation 1, 2 items" in said


MISTAKES: list[tuple[tuple[str, ...], int, str]] = [
    (("index",), 2, "There is no collection to index"),
    (("index", "few.jsonl"), 2, "--collection NAME"),
    (("index", "--collection", "few"), 2, "has no source"),
    (("index", "none.jsonl", "--collection", "few"), 4, "none.jsonl"),
    (("index", "none/*.jsonl", "--collection", "few"), 4, "none/*.jsonl"),
    (("index", "few.jsonl", "--collection", "Bad Name"), 2, "'Bad Name' cannot name a collection"),
    (("index", "few.jsonl", "--collection", "../up"), 2, "cannot name a collection"),
    (("index", "few.jsonl", "--collection", "few", "--type", "n"), 2, "--type is FIELD=TYPE"),
    (("index", "few.jsonl", "--collection", "few", "--type", "n=number"), 2, "--type is FIELD=TYPE"),
    (("index", "few.jsonl", "--collection", "few", "--format", "xml"), 2, "'xml' is not one of"),
    (("index", "--config", "none.toml"), 2, "none.toml"),
    (("index", "--config", "few.jsonl"), 2, "few.jsonl"),
    (("search", "few", "x"), 2, "has no published generation"),
    (("search", "../up", "x"), 2, "cannot name a collection"),
    (("search",), 2, "Missing argument"),
    (("compare", "few", "a", "b"), 2, "has no published generation"),
    (("generations", "few"), 2, "has no published generation"),
    (("init", "no/folder/here.toml"), 2, "cannot be written"),
    (("status", "--store", "few.jsonl"), 2, "is a file"),
    (("verify",), 2, "There is nothing in the store"),
    (("repair", "--store", "nowhere"), 2, "There is nothing in the store 'nowhere'"),
    (("index", "few.jsonl", "--collection", "few", "--recall", "all"), 2, 'between 0 and 1, or "exact" for all'),
    (("search", "few", "x", "--recall", "all"), 2, "'all' is not a valid float"),
    (("fly",), 2, "No such command"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_is_told_in_a_sentence(run: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = run(*arguments, code=code)
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "--filter", "{n: 1}"), "--filter is not JSON"),
        (("x", "--filter", '{"colour": 1}'), "no field 'colour'"),
        (("x", "--filter", "[]"), "A filter is an object"),
        (("x", "--id", "a"), "exactly one of text, id and vector"),
        ((), "exactly one of text, id and vector"),
        ((" ",), "blank"),
        (("--id", "nobody"), "has no item 'nobody'"),
        (("x", "--model", "another"), "'another'"),
        (("x", "--limit", "0"), "--limit"),
        (("x", "--limit", "1001"), "limit is 1 to 1000"),
        (("x", "--include", "colour"), "--include"),
    ],
)
def test_a_wrong_query_gives_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    run("index", "few.jsonl", "--collection", "few")
    assert message in run("search", "few", *arguments, code=2).stderr


def test_an_error_with_json_is_the_envelope_of_the_service(here: Path, api: httpx.Client, served_store: Path) -> None:
    done = process(here, "search", "notes", "--id", "nobody", "--json", PARECIDO_STORE=str(served_store))
    assert done.returncode == 2
    assert json.loads(done.stdout) == api.post("/v1/collections/notes/search", json={"id": "nobody"}).json()
    assert done.stderr.startswith("parecido: Collection 'notes' has no item 'nobody'")


def test_an_unknown_model_gives_1_and_says_what_was_tried(here: Path) -> None:
    done = process(here, "index", "few.jsonl", "--collection", "few", "--model", "no/such-model")
    assert done.returncode == 1
    assert "There is no model 'no/such-model'" in done.stderr


def test_a_port_in_use_is_a_sentence_and_2(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = process(here, "serve", "--port", str(port))
    assert done.returncode == 2
    assert f"Cannot listen on 127.0.0.1, port {port}" in done.stderr
