"""What does a run do when the disk refuses any one of its steps, or all from one on?

It ends with a sentence that says what to do, and leaves what is published as it was; the next run goes through and
leaves nothing else behind.
"""

from __future__ import annotations

import errno
import gc
import os
import shutil
import threading
from pathlib import Path

import pytest
from faults import BROKEN, FULL, READ_ONLY, READING, Disk
from support import Place, StandIn, assert_tidy, assert_whole, write_rows

from indexer import intake
from indexer.errors import CorruptGeneration, ParecidoError, StorageError

OLD = [{"id": f"old {i}", "text": f"This is text {i}.", "n": i} for i in range(5)]
NEW = [
    *OLD[:3],
    {**OLD[3], "n": 30},
    {"id": "new", "text": "A text that was not there before.", "n": 7},
    {"id": "blank", "text": ""},
]
ADVICE = {
    errno.ENOSPC: "the disk is full: make room and run it again",
    errno.EROFS: "the disk is read-only: make it writable, or choose another --store",
    errno.EIO: "the disk reports an error: check its health",
}


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A collection with two generations, of which the next run prunes one."""
    monkeypatch.setattr(intake, "plan_merge", lambda *sizes: [])  # so that there are bitmaps, too
    place = Place(tmp_path)
    place.run(OLD[:4])
    place.run(OLD)
    write_rows(place.source, NEW)
    shutil.copytree(place.store, tmp_path / "before")
    return place


def restored(place: Place) -> None:
    shutil.rmtree(place.store)
    shutil.copytree(place.store.parent / "before", place.store)


def run(place: Place) -> ParecidoError | None:
    """Nothing but what the project raises on purpose may end a run."""
    try:
        place.run(keep_generations=1, keep_days=0)
    except (StorageError, CorruptGeneration) as error:
        return error
    return None


ONCE = [(errno.ENOSPC, FULL), (errno.EROFS, READ_ONLY - FULL), (errno.EIO, BROKEN - READ_ONLY)]
LASTING = [(errno.ENOSPC, FULL), (errno.EROFS, READ_ONLY), (errno.EIO, BROKEN)]


def chosen(steps: list[str], lasting: bool) -> list[int]:
    """Every step by its number, from 1; of those that only read, and where all later ones fail too, every third."""
    return [n for n, name in enumerate(steps, 1) if n % 3 == 0 or not (lasting or name in READING)]


@pytest.mark.parametrize(
    ("code", "kinds", "lasting"),
    [*((*each, False) for each in ONCE), *((*each, True) for each in LASTING)],
    ids=["full", "read-only", "broken", "full from then on", "read-only from then on", "broken from then on"],
)
def test_whatever_the_disk_refuses_the_old_generation_answers_and_the_next_run_goes_through(
    place: Place, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, code: int, kinds: frozenset[str], lasting: bool
) -> None:
    with monkeypatch.context() as patch:
        disk = Disk(place.store, kinds, code, patch)
        assert run(place) is None
    restored(place)
    descriptors, ends = len(os.listdir("/proc/self/fd")), set()
    for at in chosen(disk.steps, lasting):
        where = f"step {at}, {disk.steps[at - 1]}"
        with monkeypatch.context() as patch:
            refusing = Disk(place.store, kinds, code, patch)
            refusing.at, refusing.lasting = at, lasting
            error = run(place)
        assert refusing.refused == disk.steps[at - 1]
        assert error is None or ADVICE[code] in error.message, (where, error)
        published = place.numbers[-1] == 3
        if error and not published and refusing.refused in FULL:  # and not what went wrong after that
            assert "Cannot remove" not in error.message, where
        ends.add((error is None, published))
        assert_whole(place.store, NEW if published else OLD, stand_in)
        assert run(place) is None
        assert_whole(place.store, NEW, stand_in)
        assert_tidy(place.store)
        restored(place)
    assert (False, False) in ends
    del error  # which holds on to what the run had open
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 5
    assert [thread.name for thread in threading.enumerate() if "lease" in thread.name] == []


def test_a_first_run_that_the_disk_refuses_has_published_nothing_or_all(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    write_rows(place.source, NEW)
    with monkeypatch.context() as patch:
        disk = Disk(place.store, FULL, errno.ENOSPC, patch)
        assert run(place) is None
    for at, _ in enumerate(disk.steps, 1):
        shutil.rmtree(place.store, ignore_errors=True)
        with monkeypatch.context() as patch:
            refusing = Disk(place.store, FULL, errno.ENOSPC, patch)
            refusing.at = at
            error = run(place)
        assert refusing.refused
        assert error is None or ADVICE[errno.ENOSPC] in error.message
        if place.numbers:
            assert_whole(place.store, NEW, stand_in)
        assert run(place) is None
        assert place.numbers == [1]
        assert_whole(place.store, NEW, stand_in)
        assert_tidy(place.store)
