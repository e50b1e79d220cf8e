"""What is left when a rollback or a resume is killed?

Real processes, killed with SIGKILL before every single step of what they do to the disk: what is current answers
exactly, and whatever is done next works.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import NAME, Place, Runs, StandIn, assert_tidy, assert_whole

from indexer import generation as generations
from indexer import merge
from indexer.errors import OnHold
from indexer.rollback import resume, rollback
from indexer.storage import collection_folder

OLD = [{"id": f"old {i}", "text": f"This is text {i}.", "n": i} for i in range(12)]
GOOD = [*OLD[:10], {**OLD[10], "n": 30}, {"id": "new", "text": "A text that was not there before.", "n": 7}]
BAD = [{**row, "text": f"Spoilt: {row['text']}"} for row in GOOD[1:]]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Three generations, the second with deleted items, so that a rollback has bitmaps to write."""
    monkeypatch.setattr(merge, "FLOOR", 1)  # else segments this small are folded at once
    monkeypatch.setattr(merge, "HOLLOW", 1)
    place = Place(tmp_path)
    for rows in (OLD, GOOD, BAD):
        place.run(rows)
    assert generations.read(collection_folder(place.store, NAME), 2).deleted
    return place


@pytest.mark.parametrize("then", ["the next run", "another rollback"])
def test_a_rollback_killed_at_any_step_leaves_a_whole_store_in_which_all_goes_on(
    place: Place, stand_in: StandIn, runs: Runs, tmp_path: Path, then: str
) -> None:
    before = kept(place, tmp_path)
    steps = runs.run(place, 0, verb="rollback")
    assert steps is not None
    assert {"fsync", "link", "mkdir", "write"} <= set(steps)
    assert_whole(place.store, GOOD, stand_in)
    published = max(n for n, name in enumerate(steps, 1) if name == "link")
    for kill in range(1, len(steps) + 1):
        where = f"killed before step {kill}, {steps[kill - 1]}"
        put_back(place, before)
        assert runs.run(place, kill, verb="rollback") is None, where
        gone_back = kill > published
        assert place.numbers == ([1, 2, 3, 4] if gone_back else [1, 2, 3]), where
        assert place.snapshot.generation.hold == gone_back, where
        assert_whole(place.store, GOOD if gone_back else BAD, stand_in)
        if then == "another rollback":
            assert rollback(place.store, NAME).origin == (1 if gone_back else 2), where
            assert_whole(place.store, OLD if gone_back else GOOD, stand_in)
        else:
            assert_runs_go_on(place, stand_in, gone_back, where)
        assert_tidy(place.store)


def assert_runs_go_on(place: Place, stand_in: StandIn, on_hold: bool, where: str) -> None:
    """A run brings the content of the source, once a hold is lifted."""
    if on_hold:
        with pytest.raises(OnHold):
            place.run()
    assert (resume(place.store, NAME) is not None) == on_hold, where
    assert place.run().published == on_hold, where
    assert_whole(place.store, BAD, stand_in)


def test_a_resume_killed_at_any_step_leaves_the_content_and_either_the_hold_or_none(
    place: Place, stand_in: StandIn, runs: Runs, tmp_path: Path
) -> None:
    rollback(place.store, NAME)
    before = kept(place, tmp_path)
    steps = runs.run(place, 0, verb="resume")
    assert steps is not None
    published = max(n for n, name in enumerate(steps, 1) if name == "link")
    for kill in range(1, len(steps) + 1):
        where = f"killed before step {kill}, {steps[kill - 1]}"
        put_back(place, before)
        assert runs.run(place, kill, verb="resume") is None, where
        assert place.snapshot.generation.hold == (kill <= published), where
        assert_whole(place.store, GOOD, stand_in)
        assert (resume(place.store, NAME) is not None) == (kill <= published), where
        assert place.run().published, where
        assert place.numbers == [1, 2, 3, 4, 5, 6], where
        assert_whole(place.store, BAD, stand_in)
        assert_tidy(place.store)


def kept(place: Place, folder: Path) -> Path:
    """A copy of the store as it is now."""
    return shutil.copytree(place.store, folder / "before")


def put_back(place: Place, before: Path) -> None:
    """Have the store as it was then."""
    shutil.rmtree(place.store)
    shutil.copytree(before, place.store)
