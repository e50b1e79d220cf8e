"""Is every dollar that was recorded still there, once, whatever happens meanwhile?"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from indexer.errors import StorageError
from indexer.ledger import Entry, Ledger, Line, Spent, ledger
from indexer.storage import database

SMALL, LARGE, OWN = "openai:text-embedding-3-small", "openai:text-embedding-3-large", "openai:own"
ENTRY = Entry("notes", SMALL, "normal", "run 1", 1, 10, 1000, 20_000, day=date(2026, 11, 24))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "costs.sqlite"


@pytest.fixture
def paid(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as opened:
        yield opened


def sql(path: Path, statement: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def test_what_is_recorded_adds_up_by_run_month_and_whatever_is_asked_for(paid: Ledger) -> None:
    for entry in (
        ENTRY,
        ENTRY,
        replace(ENTRY, day=date(2026, 11, 30), run="run 2", nano_dollars=7),
        replace(ENTRY, day=date(2026, 12, 1), run="run 2", model=LARGE, mode="batch", tokens=3),
        replace(ENTRY, day=date(2026, 10, 31), collection="other", run="run 0"),
    ):
        assert paid.record(entry)
    assert paid.run("run 1") == Spent(2, 20, 2000, 40_000)
    assert paid.run("run 2") == Spent(2, 20, 1003, 20_007)
    assert paid.run("none") == Spent()
    assert paid.month(date(2026, 11, 1)) == paid.month(date(2026, 11, 30)) == Spent(3, 30, 3000, 40_007)
    assert paid.month(date(2026, 12, 31)).tokens == 3
    assert paid.month(date(2027, 1, 1)) == Spent()
    assert paid.total() == Spent(5, 50, 4003, 80_007)
    assert paid.by(["month", "model"]) == [
        Line(("2026-10", SMALL), Spent(1, 10, 1000, 20_000)),
        Line(("2026-11", SMALL), Spent(3, 30, 3000, 40_007)),
        Line(("2026-12", LARGE), Spent(1, 10, 3, 20_000)),
    ]
    assert [line.of for line in paid.by(["collection"])] == [("notes",), ("other",)]
    days = [("2026-11-24",), ("2026-11-30",)]
    assert [line.of for line in paid.by(["day"], date(2026, 11, 24), date(2026, 11, 30))] == days
    assert paid.by(["day"], date(2027, 1, 1)) == []


def test_answers_of_one_day_and_run_share_a_row(paid: Ledger, path: Path) -> None:
    for _ in range(50):
        paid.record(ENTRY)
    assert sql(path, "SELECT requests, nano_dollars FROM paid") == [(50, 1_000_000)]


def test_what_has_no_known_price_is_told_apart_and_never_adds_nothing(paid: Ledger) -> None:
    paid.record(replace(ENTRY, model=OWN, nano_dollars=None))
    paid.record(replace(ENTRY, model=OWN, nano_dollars=None, tokens=5))
    assert paid.total() == Spent(2, 20, 1005, 0, unpriced_tokens=1005)
    paid.record(replace(ENTRY, model=OWN, nano_dollars=9))
    assert paid.total() == Spent(3, 30, 2005, 9, unpriced_tokens=1005)


def test_tokens_that_the_api_did_not_count_are_told_apart(paid: Ledger) -> None:
    paid.record(ENTRY)
    paid.record(replace(ENTRY, tokens=5, estimated=True))
    assert paid.run("run 1") == Spent(2, 20, 1005, 40_000, estimated_tokens=5)


def test_without_a_day_it_is_today_in_utc(paid: Ledger) -> None:
    before = datetime.now(UTC).date()
    paid.record(replace(ENTRY, day=None))
    (line,) = paid.by(["day"])
    assert line.of[0] in {before.isoformat(), datetime.now(UTC).date().isoformat()}


def test_under_a_key_money_is_recorded_once_whoever_does_it(paid: Ledger, path: Path) -> None:
    assert not paid.recorded("batch_abc")
    assert paid.record(ENTRY, once="batch_abc")
    assert not paid.record(replace(ENTRY, day=date(2026, 12, 1)), once="batch_abc")
    with Ledger(path) as others:
        assert not others.record(ENTRY, once="batch_abc")
        assert others.record(ENTRY, once="batch_def")
        assert others.recorded("batch_abc")
    assert paid.total().requests == 2


def test_asking_makes_no_file(path: Path) -> None:
    with Ledger(path) as paid:
        assert paid.total() == paid.run("a") == paid.month(date(2026, 11, 1)) == Spent()
        assert paid.by(["model"]) == []
        assert not paid.recorded("a")
    assert not path.parent.exists()
    assert ledger(path.parent)._file.path == path


RECORD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_ledger import ENTRY, replace
from indexer.ledger import Ledger
with Ledger(Path(sys.argv[2])) as paid:
    for number in range(int(sys.argv[4])):
        paid.record(replace(ENTRY, collection=sys.argv[3], run=sys.argv[3]))
        paid.record(ENTRY, once=f"batch {number}")
        print(number, flush=True)
"""


def recording(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", RECORD, str(Path(__file__).parent), str(path), name, str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_record_at_once_and_nothing_is_lost_or_doubled(path: Path, paid: Ledger) -> None:
    processes = [recording(path, name, 60) for name in "ab"]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    assert ends == [("", 0)] * 2
    assert [paid.run(name).requests for name in "ab"] == [60, 60]
    assert paid.run("run 1") == Spent(60, 600, 60_000, 1_200_000)


def test_a_killed_process_loses_nothing_that_was_recorded(path: Path, paid: Ledger) -> None:
    for round in range(3):
        process = recording(path, f"{round}", 100_000)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(10)]
        process.kill()
        told = len(lines) + len(process.communicate()[0].splitlines())
        spent = paid.run(f"{round}")
        assert told <= spent.requests <= told + 1
        assert spent.nano_dollars == 20_000 * spent.requests
    keys = sql(path, "SELECT count(*) FROM once")[0][0]
    assert paid.run("run 1").requests == keys


def test_a_full_disk_is_said_to_be_and_what_was_recorded_before_stays(paid: Ledger) -> None:
    paid.record(ENTRY)
    connection = paid._file._open()
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    refusal = r"ledger of costs .* the disk is full: make room and run it again"
    with pytest.raises(StorageError, match=refusal):
        all(paid.record(replace(ENTRY, run="full"), once=f"{number} {'x' * 500}") for number in range(1000))
    done = paid.run("full").requests
    assert sql(paid._file.path, "SELECT count(*) FROM once") == [(done,)]
    connection.execute("PRAGMA max_page_count = 100000")
    assert paid.record(replace(ENTRY, run="full"), once=f"{done} {'x' * 500}")
    assert paid.run("full").requests == done + 1
    assert paid.run("run 1") == Spent(1, 10, 1000, 20_000)


def test_a_ledger_that_cannot_be_opened_or_is_held_for_too_long_says_so(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger(tmp_path) as folder, pytest.raises(StorageError, match="choose another --store"):
        folder.record(ENTRY)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    with Ledger(path) as paid, Ledger(path) as others:
        paid.record(ENTRY)
        with others._file.transaction(), pytest.raises(StorageError, match="another process has held it"):
            paid.record(ENTRY)
        assert paid.record(ENTRY)


def test_a_file_of_something_else_or_of_a_later_format_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    sql(path, "CREATE TABLE theirs (a)")
    with Ledger(path) as paid, pytest.raises(StorageError, match="a database of something else"):
        paid.record(ENTRY)
    assert sql(path, "SELECT name FROM sqlite_master") == [("theirs",)]
    sql(path, "PRAGMA user_version = 2")
    with Ledger(path) as paid, pytest.raises(StorageError, match=r"ledger of costs .* has format 2; .* reads format 1"):
        paid.total()
    path.write_bytes(b"no database at all " * 1000)
    with Ledger(path) as paid, pytest.raises(StorageError, match=r"it is damaged .* no longer counted, so keep it"):
        paid.record(ENTRY)
    assert path.read_bytes() == b"no database at all " * 1000


def test_whatever_byte_of_the_file_is_flipped_it_is_read_or_named(path: Path) -> None:
    with Ledger(path) as paid:
        for number in range(40):
            paid.record(replace(ENTRY, run=f"{number}"), once=f"{number}")
    whole, refused = path.read_bytes(), []
    for at in random.Random(0).sample([at for at, byte in enumerate(whole) if byte], 100):
        for part in ("-wal", "-shm"):
            Path(f"{path}{part}").unlink(missing_ok=True)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            with Ledger(path) as paid:
                paid.by(["day", "run", "collection"])
                paid.record(ENTRY, once="more")
        except StorageError as error:
            refused.append(error.message)
    assert all(repr(str(path)) in message for message in refused)
    assert refused
