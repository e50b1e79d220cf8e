"""Does `parecido repair` mend what can be derived, and leave alone what cannot?"""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from damage import (
    DAMAGES,
    NEW,
    OLD,
    Damaging,
    content_of,
    cut,
    files_of,
    flipped,
    missing,
    own_file,
    replaced,
)
from damage import (
    folder as in_the_way,
)
from dying import dying
from faults import FULL, Disk
from support import NAME, Place, StandIn, assert_tidy, assert_whole, contents, expected

from indexer import ann, intake
from indexer import generation as generations
from indexer.errors import CollectionLocked, CorruptGeneration, StorageError
from indexer.repair import repair
from indexer.rollback import rollback
from indexer.snapshot import open_newest
from indexer.snapshot import verify as verify_snapshot
from indexer.storage import CollectionFolder, collection_folder, lock
from indexer.verify import verify
from service.cli import main

DERIVED = ("ids.arrow", "ann.faiss")


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Two generations that share a segment."""
    monkeypatch.setattr(intake, "plan_merge", lambda *sizes: [])
    place = Place(tmp_path)
    place.run(OLD)
    place.run(NEW)
    shutil.copytree(place.store, tmp_path / "before")
    return place


@pytest.fixture
def folder(place: Place) -> CollectionFolder:
    return collection_folder(place.store, NAME)


@pytest.fixture
def another_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes are written with other bytes from now on, and are as good."""
    write = ann.write
    monkeypatch.setattr(ann, "write", lambda vectors, file: write(vectors * np.float32(1.0003), file))


def told(place: Place, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["repair", "--store", str(place.store), *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def published(folder: CollectionFolder) -> dict[str, bytes | None]:
    """Everything that was ever published there."""
    names = ("generations", "segments")
    return {f"{name}/{path}": data for name in names for path, data in content_of(folder.path / name).items()}


def test_a_whole_collection_is_left_as_it_is(place: Place, folder: CollectionFolder) -> None:
    before = published(folder)
    done = repair(folder)
    assert (done.mended, done.published, done.damages, published(folder)) == ([], None, [], before)
    assert told(place).stdout == "things: 0 files mended, 0 still damaged\n"


@pytest.mark.parametrize("damaging", [DAMAGES[kind] for kind in ("flipped", "cut", "missing")])
@pytest.mark.parametrize("names", [DERIVED[:1], DERIVED[1:], DERIVED])
def test_a_derived_file_is_put_back_byte_for_byte_and_every_generation_is_whole_again(
    place: Place, folder: CollectionFolder, stand_in: StandIn, damaging: Damaging, names: tuple[str, ...]
) -> None:
    before = published(folder)
    for number in (1, 2):
        paths = sorted(own_file(folder, number, name) for name in names)
        for path in paths:
            damaging(path)
        done = repair(folder)
        assert (sorted(done.mended), done.published, done.damages) == (paths, None, [])
        assert published(folder) == before
    assert verify(folder).damages == []
    assert_tidy(place.store)
    assert_whole(place.store, NEW, stand_in)
    assert place.run().published is False


def test_the_command_says_what_was_mended_and_what_was_not(place: Place, folder: CollectionFolder) -> None:
    ids, items = own_file(folder, 1, "ids.arrow"), own_file(folder, 2, "items.arrow")
    flipped(ids)
    assert told(place).stdout == f"things: 1 files mended, 0 still damaged\n  mended {ids}\n"
    flipped(ids)
    flipped(items)
    lines = told(place, code=1).stdout.splitlines()
    assert lines[:2] == ["things: 1 files mended, 1 still damaged", f"  mended {ids}"]
    assert lines[2].startswith(f"  {items} (generation 2): its checksum is ")
    assert lines[3] == "  `parecido index things --rebuild` builds it anew"
    (answer,) = json.loads(told(place, "--json", code=1).stdout)
    assert (answer["collection"], answer["mended"], answer["published"]) == (NAME, [], None)
    assert answer["damages"][0]["path"] == str(items)


def assert_answers_as(folder: CollectionFolder, number: int, rows: list[dict[str, Any]], stand_in: StandIn) -> None:
    """The newest generation has that number and these rows, and answers as they do."""
    snapshot = open_newest(folder)
    verify_snapshot(snapshot)
    assert snapshot.generation.number == number
    assert_whole(folder.path.parent.parent, rows, stand_in)


def test_where_other_bytes_come_out_a_new_generation_has_the_segment_under_a_new_name(
    place: Place, folder: CollectionFolder, stand_in: StandIn, another_faiss: None
) -> None:
    before, second = published(folder), generations.read(folder, 2)
    index, ids = own_file(folder, 1, "ann.faiss"), own_file(folder, 1, "ids.arrow")
    flipped(index)
    flipped(ids)
    done = repair(folder)
    assert (done.mended, done.published) == ([index, ids], 3)
    assert {damage.path: damage.generations for damage in done.damages} == {index: (1, 2), ids: (1, 2)}
    assert_answers_as(folder, 3, NEW, stand_in)
    third = generations.read(folder, 3)
    assert (third.counts, third.origin, third.schema) == (second.counts, 2, second.schema)
    assert third.segments[1:] == second.segments[1:]
    assert third.segments[0].files["ids.arrow"] == second.segments[0].files["ids.arrow"]
    assert [bitmap.items for bitmap in third.deleted.values()] == [2]
    after = published(folder)
    assert {path for path in before if before[path] != after[path]} == {
        str(path.relative_to(folder.path)) for path in (index, ids)
    }
    assert_tidy(place.store)
    assert (place.run().published, place.run([*NEW, OLD[5]]).generation) == (False, 4)
    assert_whole(place.store, [*NEW, OLD[5]], stand_in)
    assert (repair(folder).published, place.numbers) == (None, [1, 2, 3, 4])


def test_a_derived_file_of_an_older_generation_alone_is_not_worth_a_new_one(
    place: Place, folder: CollectionFolder, another_faiss: None
) -> None:
    place.run(rebuild=True)
    before, index = published(folder), own_file(folder, 1, "ann.faiss")
    missing(index)
    done = repair(folder)
    assert (done.mended, done.published) == ([], None)
    assert [(damage.path, damage.generations) for damage in done.damages] == [(index, (1, 2))]
    assert published(folder).items() < before.items()
    assert place.numbers == [1, 2, 3]


def test_what_becomes_whole_is_published_even_if_it_is_older_than_what_is_lost(
    place: Place, folder: CollectionFolder, stand_in: StandIn, another_faiss: None
) -> None:
    index, items = own_file(folder, 1, "ann.faiss"), own_file(folder, 2, "items.arrow")
    cut(index)
    cut(items)
    with pytest.raises(CorruptGeneration):
        open_newest(folder)
    done = repair(folder)
    assert (done.mended, done.published) == ([index], 3)
    assert items in {damage.path for damage in done.damages}
    assert_answers_as(folder, 3, OLD, stand_in)
    assert generations.read(folder, 3).origin == 1
    assert place.run().published
    assert_whole(place.store, NEW, stand_in)


def test_a_hold_outlives_a_repair(place: Place, folder: CollectionFolder, another_faiss: None) -> None:
    rollback(place.store, NAME)
    flipped(own_file(folder, 1, "ann.faiss"))
    assert repair(folder).published == 4
    assert generations.read(folder, 4).hold


def test_a_folder_in_the_place_of_a_derived_file_stays_where_it_is(
    place: Place, folder: CollectionFolder, stand_in: StandIn
) -> None:
    index = own_file(folder, 2, "ann.faiss")
    in_the_way(index)
    (index / "notes.txt").write_text("somebody's")
    assert repair(folder).published == 3
    assert (index / "notes.txt").read_text() == "somebody's"
    assert_answers_as(folder, 3, NEW, stand_in)


@pytest.mark.parametrize("name", [".json", ".deleted", "items.arrow", "passages.arrow", "vectors.f32"])
@pytest.mark.parametrize("damaging", DAMAGES.values(), ids=DAMAGES)
def test_what_cannot_be_derived_is_named_and_nothing_is_removed(
    place: Place, folder: CollectionFolder, name: str, damaging: Damaging
) -> None:
    damaging(path := own_file(folder, 2, name))
    before = published(folder)
    done = repair(folder)
    assert (done.mended, done.published) == ([], None)
    assert [(damage.path, damage.generations) for damage in done.damages] == [(path, (2,))]
    assert published(folder) == before
    if name == ".json" or damaging is not flipped:
        assert open_newest(folder).generation.number == 1
        assert contents(place.store) == expected(OLD)


def test_nothing_that_a_damaged_manifest_may_need_is_removed_by_run_prune_or_repair(
    place: Place, folder: CollectionFolder, stand_in: StandIn
) -> None:
    manifest = own_file(folder, 2, ".json")
    whole = manifest.read_bytes()
    kept = {path: path.read_bytes() for path in files_of(folder, 2)[1:]}
    flipped(manifest)
    repair(folder)
    assert place.run(keep_generations=1, keep_days=0).generation == 3
    repair(folder)
    assert {path: path.read_bytes() for path in kept} == kept
    assert_whole(place.store, NEW, stand_in)
    manifest.write_bytes(whole)
    assert verify(folder).damages == []


@pytest.mark.parametrize("bytes_differ", [False, True], ids=["put back", "published anew"])
def test_a_repair_that_dies_at_any_step_leaves_a_whole_collection_and_the_next_one_mends_it(
    place: Place, folder: CollectionFolder, stand_in: StandIn, tmp_path: Path, request: Any, bytes_differ: bool
) -> None:
    if bytes_differ:
        request.getfixturevalue("another_faiss")
    step, ends = 0, set()
    while ends != {1, 2 + bytes_differ} or open_newest(folder).generation.number == 1:
        step += 1
        replaced(place.store, tmp_path / "before")
        for name in DERIVED:
            cut(own_file(folder, 2, name))
        with dying(step):
            repair(folder)
        snapshot = open_newest(folder)
        verify_snapshot(snapshot)
        number = snapshot.generation.number
        ends.add(number)
        assert_answers_as(folder, number, OLD if number == 1 else NEW, stand_in)
        if step % 3 == 0 or number > 1:
            repair(folder)
            assert_answers_as(folder, 2 + bytes_differ, NEW, stand_in)
            assert_tidy(place.store)
    assert step > 10


def refusal_of(folder: CollectionFolder) -> list[str]:
    """What a repair ends with; nothing but the error of a disk is expected."""
    try:
        repair(folder)
    except StorageError as error:
        return [error.message]
    return []


@pytest.mark.parametrize("bytes_differ", [False, True], ids=["put back", "published anew"])
def test_a_repair_that_the_disk_refuses_says_so_and_leaves_a_whole_collection(
    place: Place,
    folder: CollectionFolder,
    stand_in: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: Any,
    bytes_differ: bool,
) -> None:
    if bytes_differ:
        request.getfixturevalue("another_faiss")
    step, refusals = 0, list[str]()
    while True:
        step += 1
        replaced(place.store, tmp_path / "before")
        for name in DERIVED:
            cut(own_file(folder, 2, name))
        with monkeypatch.context() as patch:
            disk = Disk(place.store, FULL, errno.ENOSPC, patch)
            disk.at = step
            refusals += refusal_of(folder)
        snapshot = open_newest(folder)
        verify_snapshot(snapshot)
        assert_whole(place.store, OLD if snapshot.generation.number == 1 else NEW, stand_in)
        if step % 3 == 0 or disk.refused is None:
            repair(folder)
            assert_answers_as(folder, 2 + bytes_differ, NEW, stand_in)
            assert_tidy(place.store)
        if disk.refused is None:
            break
    assert len(refusals) > 10
    assert all("the disk is full: make room and run it again" in refusal for refusal in refusals)


def test_a_repair_waits_for_no_run(place: Place, folder: CollectionFolder) -> None:
    with lock(folder):
        with pytest.raises(CollectionLocked):
            repair(folder)
        assert "is being indexed by" in told(place, code=5).stderr


def test_a_manifest_that_is_missing_can_be_brought_back_after_a_repair(
    place: Place, folder: CollectionFolder, stand_in: StandIn, another_faiss: None
) -> None:
    manifest = own_file(folder, 2, ".json")
    whole = manifest.read_bytes()
    manifest.unlink()
    flipped(own_file(folder, 1, "ann.faiss"))
    assert repair(folder).published == 3
    assert_answers_as(folder, 3, OLD, stand_in)
    manifest.write_bytes(whole)
    replaced(folder.segments, place.store.parent / "before" / "collections" / NAME / "segments")
    assert [damage.generations for damage in verify(folder).damages] == [(3,)] * 5
