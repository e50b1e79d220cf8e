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
from typing import Any

import pytest
from faults import Disk
from support import Place, StandIn, assert_tidy, assert_whole, write_rows

from indexer import intake
from indexer.errors import StorageError

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


def run(place: Place) -> StorageError | None:
    """Nothing but the error of a disk may end a run."""
    try:
        place.run(keep_generations=1, keep_days=0)
    except StorageError as error:
        return error
    return None


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=["full", "read-only", "broken"])
def test_whatever_step_the_disk_refuses_the_old_generation_answers_and_the_next_run_goes_through(
    place: Place, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, code: int, lasting: bool
) -> None:
    with monkeypatch.context() as patch:
        disk = Disk(place.store, code, patch)
        disk.refuse(0)
        assert run(place) is None
        steps = disk.steps
    restored(place)
    descriptors, ends = len(os.listdir("/proc/self/fd")), set[Any]()
    for at in range(1, len(steps) + 1):
        where = f"step {at}, {steps[at - 1]}"
        with monkeypatch.context() as patch:
            disk = Disk(place.store, code, patch)
            disk.refuse(at, lasting)
            error = run(place)
        assert disk.refused, where
        assert error is None or ADVICE[code] in error.message, (where, error)
        published = place.numbers[-1] == 3
        ends.add((error is None, published))
        assert_whole(place.store, NEW if published else OLD, stand_in)
        assert run(place) is None
        assert_whole(place.store, NEW, stand_in)
        assert_tidy(place.store)
        restored(place)
    assert ends >= {(False, False), (False, True)}
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 5
    assert [thread.name for thread in threading.enumerate() if "lease" in thread.name] == []
