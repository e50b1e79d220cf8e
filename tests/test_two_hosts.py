"""Does one indexer at a time write to a folder that several hosts share?

Two real processes that share a folder and nothing else: `flock` does nothing between them, and each names a kernel of
its own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
from support import NAME, Place, StandIn, assert_tidy, contents, write_rows

from indexer.snapshot import verify
from indexer.storage import collection_folder

ROWS = [{"id": f"{i}", "text": f"This is text {i}.", "n": i} for i in range(4)]
LOST = re.compile(r"CollectionLocked: The lease on collection 'things' (was lost to process \d+ on \w+ since|is gone)")


class Host:
    """Another host, see `host_child`; one run at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        command = [sys.executable, str(Path(__file__).parent / "host_child.py"), name]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )

    def begin(self, place: Place, wait: float = 0.0, lease: float = 1.5, beat: float = 0.1, **order: Any) -> None:
        """Start a run."""
        order |= {"store": str(place.store), "source": str(place.source), "wait": wait, "lease": lease, "beat": beat}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self.pid = self.hear()["pid"]

    def hear(self) -> dict[str, Any]:
        """What it says next."""
        assert self.process.stdout is not None
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def sleep(self) -> None:
        """Have the run stand still from where it was told to."""
        assert "stopped" in self.hear()
        while "\nState:\tT" not in Path(f"/proc/{self.pid}/status").read_text():
            time.sleep(0.01)

    def wake(self) -> None:
        """Have it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """The run ends with no chance to put anything away."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.hear() == {"signal": signal.SIGKILL}

    def end(self) -> None:
        """It is gone, with all that runs on it."""
        os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    north, south = Host("north"), Host("south")
    with north.process, south.process:
        yield north, south
        for host in (north, south):
            host.end()


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    place = Place(tmp_path)
    write_rows(place.source, ROWS)
    return place


def leases_of(place: Place) -> list[str]:
    return sorted(path.name for path in collection_folder(place.store, NAME).path.glob("lease.*"))


def await_lease(place: Place) -> None:
    while not leases_of(place):
        time.sleep(0.01)


def assert_one_whole_generation(place: Place, number: int = 1) -> None:
    """Exactly one was published, it is whole, and what else there is goes with the next run."""
    assert place.numbers[-1] == number
    verify(place.snapshot)
    assert set(contents(place.store)) == {row["id"] for row in ROWS}
    assert not place.run().published
    assert_tidy(place.store)


def test_of_two_that_start_together_exactly_one_publishes(
    hosts: tuple[Host, Host], place: Place, tmp_path: Path
) -> None:
    for number in range(1, 6):
        write_rows(place.source, [{**row, "round": number} for row in ROWS])
        gate = tmp_path / f"gate {number}"
        for host in hosts:
            host.begin(place, until=str(gate), lease=30)
        with ThreadPoolExecutor() as both:
            ended = as_completed([both.submit(host.hear) for host in hosts])
            assert next(ended).result()["error"].startswith("CollectionLocked: ")
            gate.touch()
            assert next(ended).result() == {"error": None, "published": number}
        assert place.numbers[-1] == number
        verify(place.snapshot)
        place.run()
        assert_tidy(place.store)


def test_a_second_one_is_told_at_once_who_holds_the_collection_and_since_when(
    hosts: tuple[Host, Host], place: Place, tmp_path: Path
) -> None:
    north, south = hosts
    north.begin(place, until=str(tmp_path / "gate"))
    await_lease(place)
    south.begin(place)
    refused = south.hear()["error"]
    assert refused.startswith(f"CollectionLocked: Collection 'things' is being indexed by process {north.pid} on north")
    assert re.search(r" since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00: wait until it ends, or stop it\.", refused)
    (tmp_path / "gate").touch()
    assert north.hear()["published"] == 1
    assert_one_whole_generation(place)


def test_one_that_shows_life_is_waited_for_and_never_taken_for_dead(
    hosts: tuple[Host, Host], place: Place, tmp_path: Path
) -> None:
    north, south = hosts
    north.begin(place, until=str(tmp_path / "gate"))
    await_lease(place)
    south.begin(place, wait=3.0)  # twice the time after which a dead one loses its lease
    assert "is being indexed by process" in south.hear()["error"]
    south.begin(place, wait=60.0)
    (tmp_path / "gate").touch()
    assert north.hear()["published"] == 1
    assert south.hear() == {"error": None, "published": None}
    assert_one_whole_generation(place)


def test_the_place_of_one_that_was_killed_is_taken_after_the_time_of_a_lease(
    hosts: tuple[Host, Host], place: Place, tmp_path: Path
) -> None:
    north, south = hosts
    north.begin(place, until=str(tmp_path / "gate"))
    await_lease(place)
    north.kill()
    assert leases_of(place) == ["lease.000001"]
    south.begin(place, lease=30)  # it cannot know yet
    assert f"is being indexed by process {north.pid} on north" in south.hear()["error"]
    south.begin(place, wait=60.0)
    assert south.hear()["published"] == 1
    assert_one_whole_generation(place)


def test_a_lease_that_looks_old_is_watched_and_taken_over_without_being_asked_to_wait(
    hosts: tuple[Host, Host], place: Place, tmp_path: Path
) -> None:
    north, south = hosts
    north.begin(place, until=str(tmp_path / "gate"))
    await_lease(place)
    north.kill()
    lease = collection_folder(place.store, NAME).path / "lease.000001"
    for clock in (0, time.time() + 86_400):
        os.utime(lease, (clock, clock))
        if clock:
            lease.write_bytes(b"")  # as a power cut may leave it
            os.utime(lease, (clock, clock))
        south.begin(place)
        assert south.hear()["error"] is None
        place.run(rebuild=True)
        assert_tidy(place.store)
        lease.write_bytes(b"{}")


def test_one_whose_clock_is_wrong_is_seen_to_live(hosts: tuple[Host, Host], place: Place, tmp_path: Path) -> None:
    north, south = hosts
    north.begin(place, until=str(tmp_path / "gate"), beat=0.5)
    await_lease(place)
    os.utime(collection_folder(place.store, NAME).path / "lease.000001", (0, 0))
    south.begin(place)
    assert f"is being indexed by process {north.pid} on north" in south.hear()["error"]
    (tmp_path / "gate").touch()
    assert north.hear()["published"] == 1


@pytest.mark.parametrize("where", ["embed", "link"])
def test_one_that_slept_and_lost_its_lease_publishes_nothing_and_says_so(
    hosts: tuple[Host, Host], place: Place, where: str
) -> None:
    north, south = hosts
    north.begin(place, stop=where)
    north.sleep()
    south.begin(place, wait=60.0)
    assert south.hear()["published"] == 1
    manifest = (collection_folder(place.store, NAME).generations / "000001.json").read_bytes()
    north.wake()
    end = north.hear()
    assert LOST.match(end["error"]), end
    assert (collection_folder(place.store, NAME).generations / "000001.json").read_bytes() == manifest
    assert_one_whole_generation(place)


@pytest.mark.parametrize("where", ["embed", "link"])
def test_one_that_lost_its_lease_cannot_publish_before_its_successor_does(
    hosts: tuple[Host, Host], place: Place, tmp_path: Path, where: str
) -> None:
    north, south = hosts
    place.run(ROWS[:2])
    write_rows(place.source, ROWS)
    north.begin(place, stop=where)
    north.sleep()
    south.begin(place, wait=60.0, until=str(tmp_path / "gate"))
    generations = collection_folder(place.store, NAME).generations
    while leases_of(place) != ["lease.000002"] or list(generations.glob(".*")):
        time.sleep(0.01)
    north.wake()
    end = north.hear()
    assert re.match(rf"CollectionLocked: .* lost to process {south.pid} on south since", end["error"]), end
    assert place.numbers == [1]
    (tmp_path / "gate").touch()
    assert south.hear()["published"] == 2
    assert_one_whole_generation(place, 2)
