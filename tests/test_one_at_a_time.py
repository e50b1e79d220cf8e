"""Does one run at a time write to a collection?

Processes on one machine, which the kernel keeps apart; for several machines see `test_two_hosts`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import NAME, Place, StandIn, assert_tidy, contents, write_rows

from indexer import generation as generations
from indexer import storage
from indexer.errors import CollectionLocked
from indexer.storage import CollectionFolder, check_held, collection_folder, leases, lock, locks

ROWS = [{"id": f"{i}", "text": f"This is text {i}.", "n": i} for i in range(4)]

HOLD = """
import sys
from pathlib import Path
from indexer.storage import collection_folder, lock
with lock(collection_folder(Path(sys.argv[1]), "things")):
    print("held", flush=True)
    sys.stdin.read()
"""

INDEX = """
import sys
from support import StandIn
from indexer import models
from indexer.cli import main
stand_in = StandIn()
models.identify = lambda *_: stand_in.fingerprint
models.load = lambda *_: stand_in
main(sys.argv[1:])
"""


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    place = Place(tmp_path)
    write_rows(place.source, ROWS)
    return place


@pytest.fixture
def folder(place: Place) -> CollectionFolder:
    return collection_folder(place.store, NAME)


@contextlib.contextmanager
def holder(place: Place) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the collection until it is told to end."""
    command = [sys.executable, "-c", HOLD, str(place.store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def indexing(place: Place, *arguments: str) -> subprocess.Popen[str]:
    """The command, as a person starts it."""
    command = [sys.executable, "-c", INDEX, "index", str(place.source), "--collection", NAME]
    return subprocess.Popen(
        [*command, "--store", str(place.store), *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_second_run_is_told_who_holds_the_collection_and_a_dead_holder_holds_nothing(place: Place) -> None:
    with holder(place) as process:
        here = re.escape(socket.gethostname())
        told = rf"is being indexed by process {process.pid} on {here} since \d{{4}}-\d\d-\d\dT[\d:]+\+00:00: wait until"
        with pytest.raises(CollectionLocked, match=told):
            place.run()
        assert place.numbers == []
        with lock(collection_folder(place.store, "another")):
            pass
        process.kill()
        process.wait()
        assert place.run().published
    assert_tidy(place.store)


def test_a_lock_is_free_again_when_the_run_has_ended_or_failed(place: Place, folder: CollectionFolder) -> None:
    with pytest.raises(RuntimeError), lock(folder):
        raise RuntimeError
    with lock(folder), pytest.raises(CollectionLocked), lock(folder):
        pass
    assert place.run().published
    assert_tidy(place.store)
    assert [thread.name for thread in threading.enumerate() if "lease" in thread.name] == []


@pytest.mark.parametrize("wait", [["--wait"], ["--wait", "60"]], ids=["as long as it takes", "a minute"])
def test_a_run_that_waits_says_for_whom_and_goes_on_when_that_one_has_ended(place: Place, wait: list[str]) -> None:
    with holder(place) as first, indexing(place, *wait) as second:
        assert second.stderr is not None
        assert f"collection things: it is being indexed by process {first.pid} on" in second.stderr.readline()
        assert place.numbers == []
        assert first.stdin is not None
        first.stdin.close()
        assert second.wait() == 0
        assert second.stderr.read() == ""
    assert set(contents(place.store)) == {"0", "1", "2", "3"}


@pytest.mark.parametrize("wait", [[], ["--wait=0.2"], ["--wait", "0"]])
def test_a_run_that_has_waited_in_vain_ends_with_5(place: Place, wait: list[str]) -> None:
    with holder(place) as first, indexing(place, *wait) as second:
        assert second.wait() == 5
        assert second.stderr is not None
        assert f"is being indexed by process {first.pid} on" in second.stderr.readlines()[-1]
        first.kill()


def test_wait_takes_a_number_and_no_other_word(place: Place) -> None:
    from click.testing import CliRunner

    from indexer.cli import main

    (place.source.parent / "parecido.toml").write_text(f'[collections.things]\nsource = "{place.source}"\n')
    shared = ["--config", str(place.source.parent / "parecido.toml"), "--store", str(place.store)]
    for number, spelled in enumerate((["--wait", NAME], ["--wait=3", NAME], ["--wait", "3", NAME], [NAME, "--wait"])):
        result = CliRunner().invoke(main, ["index", *shared, *spelled])
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"things: generation 1 {'still current' if number else 'published'}")
    assert CliRunner().invoke(main, ["index", *shared, "--wait=-1"]).exit_code == 2
    assert CliRunner().invoke(main, ["index", *shared, "--", "--wait"]).exit_code == 2


def test_a_lock_file_that_somebody_has_removed_does_not_let_two_in(place: Place, folder: CollectionFolder) -> None:
    with holder(place) as process:
        (folder.path / "lock").unlink()
        with pytest.raises(CollectionLocked, match=f"by process {process.pid} on"), lock(folder):
            pass
        process.kill()


def test_a_file_system_without_locks_keeps_two_apart_by_the_lease(
    place: Place, folder: CollectionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with lock(folder), pytest.raises(CollectionLocked, match=f"by process {os.getpid()} on"):
        place.run()
    assert place.run().published


def test_a_link_whose_answer_is_lost_on_the_network_was_made(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lost(source: Any, target: Any) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lost)
    assert place.run().published
    assert_tidy(place.store)


def test_who_lost_the_lease_is_told_and_publishes_nothing(place: Place, folder: CollectionFolder) -> None:
    place.run()
    generation = place.snapshot.generation
    with lock(folder):
        check_held(folder)
        (folder.path / "lease.000001").unlink()
        with pytest.raises(CollectionLocked, match="is gone: another run has had it meanwhile"):
            generations.publish(folder, generation)
    assert [path.name for path in folder.path.glob("lease*")] == []
    with lock(folder) as held:
        rival = {"pid": 1, "host": "north", "since": "noon"}
        (folder.path / f"lease.{held.number + 1:06d}").write_text(json.dumps(rival))
        with pytest.raises(CollectionLocked, match="was lost to process 1 on north since noon"):
            held.check()
    assert place.numbers == [1]


def test_nobody_publishes_without_the_lock(place: Place, folder: CollectionFolder) -> None:
    place.run()
    with pytest.raises(CollectionLocked, match="is not locked by this process"):
        generations.publish(folder, place.snapshot.generation)
    assert_tidy(place.store)


def test_a_lease_that_is_another_one_than_was_judged_is_not_taken_over(place: Place, folder: CollectionFolder) -> None:
    with lock(folder) as held:
        judged = leases.Lease(1, leases.Holder(1, "north", "noon", "another token", None), 0)
        assert leases.take(folder.path, judged, leases.Holder(2, "south", "noon", "token", None)) is None
        held.check()
        assert leases.take(folder.path, None, leases.Holder(2, "south", "noon", "token", None)) is None
        assert [path.name for path in folder.path.glob("*lease*")] == ["lease.000001"]


def test_a_wait_without_end_is_one(folder: CollectionFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    held = []

    def wait() -> None:
        with lock(folder, math.inf) as one:
            held.append(one)

    waiting = threading.Thread(target=wait, daemon=True)
    with lock(folder):
        waiting.start()
        waiting.join(0.3)
        assert held == []
    waiting.join()
    assert len(held) == 1


def test_two_that_remove_one_folder_at_the_same_time_are_not_in_each_others_way(tmp_path: Path) -> None:
    for _ in range(10):
        folder = tmp_path / "runs"
        for number in range(40):
            (folder / str(number)).mkdir(parents=True)
            (folder / str(number) / "spool").write_text("rows", encoding="utf-8")
        with ThreadPoolExecutor(2) as both:
            assert list(both.map(storage.remove, [folder, folder])) == [None, None]
        assert not folder.exists()
