"""Can a store be read by anybody, and is damage found and named?

The files are read here as their docstrings say, by Arrow, numpy, json and FAISS alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest
from support import NAME, contents, prepared, publish_items, published_files, random_vectors

from indexer import generation as generations
from indexer.chunking import Span
from indexer.errors import CorruptGeneration
from indexer.items import FieldType, hash_content
from indexer.segment import FILES, Prepared
from indexer.snapshot import Snapshot, open_newest, verify
from indexer.storage import CollectionFolder, collection_folder, lock

SCHEMA = {
    "word": FieldType.STRING,
    "n": FieldType.INTEGER,
    "price": FieldType.FLOAT,
    "sold": FieldType.BOOLEAN,
    "day": FieldType.DATETIME,
    "tags": FieldType.STRINGS,
}
FULL: dict[str, Any] = {
    "word": "Zürich 🚀",
    "n": -(2**63),
    "price": 0.1,
    "sold": False,
    "day": datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC),
    "tags": ["a", "", "b"],
}
IDS = ["plain", "a/b/../c", "/", " ", "\n", "🚀👩‍🚀", "x" * 512, "ä" * 256, "%2F?#", "..", "Plain", "0"]
DELETED = {"/", "x" * 512}


def items() -> list[Prepared]:
    rng = np.random.default_rng(0)
    return [prepared(id, random_vectors(rng, 1 + i % 3, 8), FULL if i == 1 else {}) for i, id in enumerate(IDS)]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return publish_items(tmp_path, [items()], DELETED, SCHEMA)


def test_what_is_published_is_read_back(snapshot: Snapshot, tmp_path: Path) -> None:
    alive = {p.item.id: (p.item.text, dict(p.item.metadata)) for p in items() if p.item.id not in DELETED}
    assert contents(tmp_path) == alive
    verify(snapshot)
    for item in items():
        found = snapshot.find(item.item.id)
        assert (found is None) == (item.item.id in DELETED)
        if found:
            rows = found.segment.passages_of(found.row)
            np.testing.assert_array_equal(found.segment.vectors[rows.start : rows.stop], item.vectors)
            assert [Span(found.segment.starts[r], found.segment.ends[r]) for r in rows] == item.spans
    assert snapshot.find("no such id") is None
    generation = snapshot.generation
    assert generations.read(snapshot.folder, 1) == generation
    assert (generation.counts.items, generation.schema) == (10, SCHEMA)


def test_a_manifest_is_json_with_the_checksum_of_its_own_text(snapshot: Snapshot) -> None:
    text = (snapshot.folder.generations / "000001.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    assert (list(manifest), manifest["format"]) == (["format", "sha256", "generation"], 1)
    body = text.partition('"generation":')[2].removesuffix("}")
    assert hashlib.sha256(body.encode()).hexdigest() == manifest["sha256"]
    (segment,) = manifest["generation"]["segments"]
    assert list(segment["files"]) == list(FILES)
    for name, sealed in segment["files"].items():
        data = (snapshot.folder.segments / segment["id"] / name).read_bytes()
        assert sealed == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_the_deletion_bitmap_has_a_bit_an_item_row(snapshot: Snapshot) -> None:
    (bitmap,) = (snapshot.folder.generations / "000001").iterdir()
    assert bitmap.name == f"{snapshot.generation.segments[0].id}.deleted"
    data = bitmap.read_bytes()
    assert {id for r, id in enumerate(IDS) if data[r >> 3] >> (r & 7) & 1} == DELETED


def test_a_segment_is_read_by_arrow_numpy_and_faiss_alone(snapshot: Snapshot) -> None:
    folder = snapshot.folder.segments / snapshot.generation.segments[0].id
    read = {name: pa.ipc.open_file(folder / f"{name}.arrow").read_all() for name in ("items", "ids", "passages")}
    rows = read["items"].to_pylist()
    assert [row["id"] for row in rows] == IDS
    assert [row["text"] for row in rows] == [p.item.text for p in items()]
    assert [row["content"] for row in rows] == [hash_content(p.item) for p in items()]
    assert {name: rows[1][f"metadata.{name}"] for name in SCHEMA} == FULL
    assert all(rows[0][f"metadata.{name}"] is None for name in SCHEMA)

    hashes = [(e["id_high"] << 64 | e["id_low"]).to_bytes(16, "big") for e in read["ids"].to_pylist()]
    assert hashes == sorted(hashlib.blake2b(id.encode(), digest_size=16).digest() for id in IDS)
    for hash, entry in zip(hashes, read["ids"].to_pylist(), strict=True):
        row = rows[entry["row"]]
        assert hashlib.blake2b(row["id"].encode(), digest_size=16).digest() == hash
        assert (entry["content_high"] << 64 | entry["content_low"]).to_bytes(16, "big") == row["content"]

    passages = read["passages"].to_pylist()
    texts = [rows[p["item"]]["text"][p["start"] : p["end"]] for p in passages]
    assert [p["item"] for p in passages] == [i for i, item in enumerate(items()) for _ in item.spans]
    assert [p["hash"] for p in passages] == [hashlib.blake2b(t.encode(), digest_size=16).digest() for t in texts]

    vectors = np.fromfile(folder / "vectors.f32", dtype="<f4").reshape(len(passages), 8)
    np.testing.assert_array_equal(vectors, np.vstack([p.vectors for p in items()]))
    index = faiss.read_index(str(folder / "ann.faiss"))
    np.testing.assert_allclose(index.reconstruct_n(0, len(passages)), vectors, atol=2**-11)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.unlink()  # a reader may have the old file mapped
    path.write_bytes(change(data))


def complaint(folder: CollectionFolder) -> str:
    with pytest.raises(CorruptGeneration) as caught:
        verify(open_newest(folder))
    return caught.value.message


KINDS = ["000001.json", "000001-0.deleted", *FILES]


def file_of(snapshot: Snapshot, kind: str) -> Path:
    (path,) = [path for path in published_files(snapshot.folder) if path.name == kind]
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_any_flipped_byte_is_found_and_named(snapshot: Snapshot, kind: str) -> None:
    path = file_of(snapshot, kind)
    data = path.read_bytes()
    for at in range(0, len(data), 1 if len(data) < 800 else 3):
        rewrite(path, lambda data, at=at: data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        message = complaint(snapshot.folder)
        named = str(path.parent if "do not agree" in message else path)
        assert named in message, f"byte {at}: {message}"
        rewrite(path, lambda _: data)
    verify(open_newest(snapshot.folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_grown_or_gone_is_refused_and_named_at_opening(snapshot: Snapshot, kind: str) -> None:
    path = file_of(snapshot, kind)
    data = path.read_bytes()
    for damaged in (data[:-1], data[: len(data) // 2], b"", data + b"\0"):
        rewrite(path, lambda _, damaged=damaged: damaged)
        with pytest.raises(CorruptGeneration) as caught:
            open_newest(snapshot.folder)
        assert str(path) in caught.value.message
    if kind != "000001.json":
        path.unlink()
        with pytest.raises(CorruptGeneration, match="is missing") as caught:
            open_newest(snapshot.folder)
        assert str(path) in caught.value.message


def test_a_format_that_is_not_known_is_named(snapshot: Snapshot) -> None:
    path = snapshot.folder.generations / "000001.json"
    rewrite(path, lambda data: data.replace(b'{"format":1,', b'{"format":2,'))
    message = complaint(snapshot.folder)
    assert str(path) in message
    assert "has format 2; this version of Parecido reads format 1" in message


def test_a_reader_of_an_older_generation_goes_on_when_a_newer_one_is_published(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    old = publish_items(tmp_path, [[prepared("a", random_vectors(rng, 1, 8))]])
    new = publish_items(tmp_path, [[prepared("b", random_vectors(rng, 1, 8))]], number=2)
    assert (new.generation.number, generations.numbers(new.folder)) == (2, [1, 2])
    assert (old.find("a") is not None, old.find("b"), new.find("a")) == (True, None, None)


def test_a_rival_that_publishes_the_same_number_leaves_the_first(snapshot: Snapshot) -> None:
    folder = snapshot.folder
    before = (folder.generations / "000001.json").read_bytes()
    with lock(folder):
        assert not generations.publish(folder, replace(snapshot.generation, device="cuda"))
    assert (folder.generations / "000001.json").read_bytes() == before
    assert {path.name for path in folder.generations.iterdir()} == {"000001", "000001.json"}
    with lock(folder):
        assert generations.publish(folder, replace(snapshot.generation, number=1_000_000, deleted={}))
    assert generations.numbers(folder) == [1, 1_000_000]
    assert generations.current(collection_folder(folder.path.parent.parent, NAME)).number == 1_000_000
