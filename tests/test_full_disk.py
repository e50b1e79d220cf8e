"""What does a run do on a disk that is really full, read-only, or gone?

Disks of their own, mounted for the test. Whatever writes there is meant, SQLite and FAISS too.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import FULL, Disk
from support import Place, StandIn, assert_tidy, assert_whole, write_rows

from indexer.errors import StorageError

OLD = [{"id": f"old {i}", "text": f"This is text {i}.", "n": i} for i in range(5)]
NEW = [{"id": f"new {i}", "text": f"Text {i} has one long word, {'x' * 3000}.", "n": i} for i in range(100)]
KIB = 1024


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted here, which takes root's rights: {done.stderr.strip()}")


def unmount(point: Path) -> None:
    """Take it away, whoever still uses it."""
    subprocess.run(["umount", "--lazy", str(point)], capture_output=True)


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Path]:
    """Where a disk is mounted; nothing is, in the end."""
    if not shutil.which("mount"):
        pytest.skip("there is no `mount` here")
    point = tmp_path / "disk"
    point.mkdir()
    yield point
    unmount(point)


@pytest.fixture
def place(tmp_path: Path, point: Path, stand_in: StandIn) -> Place:
    """A source beside the disk, and a store that will be on it."""
    place = Place(tmp_path)
    place.store = point / "store"
    return place


def refusal_of(place: Place) -> str | None:
    """What a run ends with; nothing but the error of a disk is expected."""
    try:
        place.run()
    except StorageError as error:
        return error.message
    return None


def test_a_disk_that_is_full_at_any_point_is_said_to_be_and_once_there_is_room_a_run_goes_through(
    place: Place, point: Path, stand_in: StandIn
) -> None:
    mount("-t", "tmpfs", "-o", "size=64m", "parecido-test", point)
    place.run(OLD)
    full = shutil.disk_usage(point).used
    write_rows(place.source, NEW)
    refused: list[str] = []
    for size in range(full, 64 * KIB * KIB, 12 * KIB):
        mount("-o", f"remount,size={size}", point)
        error = refusal_of(place)
        if error is None:
            break
        assert "the disk is full: make room and run it again" in error
        refused.append(Path(error.split("'")[1]).name)
        assert place.numbers == [1]
        assert_whole(place.store, OLD, stand_in)
    assert len(refused) > 20
    assert_whole(place.store, NEW, stand_in)
    assert_tidy(place.store)
    assert {"embeddings.sqlite", "items.arrow"} <= set(refused)


def test_a_disk_that_is_read_only_is_said_to_be_and_once_it_is_not_a_run_goes_through(
    place: Place, point: Path, stand_in: StandIn
) -> None:
    mount("-t", "tmpfs", "-o", "size=64m", "parecido-test", point)
    place.run(OLD)
    write_rows(place.source, NEW)
    mount("-o", "remount,ro", point)
    with pytest.raises(StorageError, match="the disk is read-only: make it writable, or choose another --store"):
        place.run()
    assert_whole(place.store, OLD, stand_in)
    mount("-o", "remount,rw", point)
    place.run()
    assert_whole(place.store, NEW, stand_in)
    assert_tidy(place.store)


class Vanishing(Disk):
    """A disk that is gone from one step on."""

    def refuse(self, place: Any) -> None:
        """What is open stays open; no path leads there any more."""
        unmount(Path(self.below))


def test_a_disk_that_vanishes_at_any_point_leaves_all_as_it_was_and_once_it_is_back_a_run_goes_through(
    place: Place, point: Path, tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, before = tmp_path / "what is on it", tmp_path / "before"
    disk.mkdir()
    mount("--bind", disk, point)
    place.run(OLD)
    shutil.copytree(disk, before)
    write_rows(place.source, NEW[:5])
    with monkeypatch.context() as patch:
        whole = Vanishing(point, FULL, errno.ENOENT, patch)
        place.run()
    for at, name in enumerate(whole.steps, 1):
        shutil.rmtree(disk / "store")
        shutil.copytree(before / "store", disk / "store")
        with monkeypatch.context() as patch:
            vanishing = Vanishing(point, FULL, errno.ENOENT, patch)
            vanishing.at = at
            refusal_of(place)
        assert vanishing.refused, (at, name)
        assert list(point.iterdir()) == [], (at, name)
        mount("--bind", disk, point)
        assert_whole(place.store, NEW[:5] if place.numbers == [1, 2] else OLD, stand_in)
        place.run()
        assert_whole(place.store, NEW[:5], stand_in)
        assert_tidy(place.store)


def test_a_store_that_is_deleted_during_a_run_is_not_begun_anew_by_it(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    place.run(OLD)
    embed = stand_in.embed_documents

    def deleting(texts: Any) -> Any:
        if place.store.exists():  # the cache goes on in a file that has no name any more
            shutil.rmtree(place.store)
        return embed(texts)

    with monkeypatch.context() as patch:
        patch.setattr(stand_in, "embed_documents", deleting)
        with pytest.raises(StorageError, match="the folder is gone or cannot be made there"):
            place.run(NEW)
    assert not (place.store / "collections").exists()
    place.run()
    assert_whole(place.store, NEW, stand_in)
    assert_tidy(place.store)
