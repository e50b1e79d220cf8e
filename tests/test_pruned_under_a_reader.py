"""Does whoever is just opening a generation, or has just opened it, notice that it was pruned?

Between two acts of the reader the next generation is published and the one that is being read is pruned.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import NAME, Place, StandIn, assert_whole

from indexer import ann, intake, storage
from indexer import generation as generations
from service.served import Collections


def rows(number: int, count: int = 6) -> list[dict[str, Any]]:
    return [{"id": f"i{n}", "text": f"This is text {n} of {number}.", "n": number} for n in range(count)]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A collection whose second generation has two segments and a bitmap."""
    place = Place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(intake, "plan_merge", lambda *sizes: [])
        place.run(rows(1))
        place.run([*rows(1)[1:], *rows(2, 1)])
    return place


def replace_and_prune(place: Place) -> None:
    place.run(rows(3), keep_generations=1, keep_days=0)
    assert place.numbers == [3]


@pytest.mark.parametrize("file", ["manifest", "items.arrow", "ann.faiss", "the index, looked for before", "bitmap"])
def test_whichever_file_vanishes_under_a_reader_that_is_opening_it_the_reader_looks_again(
    place: Place, stand_in: StandIn, file: str
) -> None:
    vanished = False

    def before(owner: Any, act: str, is_it: Callable[..., bool]) -> None:
        """Have everything vanish before the first such act."""
        done = getattr(owner, act)

        def doing(*arguments: Any) -> Any:
            nonlocal vanished
            if not vanished and is_it(*arguments):
                vanished = True
                replace_and_prune(place)
            return done(*arguments)

        patch.setattr(owner, act, doing)

    with pytest.MonkeyPatch.context() as patch:
        before(storage, "size", lambda path: path.name == file)
        before(storage, "read_file", lambda path: file == "manifest" and path.suffix == ".json")
        before(generations, "read_deleted", lambda *_: file == "bitmap")
        before(ann, "open_index", lambda *_: file == "the index, looked for before")
        snapshot = place.snapshot
    assert vanished
    assert snapshot.generation.number == 3
    assert_whole(place.store, rows(3), stand_in)


def test_a_service_goes_on_answering_from_what_was_pruned_before_its_checksums_were_compared(place: Place) -> None:
    """At its start a service opens first and compares checksums afterwards."""
    collections = Collections(place.store)
    collections.refresh()
    assert collections.get(NAME).unverified
    replace_and_prune(place)
    assert collections.verify_one()
    assert collections.get(NAME).snapshot.generation.number == 2
    assert not collections.verify_one()
    collections.refresh()
    assert collections.get(NAME).snapshot.generation.number == 3
    assert collections.problems() == {}
