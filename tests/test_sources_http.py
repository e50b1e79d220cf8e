"""Are files read over HTTP as a stream, and to their end or not at all?"""

from __future__ import annotations

import base64
import gzip
import importlib
import io
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import NAME, Silent, StandIn, contents
from web import Web

from indexer.build import build
from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError, SourceError
from indexer.items import Place, Rejected
from indexer.report import Report
from indexer.sources import Row, open_source

LINES = b'{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'
MANY = b"".join(b'{"id": "%d", "text": "text %d"}\n' % (i, i) for i in range(20_000))


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server."""
    with Web() as server:
        yield server


def settings(*urls: str, **more: Any) -> CollectionSettings:
    return CollectionSettings.model_validate({"source": urls, "device": "cpu", "max_shrink": 1, **more})


def read(*urls: str, **more: Any) -> list[Row | Rejected]:
    return list(open_source(settings(*urls, **more)).rows())


def fields(rows: list[Row | Rejected]) -> list[dict[str, Any]]:
    return [row.fields for row in rows if isinstance(row, Row)]


def failure(*urls: str, **more: Any) -> SourceError:
    with pytest.raises(SourceError) as error:
        read(*urls, **more)
    return error.value


def parquet(rows: int) -> bytes:
    file = io.BytesIO()
    table = pa.table({"id": [str(i) for i in range(rows)], "text": [f"text {i}" for i in range(rows)]})
    pq.write_table(table, file)
    return file.getvalue()


def test_each_line_is_a_row_of_its_url(web: Web) -> None:
    url = web.put("/a.jsonl", LINES)
    assert read(url) == [
        Row({"id": "a", "text": "one"}, Place(url, 1)),
        Row({"id": "b", "text": "two"}, Place(url, 2)),
    ]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("a.csv", b"id,text\na,one\nb,two\n"),
        ("a.tsv.gz", gzip.compress(b"id\ttext\na\tone\nb\ttwo\n")),
    ],
    ids=["jsonl", "jsonl.gz", "csv", "tsv.gz"],
)
def test_the_name_in_the_url_tells_the_format(web: Web, name: str, body: bytes, chunked: bool) -> None:
    url = web.put(f"/x/{name}?token=s.parquet", body, chunked=chunked)
    assert fields(read(url)) == [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}]


def test_a_url_whose_name_tells_nothing_takes_a_format(web: Web) -> None:
    url = web.put("/export?id=7", LINES)
    with pytest.raises(ConfigurationError, match=r"/export\?\*\*\*' does not tell a format"):
        read(url)
    assert len(read(url, format="jsonl")) == 2


def test_parquet_is_read_from_servers_that_know_no_ranges(web: Web, tmp_path: Path) -> None:
    rows = read(web.put("/a.parquet", parquet(3000)))
    assert fields(rows) == [{"id": str(i), "text": f"text {i}"} for i in range(3000)]
    assert rows[-1].place == Place(web.url("/a.parquet"), 3000)
    assert len(web.asked) == 1


def test_a_transfer_that_is_compressed_is_read_once_and_not_twice(web: Web) -> None:
    packed = gzip.compress(LINES)
    declared = {"Content-Encoding": "gzip"}
    for path, body in (("/a.jsonl.gz", packed), ("/a.jsonl", packed)):
        assert len(fields(read(web.put(path, body, headers=declared)))) == 2
    assert {headers["Accept-Encoding"] for _, headers in web.asked} == {"identity"}


def test_redirections_are_followed(web: Web) -> None:
    web.put("/b.jsonl", LINES)
    assert len(read(web.put("/a.jsonl", b"", status=302, headers={"Location": "/b.jsonl"}))) == 2


def test_several_urls_and_files_here_are_read_in_their_order(web: Web, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(b'{"id": "c"}\n')
    b, a = web.put("/b.jsonl", b'{"id": "b"}\n'), web.put("/a.jsonl", b'{"id": "a"}\n')
    assert [row["id"] for row in fields(read(b, str(tmp_path / "*.jsonl"), a, b))] == ["b", "c", "a"]


def test_user_and_password_of_the_url_are_sent_and_not_shown(web: Web) -> None:
    web.put("/a.jsonl?t=hidden", b"{}\nbroken\n")
    url = f"http://me:p%40ss@{web.host}/a.jsonl?t=hidden"
    row, rejected = read(url)
    assert row.place.file == rejected.place.file == f"http://***@{web.host}/a.jsonl?***"
    ((_, headers),) = web.asked
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
    for shown in (repr(open_source(settings(url))), failure(url.replace("a.jsonl", "b.jsonl")).message):
        assert "p%40ss" not in shown
        assert "p@ss" not in shown
        assert "hidden" not in shown


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet"])
@pytest.mark.parametrize("how", ["short", "no end of chunks", "nothing at all"])
def test_a_body_that_is_cut_is_an_error_and_never_a_shorter_source(web: Web, name: str, how: str) -> None:
    body = {
        "a.jsonl": MANY,
        "a.jsonl.gz": gzip.compress(MANY),
        "a.csv": b"id,text\n" + b"a,b\n" * 100_000,
        "a.parquet": parquet(20_000),
    }[name]
    more: dict[str, Any] = {
        "short": {"body": body[: len(body) // 2], "length": len(body)},
        "no end of chunks": {"body": body, "chunked": True, "whole": False},
        "nothing at all": {"body": b"", "length": len(body)},
    }[how]
    error = failure(web.put(f"/{name}", **more))
    assert f"'{web.url('/' + name)}' cannot be read to its end: at " in error.message
    assert "Nothing is published from a part of a source" in error.message
    assert error.param == "source"


def test_rows_before_the_cut_come_as_they_are_asked_for(web: Web) -> None:
    rows = open_source(settings(web.put("/a.jsonl", MANY[:-100], length=len(MANY)))).rows()
    assert isinstance(next(rows), Row)
    with pytest.raises(SourceError, match=r"at line \d+: .*Response payload is not completed"):
        list(rows)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet"])
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, ""),
        (500, "Internal Server Error"),
        (503, "Service Unavailable"),
    ],
)
def test_an_answer_that_is_no_file_is_told(web: Web, name: str, status: int, reason: str) -> None:
    error = failure(web.put(f"/{name}", b"<html>", status=status))
    expected = f"the server answers {status} {reason}" if status != 404 else "there is no such file"
    assert expected in error.message


def test_a_server_that_cannot_be_reached_is_an_error() -> None:
    with Web() as gone:
        url = gone.url("/a.jsonl")
    assert "Cannot connect to host 127.0.0.1" in failure(url).message
    assert "no.such.host.invalid" in failure("https://no.such.host.invalid/a.jsonl").message


def test_a_wildcard_is_refused_because_http_has_no_lists(web: Web) -> None:
    with pytest.raises(ConfigurationError, match="HTTP has no list of files: name each file by its URL"):
        open_source(settings(web.url("/*.jsonl")))
    assert len(read(web.put("/a.jsonl?q=*", LINES))) == 2


def test_text_files_elsewhere_are_refused(web: Web) -> None:
    with pytest.raises(ConfigurationError, match="is elsewhere, and text files and documents are read from a folder"):
        open_source(settings(web.url("/a.md")))


@pytest.mark.parametrize(("module", "url"), [("aiohttp", "https://h/a.csv"), ("s3fs", "s3://b/a.csv")])
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, module: str, url: str) -> None:
    registry = importlib.import_module("fsspec.registry")
    monkeypatch.delitem(registry._registry, "s3", raising=False)  # where it was imported before
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=r"run pip install 'parecido\[remote\]'"):
        read(url)


@pytest.mark.parametrize("url", ["nosuch://h/a.csv", "nosuch://me:secret@h/a.csv"])
def test_an_unknown_scheme_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="use the scheme of a database or one that fsspec knows") as error:
        read(url)
    assert "secret" not in error.value.message


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_file_elsewhere_takes_far_less_memory_than_its_size(web: Web, name: str) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(300):
            lines = b'{"id": "1", "text": "' + b"x" * 1000 + b'"}\n'
            yield gzip.compress(lines * 100, 1) if name.endswith(".gz") else lines * 100

    source = open_source(settings(web.put(f"/{name}", body, chunked=True)))
    next(source.rows())
    tracemalloc.start()
    try:
        count = sum(isinstance(row, Row) for row in source.rows())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert peak < 30_000 * 1000 / 4  # of the server, too


def index(store: Path, url: str) -> Report:
    return build(store, NAME, settings(url), Silent())


def test_items_follow_the_file_from_run_to_run_and_outlive_a_cut(web: Web, tmp_path: Path, stand_in: StandIn) -> None:
    url = web.put("/a.jsonl", LINES)
    assert index(tmp_path, url).items.added == 2
    assert not index(tmp_path, url).published
    changed = b'{"id": "a", "text": "uno"}\n{"id": "c", "text": "three"}\n'
    web.put("/a.jsonl", changed[:30], length=len(changed))
    with pytest.raises(SourceError):
        index(tmp_path, url)
    assert sorted(contents(tmp_path)) == ["a", "b"]
    web.put("/a.jsonl", changed)
    counts = index(tmp_path, url).items
    assert (counts.added, counts.changed, counts.deleted) == (1, 1, 1)
    assert contents(tmp_path) == {"a": ("uno", {}), "c": ("three", {})}
