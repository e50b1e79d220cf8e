"""What happens when the disk says no?

The current generation stays whole, and the error says what to do next.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import NAME, Place, Runs, StandIn, assert_tidy, contents, published_files, write_rows

from indexer import intake, items, storage
from indexer.errors import StorageError
from indexer.snapshot import verify
from indexer.spool import Spool
from indexer.storage import OutputFile, Sealed, collection_folder

OLD = [{"id": f"{i}", "text": f"This is text {i}.", "n": i} for i in range(4)]
NEW = [*OLD[1:], {"id": "long", "text": "word " * 4000, "n": 4}, {"id": "blank", "text": ""}]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    place = Place(tmp_path)
    place.run(OLD)
    write_rows(place.source, NEW)
    return place


def refused_by(place: Place) -> str | None:
    try:
        place.run()
    except StorageError as error:
        return error.message
    return None


def test_a_full_disk_at_any_sync_is_a_storage_error_that_leaves_a_whole_generation(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, sync, link = contents(place.store), os.fsync, os.link
    shutil.copytree(place.store, tmp_path / "before")
    full, syncs, linked = 0, 0, False

    def fsync(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    def linking(source: Any, target: Any) -> None:
        nonlocal linked
        link(source, target)
        linked = linked or Path(target).suffix == ".json"

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", linking)
    refused = 0
    while True:
        full, syncs, linked = full + 1, 0, False
        shutil.rmtree(place.store)
        shutil.copytree(tmp_path / "before", place.store)
        refusal = refused_by(place)
        if refusal is None:
            break
        assert "the disk is full: make room and run it again" in refusal
        refused += not linked
        assert place.numbers == ([1, 2] if linked else [1])
        if not linked:
            assert contents(place.store) == before
        verify(place.snapshot)
        full_now, full = full, 0
        place.run()
        assert_tidy(place.store)
        assert set(contents(place.store)) == {"1", "2", "3", "long"}
        full = full_now
    assert refused > 10


def test_a_limit_on_the_size_of_files_is_a_storage_error_that_leaves_a_whole_generation(
    place: Place, runs: Runs, tmp_path: Path
) -> None:
    before = contents(place.store)
    shutil.copytree(place.store, tmp_path / "before")
    seen = set()
    many = [{"id": f"many {i}", "text": f"{i} " * 150, "n": i} for i in range(60)]
    alike = [[{"id": f"{i}", "text": "word " * words} for i in range(2000)] for words in (1, 12)]  # one text to embed
    small, large = [*range(0, 5000, 500), 10_000, 22_000, 50_000, 200_000], [100_000, 1_000_000]
    for rows, limits in (([*NEW, *many], small), (alike[0], large), (alike[1], large)):
        write_rows(place.source, rows)
        for limit in limits:
            error = runs.run_limited(place, limit)
            if error is None:
                assert set(contents(place.store)) == {row["id"] for row in rows if row["text"]}
                verify(place.snapshot)
            else:
                assert error.startswith(("StorageError: Cannot write", "StorageError: Cannot use the embedding")), error
                assert "raise the limit and run it again" in error
                seen.add(Path(error.split("'")[1]).suffix)
                assert place.numbers == [1]
                assert contents(place.store) == before
            shutil.rmtree(place.store)
            shutil.copytree(tmp_path / "before", place.store)
        assert error is None
    assert {".arrows", ".arrow", ".f32", ".sqlite"} <= seen


@pytest.mark.parametrize(
    "name",
    [
        *("items.arrow", "ids.arrow", "passages.arrow", "vectors.f32", "ann.faiss", "000.arrows"),
        *("ids.arrow.aside", "passages.arrow.aside"),
    ],
)
def test_whichever_file_cannot_be_written_the_error_names_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write = OutputFile.write

    def refusing(file: OutputFile, data: Any) -> int:
        if file.path.name == name or file.path.suffix == Path(name).suffix == ".arrows":
            with storage.disk(file.path, "write"):
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(OutputFile, "write", refusing)
    with pytest.raises(StorageError, match="make room and run it again") as caught:
        place.run()
    assert Path(name).suffix in caught.value.message
    monkeypatch.undo()
    assert place.numbers == [1]
    verify(place.snapshot)


@pytest.mark.parametrize("limit", [0, 400, 700, 1000])
def test_rows_of_the_source_that_do_not_reach_the_disk_are_a_storage_error(tmp_path: Path, limit: int) -> None:
    spool = Spool(tmp_path / "spool", lambda ids, contents: np.zeros(len(ids), dtype=bool))
    spool.add(items.Item("a", "text", {}), items.Place("file", 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(StorageError, match="raise the limit and run it again"):
            list(spool.partitions())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_read_back_wrong_is_not_published(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = storage.checksum
    monkeypatch.setattr(storage, "checksum", lambda path: Sealed(checksum(path).bytes, "0" * 64))
    with pytest.raises(Exception, match="is damaged: its checksum is 000000000000…"):
        place.run()
    assert place.numbers == [1]


def test_everything_that_a_manifest_names_is_on_disk_before_it_is_published(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, link = os.fsync, os.link
    synced: dict[int, int] = {}
    by_link: dict[int, int] = {}

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_mtime_ns

    def linking(source: Any, target: Any) -> None:
        by_link.update(synced)
        by_link[-1] = Path(source).stat().st_ino
        link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", linking)
    monkeypatch.setattr(intake, "plan_merge", lambda *_: [])  # so that a segment with deleted items stays
    place.run()
    files = [
        path for path in published_files(collection_folder(place.store, NAME)) if "000001-" not in str(path.parent)
    ]
    assert {path.suffix for path in files} >= {".json", ".deleted", ".f32"}
    for path in files:
        assert path.stat().st_ino in by_link, path
    bitmaps, segments = files[1].parent, files[-1].parent
    for folder in (bitmaps, segments, segments.parent):
        assert by_link.get(folder.stat().st_ino) == folder.stat().st_mtime_ns, folder
    generations = segments.parent.parent / "generations"
    assert synced[generations.stat().st_ino] == generations.stat().st_mtime_ns


def test_a_store_that_is_not_a_folder_is_refused_with_the_next_step(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a store")
    place.store = tmp_path / "file"
    with pytest.raises(StorageError, match="choose another --store"):
        place.run()
