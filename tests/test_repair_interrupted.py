"""What is left when a repair dies, or the disk refuses it?"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from damage import NEW, OLD, assert_answers_as, cut, own_file, replaced
from dying import dying
from faults import FULL, Disk
from support import Place, StandIn, assert_tidy, assert_whole

from indexer.errors import StorageError
from indexer.repair import repair
from indexer.snapshot import open_newest
from indexer.snapshot import verify as verify_snapshot
from indexer.storage import CollectionFolder

pytest_plugins = ["damage_fixtures"]


DERIVED = ("ids.arrow", "ann.faiss")


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
