"""Does `parecido verify` find what was written wrongly, with a checksum that is right?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest
from support import NAME, contents, prepared, publish_items, random_vectors

from indexer import generation as generations
from indexer import storage
from indexer.generation import Counts, Deleted, Generation
from indexer.models import Model
from indexer.queries import Query, search
from indexer.repair import repair
from indexer.snapshot import Snapshot, open_newest
from indexer.storage import CollectionFolder, collection_folder
from indexer.verify import verify

Columns = dict[str, np.ndarray]  # type: ignore[type-arg]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Six items with one, two or three passages, the last of them deleted."""
    rng = np.random.default_rng(0)
    members = [prepared(f"item {i}", random_vectors(rng, 1 + i % 3, 8)) for i in range(6)]
    return publish_items(tmp_path, [members], deleted=["item 5"])


def no_model() -> Model:
    pytest.fail("a query by vector needs no model")


def published_anew(folder: CollectionFolder, change: Callable[[Generation], Generation]) -> None:
    """Change a manifest, whose own checksum is then right."""
    manifest = change(generations.read(folder, 1))
    generations.manifest_path(folder, 1).unlink()
    with storage.lock(folder):
        assert generations.publish(folder, manifest)


def sealed_anew(folder: CollectionFolder) -> None:
    """Have the manifest state the checksums that the files of its segment have."""

    def change(manifest: Generation) -> Generation:
        (entry,) = manifest.segments
        files = {name: storage.checksum(folder.segments / entry.id / name) for name in entry.files}
        return replace(manifest, segments=(replace(entry, files=files),))

    published_anew(folder, change)


def rewritten(path: Path, change: Callable[[Columns], None]) -> None:
    """Change columns of numbers in an Arrow file."""
    with pa.ipc.open_file(path.read_bytes()) as file:
        table = file.read_all()
    columns = {name: table[name].combine_chunks().to_numpy(zero_copy_only=False).copy() for name in table.column_names}
    change(columns)
    arrays = [pa.array(columns[field.name], field.type) for field in table.schema]
    path.unlink()
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=table.schema))


def columns(change: Callable[[Columns], None]) -> Callable[[Path], None]:
    return lambda path: rewritten(path, change)


def put(name: str, row: int, value: int) -> Callable[[Path], None]:
    def change(found: Columns) -> None:
        found[name][row] = value

    return columns(change)


def swapped(*names: str) -> Callable[[Path], None]:
    def change(found: Columns) -> None:
        for name in names:
            found[name][[0, 1]] = found[name][[1, 0]]

    return columns(change)


def vectors(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        rows = np.fromfile(path, "<f4").reshape(-1, 8)
        change(rows)
        rows.tofile(path)

    return rewrite


def first(value: float) -> Callable[[Any], None]:
    def change(rows: Any) -> None:
        rows[3, 0] = value

    return change


def doubled(rows: Any) -> None:
    rows[3] *= 2


def blank(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"item 3", b"item \xff"))


def of_other_vectors(path: Path) -> None:
    index = faiss.read_index(str(path))
    rows = index.reconstruct_n(0, index.ntotal)
    index.reset()
    index.add(np.roll(rows, 1, axis=0))
    faiss.write_index(index, str(path))


def of_fewer_vectors(path: Path) -> None:
    index = faiss.read_index(str(path))
    rows = index.reconstruct_n(0, index.ntotal - 1)
    index.reset()
    index.add(rows)
    faiss.write_index(index, str(path))


ALL_OF_IT = ("id_high", "id_low", "content_high", "content_low", "row")

WRONG: Mapping[str, tuple[str, Callable[[Path], None], str]] = {
    "entries out of order": ("ids.arrow", swapped(*ALL_OF_IT), "not in the order of their hashes"),
    "an entry of another item": ("ids.arrow", swapped("row"), "do not match the items' ids"),
    "a row twice": ("ids.arrow", columns(lambda c: c["row"].put([0], c["row"][1])), "do not name every item once"),
    "a row there is not": ("ids.arrow", put("row", 0, 6), "names items that the segment does not have"),
    "an entry of another content": (
        "ids.arrow",
        swapped("content_high", "content_low"),
        "do not match the items' content hashes",
    ),
    "an id that is no text": ("items.arrow", blank, "not valid Arrow"),
    "a passage beyond its text": ("passages.arrow", put("end", 0, 99), "reach beyond their texts"),
    "a passage of nothing": ("passages.arrow", put("start", 0, 1), "without a text"),
    "passages out of order": ("passages.arrow", swapped("item"), "not those of every item, in their order"),
    "an item without passages": ("passages.arrow", put("item", 0, 1), "not those of every item, in their order"),
    "a passage of no item": ("passages.arrow", put("item", -1, 6), "names items that the segment does not have"),
    "a vector too long": ("vectors.f32", vectors(doubled), "the vector at row 3 is not of length 1"),
    "a vector of nothing": (
        "vectors.f32",
        vectors(lambda rows: rows.fill(0)),
        "the vector at row 0 is not of length 1",
    ),
    "not a number": ("vectors.f32", vectors(first(np.nan)), "the vector at row 3 is not of length 1"),
    "infinite": ("vectors.f32", vectors(first(np.inf)), "the vector at row 3 is not of length 1"),
    "an index of other vectors": ("ann.faiss", of_other_vectors, "another vector at row 0 than vectors.f32"),
    "an index of fewer vectors": ("ann.faiss", of_fewer_vectors, "not an index of 12 vectors"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_was_written_wrongly_is_named(snapshot: Snapshot, case: str) -> None:
    name, change, reason = WRONG[case]
    folder, (entry,) = snapshot.folder, snapshot.generation.segments
    assert verify(folder).damages == []
    change(path := folder.segments / entry.id / name)
    sealed_anew(folder)
    (damage,) = verify(folder).damages
    assert (damage.path, damage.generations) == (path, (1,))
    assert reason in damage.reason


@pytest.mark.parametrize("case", [case for case, (name, *_) in WRONG.items() if name in ("ids.arrow", "ann.faiss")])
def test_what_derives_from_other_files_is_written_rightly_by_a_repair(
    snapshot: Snapshot, tmp_path: Path, case: str
) -> None:
    name, change, _ = WRONG[case]
    folder, (entry,) = snapshot.folder, snapshot.generation.segments
    query = Query(vector=[1.0] * 8, limit=10)
    before, hits = contents(tmp_path), search(snapshot, no_model, query)["hits"]
    change(path := folder.segments / entry.id / name)
    sealed_anew(folder)
    done = repair(folder)
    assert (done.published, done.mended) == (2, [path])
    assert [(damage.path, damage.generations) for damage in done.damages] == [(path, (1,))]
    mended = open_newest(folder)
    assert mended.generation.number == 2
    assert (contents(tmp_path), search(mended, lambda: pytest.fail("no model is needed"), query)["hits"]) == (
        before,
        hits,
    )
    assert all(mended.find(id) for id in before)


MANIFESTS: Mapping[str, tuple[Callable[[Generation], Generation], str]] = {
    "other counts": (lambda m: replace(m, counts=Counts(6, 9)), "it says 6 items and 9 passages"),
    "another dimension": (
        lambda m: replace(m, fingerprint=replace(m.fingerprint, dimension=9)),
        "has not the dimension of its model",
    ),
    "deleted items of nothing": (
        lambda m: replace(m, deleted={**m.deleted, "x": Deleted(0, 0, m.deleted["000001-0"].file)}),
        "of segment 'x', which it does not have",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_that_contradicts_itself_is_named(snapshot: Snapshot, case: str) -> None:
    change, reason = MANIFESTS[case]
    published_anew(snapshot.folder, change)
    (damage,) = verify(snapshot.folder).damages
    assert damage.path == generations.manifest_path(snapshot.folder, 1)
    assert reason in damage.reason


def test_a_bitmap_that_marks_another_number_of_items_is_named(snapshot: Snapshot) -> None:
    folder = snapshot.folder
    path = generations.deleted_path(folder, 1, "000001-0")
    path.write_bytes(b"\x30")
    marked = Deleted(1, 3, storage.checksum(path))
    published_anew(folder, lambda manifest: replace(manifest, deleted={"000001-0": marked}))
    (damage,) = verify(folder).damages
    assert (damage.path, "it marks 2 items" in damage.reason) == (path, True)


def test_one_segment_under_two_checksums_is_wrong_in_one_generation(snapshot: Snapshot, tmp_path: Path) -> None:
    folder = collection_folder(tmp_path, NAME)
    first = snapshot.generation
    (entry,) = first.segments
    other = replace(entry, files={**entry.files, "ann.faiss": entry.files["ids.arrow"]})
    with storage.lock(folder):
        assert generations.publish(
            folder, replace(first, number=2, segments=(other,), deleted={}, counts=Counts(6, 12))
        )
    (damage,) = verify(folder).damages
    assert (damage.path, damage.generations) == (folder.segments / entry.id / "ann.faiss", (2,))
