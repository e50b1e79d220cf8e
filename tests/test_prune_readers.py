"""Does pruning ever take something away from under a reader?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pruning import five_generations, folder, rows
from support import NAME, Place, StandIn, assert_whole

from indexer import ann, intake, storage, writing
from indexer import generation as generations
from service.served import Collections


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return five_generations(tmp_path)


@contextmanager
def reader(place: Place, what: str) -> Iterator[subprocess.Popen[str]]:
    """A process that reads the collection, see `reader_child`."""
    child = Path(__file__).parent / "reader_child.py"
    with subprocess.Popen(
        [sys.executable, str(child), what, str(folder(place).path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 0


def asked(process: subprocess.Popen[str]) -> Any:
    """The next answer of a reader that holds a generation."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def test_a_reader_that_holds_a_generation_answers_exactly_as_before_after_it_was_pruned(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(intake, "plan_merge", lambda *sizes: [])
        place.run(rows(1, 400))
        place.run([*rows(1, 400)[50:], *rows(2, 50)])
    with reader(place, "hold") as process:
        before = asked(process)
        assert before["generation"] == 2
        assert (len(before["hits"]), len(before["filtered"])) == (400, 350)
        place.run(rows(3, 400), keep_generations=1, keep_days=0)
        assert place.numbers == [3]
        assert {path.name[:6] for path in folder(place).segments.iterdir()} == {"000003"}
        assert asked(process) == before
        place.run(rows(4, 300), keep_generations=1, keep_days=0)
        assert asked(process) == before


def test_a_reader_that_starts_while_generations_are_published_and_pruned_never_fails(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "SEGMENT_BYTES", 16 * 4 * 3)  # ten segments, so that opening takes its time
    place = Place(tmp_path)
    place.run(rows(1, 30))
    with reader(place, "open") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "opened\n"
        for number in range(2, 60):
            place.run(rows(number, 30), keep_generations=1, keep_days=0)
            assert place.numbers == [number]
        process.stdin.close()
        found = json.loads(process.stdout.readline())
    assert found["opened"] >= 10
    assert len(found["seen"]) >= 5


@pytest.mark.parametrize("name", ["manifest", "items.arrow", "ann.faiss", "the open index", "bitmap"])
def test_whichever_file_vanishes_under_a_reader_that_is_opening_it_the_reader_looks_again(
    place: Place, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A new generation is published and the old one pruned between two looks of the reader."""
    monkeypatch.setattr(intake, "plan_merge", lambda *sizes: [])
    place.run([*rows(5)[1:], *rows(6, 1)])
    vanished = False

    def before(owner: Any, act: str, is_it: Callable[..., bool]) -> None:
        """Have it vanish before the first such act."""
        done = getattr(owner, act)

        def doing(*arguments: Any) -> Any:
            nonlocal vanished
            if is_it(*arguments) and not vanished:
                vanished = True
                place.run(rows(7), keep_generations=1, keep_days=0)
            return done(*arguments)

        patch.setattr(owner, act, doing)

    with monkeypatch.context() as patch:
        before(storage, "size", lambda path: path.name == name)
        before(storage, "read_file", lambda path: name == "manifest" and path.suffix == ".json")
        before(generations, "read_deleted", lambda *_: name == "bitmap")
        before(ann, "open_index", lambda *_: name == "the open index")
        snapshot = place.snapshot
    assert vanished
    assert snapshot.generation.number == 7
    assert_whole(place.store, rows(7), stand_in)


def test_a_service_goes_on_answering_from_what_was_pruned_before_it_was_verified(place: Place) -> None:
    """At its start a service opens first and compares checksums afterwards."""
    collections = Collections(place.store)
    collections.refresh()
    assert collections.get(NAME).unverified
    place.run(rows(6), keep_generations=1, keep_days=0)
    assert collections.verify_one()
    assert collections.get(NAME).snapshot.generation.number == 5
    assert not collections.verify_one()
    collections.refresh()
    assert collections.get(NAME).snapshot.generation.number == 6
    assert collections.problems() == {}
