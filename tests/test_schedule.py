"""Does one process start every run when it is due, for as long as it is asked to, and can others see that it does?

Time is told by a clock that jumps ahead; what the schedule does is real, the file that tells of it too.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from indexer import schedule, storage
from indexer.errors import StorageError
from indexer.schedule import Schedule, keep, next_run, next_time

DAILY = "0 3 * * *"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""A Monday."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class FakeClock:
    """Jumps ahead as far as it is asked to wait; the schedule is to end at `end`."""

    def __init__(self, end: datetime) -> None:
        self.time, self.end = NOON, end
        self.waits: list[float] = []

    def now(self) -> datetime:
        return self.time

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.time += timedelta(seconds=seconds)
        return self.time >= self.end


Kept = Callable[[str, str, tuple[str, ...], Callable[[FakeClock], int]], list[str]]


@pytest.fixture
def kept(tmp_path: Path, zone: Callable[[str], None], caplog: pytest.LogCaptureFixture) -> Kept:
    """Keeps a schedule in UTC until a time; returns when it ran what. `run` is called for each run."""
    zone("UTC")
    caplog.set_level(logging.INFO, "parecido")

    def kept(expression: str, end: str, names: tuple[str, ...], run: Callable[[FakeClock], int]) -> list[str]:
        clock, ran = FakeClock(at(end)), []

        def noted(due: tuple[str, ...]) -> int:
            ran.append(f"{clock.time:%d %H:%M} {' '.join(due)}")
            return run(clock)

        keep(tmp_path / "store", expression, names, noted, clock)
        assert max(clock.waits) <= schedule.LONGEST_WAIT
        assert not (tmp_path / "store" / schedule.FILE).exists()
        return ran

    return kept


def publish(store: Path, name: str) -> None:
    """What counts as published: a manifest."""
    folder = storage.make_folder(storage.collection_folder(store, name).generations)
    (folder / "000001.json").touch()


def test_runs_come_when_they_are_due_and_at_once_where_nothing_is_published(kept: Kept, tmp_path: Path) -> None:
    publish(tmp_path / "store", "b")
    ran = kept(DAILY, "2026-01-08 00:00", ("a", "b"), lambda clock: 0)
    assert ran == ["05 12:00 a", "06 03:00 a b", "07 03:00 a b"]


def test_a_first_run_that_fails_is_not_tried_again_before_its_time(kept: Kept) -> None:
    assert kept(DAILY, "2026-01-06 12:00", ("a",), lambda clock: 4) == ["05 12:00 a", "06 03:00 a"]


def test_a_run_that_goes_on_when_the_next_is_due_is_not_joined_by_a_second_one(
    kept: Kept, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(tmp_path / "store", "a")

    def long(clock: FakeClock) -> int:
        clock.time += timedelta(minutes=150)
        return 0

    assert kept("0 * * * *", "2026-01-05 19:00", ("a",), long) == ["05 13:00 a", "05 16:00 a"]
    assert [m for m in caplog.messages if m.startswith("passed over the run of 2026-01-05 14:00:00 UTC")]


def test_a_run_that_is_killed_or_fails_does_not_end_the_schedule(
    kept: Kept, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(tmp_path / "store", "a")
    codes = iter([-9, 1, -15, 0])
    assert len(kept("0 * * * *", "2026-01-05 16:30", ("a",), lambda clock: next(codes))) == 4
    told = [r for r in caplog.records if vars(r)["event"] == "scheduled_run_ended"]
    assert [vars(r)["exit_code"] for r in told] == [-9, 1, -15, 0]
    assert told[0].getMessage() == "the run was killed by signal 9, as for want of memory"
    assert told[1].getMessage() == "the run ended with exit code 1"


def test_a_schedule_that_is_to_end_within_a_run_ends_after_it(kept: Kept) -> None:
    def until_the_end(clock: FakeClock) -> int:
        clock.time = clock.end
        return 143

    assert kept("* * * * *", "2026-01-06 00:00", ("a",), until_the_end) == ["05 12:00 a"]


def test_the_file_tells_what_comes_next_and_whether_a_run_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(datetime.now(UTC) + timedelta(days=2))
    began = clock.time = datetime.now(UTC)
    daily = next_time(DAILY, began)
    waiting: list[Schedule] = []
    running: list[Schedule] = []

    def told() -> Schedule:
        found = next_run(tmp_path)
        assert found is not None
        return found

    def run(due: tuple[str, ...]) -> int:
        running.append(told())
        return 0

    def wait(seconds: float) -> bool:
        if seconds and not waiting:
            waiting.append(told())
        return FakeClock.wait(clock, seconds)

    monkeypatch.setattr(clock, "wait", wait)
    assert next_run(tmp_path) is None
    keep(tmp_path, DAILY, ("a",), run, clock)
    assert next_run(tmp_path) is None
    idle = Schedule(DAILY, ("a",), os.getpid(), socket.gethostname(), began, daily, running=False)
    assert waiting == [idle]
    assert running[0] == replace(idle, running=True)
    assert running[1].next_run_at == next_time(DAILY, daily)


def record(store: Path, **changes: Any) -> None:
    """A schedule.json as a process of now would have written it."""
    now = datetime.now(UTC)
    fields = {
        "expression": DAILY,
        "collections": ["a"],
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": now.isoformat(),
        "next_run_at": (now + timedelta(hours=1)).isoformat(),
        "running": False,
    }
    (store / schedule.FILE).write_text(json.dumps({**fields, **changes}), encoding="utf-8")


def test_a_schedule_whose_process_is_dead_or_idle_past_its_time_does_not_count(tmp_path: Path) -> None:
    record(tmp_path)
    assert next_run(tmp_path) is not None
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    record(tmp_path, next_run_at=past, running=True)
    assert next_run(tmp_path) is not None
    record(tmp_path, next_run_at=past)
    assert next_run(tmp_path) is None
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    record(tmp_path, pid=dead.pid)
    assert next_run(tmp_path) is None
    record(tmp_path, pid=dead.pid, host="another")
    assert next_run(tmp_path) is not None
    for text in ("", "{}", "[1]", '{"pid": "x"}'):
        (tmp_path / schedule.FILE).write_text(text, encoding="utf-8")
        assert next_run(tmp_path) is None


def test_a_disk_that_refuses_the_file_does_not_end_the_schedule(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise StorageError(f"Cannot write {str(path)!r}: the disk is full: make room and run it again.")

    monkeypatch.setattr(storage, "write_file", full)
    assert kept(DAILY, "2026-01-06 12:00", ("a",), lambda clock: 1) == ["05 12:00 a", "06 03:00 a"]
    assert any("`parecido status` does not show it: Cannot write" in message for message in caplog.messages)


def test_the_file_of_another_process_that_took_over_is_left_alone(tmp_path: Path) -> None:
    clock = FakeClock(NOON + timedelta(minutes=1))

    def run(due: tuple[str, ...]) -> int:
        clock.time = clock.end
        record(tmp_path, host="another")
        return 0

    keep(tmp_path, "* * * * *", ("a",), run, clock)
    assert json.loads((tmp_path / schedule.FILE).read_text(encoding="utf-8"))["host"] == "another"
