"""Are files in buckets found by globs, read as streams, and read as they were when the reading began?"""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from support import NAME, Silent, StandIn, contents
from web import Web

from indexer.build import build
from indexer.config import CollectionSettings
from indexer.errors import SourceError
from indexer.items import Place, Rejected
from indexer.sources import Row, open_source
from indexer.sources.remote import RemoteFile

ONE = b'{"id": "%s", "text": "one"}\n'


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A server like S3, and the settings of its client in the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file system of the server, with an empty bucket."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hidden",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.mkdir("bucket")
    yield fs
    fs.rm("bucket", recursive=True)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def settings(*urls: str, **more: Any) -> CollectionSettings:
    return CollectionSettings.model_validate({"source": urls, "device": "cpu", "max_shrink": 1, **more})


def read(*urls: str, **more: Any) -> list[Row | Rejected]:
    return list(open_source(settings(*urls, **more)).rows())


def failure(*urls: str, **more: Any) -> SourceError:
    with pytest.raises(SourceError) as error:
        read(*urls, **more)
    return error.value


def ids(rows: list[Row | Rejected]) -> list[str]:
    return [row.fields["id"] for row in rows if isinstance(row, Row)]


def test_a_glob_finds_what_matches_in_order_of_name(bucket: Any) -> None:
    for name in ("x/b.jsonl", "x/a.jsonl", "x/y/c.jsonl", "x/d.csv", "a.jsonl"):
        bucket.pipe(f"bucket/{name}", ONE % name.encode())
    rows = read("s3://bucket/x/*.jsonl")
    assert ids(rows) == ["x/a.jsonl", "x/b.jsonl"]
    assert [row.place for row in rows] == [Place("s3://bucket/x/a.jsonl", 1), Place("s3://bucket/x/b.jsonl", 1)]
    assert ids(read("s3://bucket/**/*.jsonl")) == ["a.jsonl", "x/a.jsonl", "x/b.jsonl", "x/y/c.jsonl"]
    assert ids(read("s3://bucket/x/?.jsonl", "s3://bucket/x/y/c.jsonl", "s3://bucket/x/a.jsonl")) == [
        "x/a.jsonl", "x/b.jsonl", "x/y/c.jsonl",
    ]  # fmt: skip


def test_what_came_since_is_found_by_the_same_process(bucket: Any) -> None:
    bucket.pipe("bucket/1.jsonl", ONE % b"1")
    assert ids(read("s3://bucket/*.jsonl")) == ["1"]
    bucket.pipe("bucket/2.jsonl", ONE % b"2")
    bucket.pipe("bucket/1.jsonl", ONE % b"1" + ONE % b"3")
    assert ids(read("s3://bucket/*.jsonl")) == ["1", "3", "2"]


def test_every_format_is_read(bucket: Any) -> None:
    parquet = BytesIO()
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["one", "two"]}), parquet)
    bodies = {
        "x.jsonl": b'{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n',
        "x.csv": b"id,text\na,one\nb,two\n",
        "x.tsv": b"id\ttext\na\tone\nb\ttwo\n",
        "x.parquet": parquet.getvalue(),
    }
    bodies |= {f"{name}.gz": gzip.compress(body) for name, body in bodies.items() if name != "x.parquet"}
    for name, body in bodies.items():
        bucket.pipe(f"bucket/{name}", body)
        rows = [row.fields for row in read(f"s3://bucket/{name}") if isinstance(row, Row)]
        assert rows == [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}]


def test_a_file_that_is_larger_than_a_block_is_read_whole(bucket: Any) -> None:
    text = "x" * 1000
    bucket.pipe("bucket/x.jsonl", "".join(f'{{"id": "{i}", "text": "{text}"}}\n' for i in range(12_000)).encode())
    assert ids(read("s3://bucket/x.jsonl")) == [str(i) for i in range(12_000)]


def test_what_is_not_there_or_not_to_be_read_is_an_error(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.pipe("bucket/x/a.jsonl", ONE)
    assert "'s3://bucket/none.jsonl' cannot be read to its end: at line 1: there is no such file" in (
        failure("s3://bucket/none.jsonl").message
    )
    assert "No file matches 's3://bucket/none/*.jsonl'" in failure("s3://bucket/none/*.jsonl").message
    assert "it is a folder, not a file" in failure("s3://bucket/x", format="jsonl").message
    assert "there is no such file" in failure("s3://no-such-bucket/a.jsonl").message
    assert "'s3://no-such-bucket/*.jsonl'" in failure("s3://no-such-bucket/*.jsonl").message
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    for url in ("s3://bucket/x/a.jsonl", "s3://bucket/x/*.jsonl"):
        assert "Unable to locate credentials" in failure(url).message


def test_credentials_in_a_url_are_not_shown(bucket: Any) -> None:
    for url in ("s3://key:hidden@bucket/a.jsonl", "s3://key:hidden@bucket/*.jsonl", "s3://hidden@bucket/a.jsonl"):
        assert "'s3://***@bucket/" in failure(url).message
        assert "hidden" not in failure(url).message


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(bucket: Any) -> None:
    lines = [f'{{"id": "{i}", "text": "{"x" * 1000}"}}\n'.encode() for i in range(12_000)]
    bucket.pipe("bucket/x.jsonl", b"".join(lines))
    rows = open_source(settings("s3://bucket/x.jsonl")).rows()
    assert isinstance(next(rows), Row)
    bucket.pipe("bucket/x.jsonl", b"".join(reversed(lines)))
    with pytest.raises(SourceError, match=r"'s3://bucket/x\.jsonl' cannot be read to its end: at line \d+"):
        list(rows)


@pytest.fixture
def no_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server in the place of S3 that answers what it is told to."""
    with Web() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url(""))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield server
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_one_folder_of_a_glob_that_may_not_be_listed_is_an_error(no_bucket: Web) -> None:
    def listing(prefix: str) -> str:
        return f"/bucket?list-type=2&prefix={prefix}&delimiter=%2F&encoding-type=url"

    folders = "".join(f"<CommonPrefixes><Prefix>{name}/</Prefix></CommonPrefixes>" for name in "xy")
    file = "<Contents><Key>x/a.jsonl</Key><Size>9</Size><LastModified>2024-01-01T00:00:00Z</LastModified></Contents>"
    denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    for prefix, body in (("", folders), ("x%2F", file)):
        no_bucket.put(listing(prefix), f"<ListBucketResult>{body}</ListBucketResult>".encode())
    no_bucket.put(listing("y%2F"), denied, status=403)
    for pattern in ("*/*.jsonl", "**/*.jsonl"):
        message = failure(f"s3://bucket/{pattern}").message
        assert f"'s3://bucket/{pattern}' cannot be looked for: Access Denied. Nothing is published" in message
        assert "hidden" not in message


def test_items_follow_the_bucket_from_run_to_run(bucket: Any, tmp_path: Path, stand_in: StandIn) -> None:
    def run() -> dict[str, int]:
        items = build(tmp_path, NAME, settings("s3://bucket/*.jsonl"), Silent()).items
        return {"added": items.added, "changed": items.changed, "deleted": items.deleted}

    bucket.pipe("bucket/1.jsonl", b'{"id": "a", "text": "one"}\n')
    bucket.pipe("bucket/2.jsonl", b'{"id": "b", "text": "two"}\n')
    assert run() == {"added": 2, "changed": 0, "deleted": 0}
    bucket.rm("bucket/1.jsonl")
    bucket.pipe("bucket/2.jsonl", b'{"id": "b", "text": "deux"}\n')
    assert run() == {"added": 0, "changed": 1, "deleted": 1}
    assert contents(tmp_path) == {"b": ("deux", {})}
    bucket.rm("bucket/2.jsonl")
    with pytest.raises(SourceError, match="No file matches"):
        run()
    assert contents(tmp_path) == {"b": ("deux", {})}


def test_any_other_file_system_that_fsspec_knows_serves_too() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/x/a.jsonl", ONE % b"a")
    memory.pipe("/x/b.jsonl", ONE % b"b")
    try:
        assert ids(read("memory://x/*.jsonl")) == ["a", "b"]
        assert read("memory://x/a.jsonl")[0].place == Place("memory://x/a.jsonl", 1)
        assert "there is no such file" in failure("memory://x/none.jsonl").message
        assert "it is a folder" in failure("memory://x", format="jsonl").message
        opened = RemoteFile("memory://x/a.jsonl").open()
        memory.pipe("/x/a.jsonl", ONE % b"c")
        with opened, pytest.raises(OSError, match="it was replaced while it was read"):
            opened.read()
    finally:
        memory.rm("/x", recursive=True)


def test_google_cloud_storage_is_read_by_its_own_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    body = ONE % b"a" + ONE % b"b"
    about = {"name": "x/a.jsonl", "bucket": "b", "size": str(len(body)), "generation": "7", "kind": "storage#object"}
    listing = "/storage/v1/b/b/o?delimiter=/&prefix=x/&maxResults=1000"
    with Web() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url(""))
        monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks the real one
        fsspec.get_filesystem_class("gs").clear_instance_cache()
        server.put("/storage/v1/b/b/o/x%2Fa.jsonl", json.dumps(about).encode())
        server.put(listing, json.dumps({"items": [about]}).encode())
        server.put("/download/storage/v1/b/b/o/x%2Fa.jsonl?alt=media", body)
        for url in ("gs://b/x/a.jsonl", "gs://b/x/*.jsonl"):
            rows = read(url)
            assert ids(rows) == ["a", "b"]
            assert rows[1].place == Place("gs://b/x/a.jsonl", 2)
        assert "there is no such file" in failure("gs://b/none.jsonl").message
        server.put(listing, b'{"error": {"code": 403, "message": "not yours"}}', status=403)
        assert "'gs://b/x/*.jsonl' cannot be looked for: Forbidden" in failure("gs://b/x/*.jsonl").message
        fsspec.get_filesystem_class("gs").clear_instance_cache()
