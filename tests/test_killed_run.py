"""What is left when a run is killed?

Real processes, killed with SIGKILL before every single step of what they do to the disk: the current generation is
whole and answers exactly, and the next run ends as if nothing had happened.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import NAME, Place, Runs, StandIn, assert_tidy, assert_whole, write_rows

from indexer.errors import CollectionNotFound

OLD = [{"id": f"old {i}", "text": f"This is text {i}.", "n": i} for i in range(5)]
NEW = [
    *OLD[:2],
    {**OLD[2], "text": "This text is another one now."},
    {**OLD[3], "n": 30},
    {"id": "new 1", "text": "A text that was not there before.", "n": 7},
    {"id": "blank", "text": ""},
]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("rebuild", [False, True], ids=["changes", "rebuild"])
def test_a_run_killed_at_any_step_leaves_a_whole_generation_and_the_next_run_succeeds(
    place: Place, stand_in: StandIn, runs: Runs, tmp_path: Path, rebuild: bool
) -> None:
    place.run(OLD)
    before = tmp_path / "before"
    shutil.copytree(place.store, before)
    write_rows(place.source, NEW)
    steps = runs.run(place, 0, rebuild)
    assert steps is not None
    assert {"fsync", "link", "mkdir", "rename", "replace", "rmdir", "unlink", "write"} <= set(steps)
    assert_whole(place.store, NEW, stand_in)
    published = last(steps, "link")
    for kill in chosen(steps):
        where = f"killed before step {kill}, {steps[kill - 1]}"
        shutil.rmtree(place.store)
        shutil.copytree(before, place.store)
        assert runs.run(place, kill, rebuild) is None, where
        assert place.numbers == ([1] if kill <= published else [1, 2]), where
        assert_whole(place.store, OLD if kill <= published else NEW, stand_in)
        report = place.run()
        assert report.published == (kill <= published), where
        assert place.numbers == [1, 2], where
        assert_whole(place.store, NEW, stand_in)
        assert_tidy(place.store)
        assert [reject["id"] for reject in place.rejects()] == ["blank"], where


def test_a_first_run_killed_at_any_step_has_published_nothing_or_all(
    place: Place, stand_in: StandIn, runs: Runs
) -> None:
    write_rows(place.source, NEW)
    steps = runs.run(place, 0)
    assert steps is not None
    published = last(steps, "link")
    for kill in chosen(steps):
        shutil.rmtree(place.store)
        assert runs.run(place, kill) is None
        assert place.numbers == ([] if kill <= published else [1])
        if kill <= published:
            with pytest.raises(CollectionNotFound):
                _ = place.snapshot
        place.run()
        assert place.numbers == [1]
        assert_whole(place.store, NEW, stand_in)
        assert_tidy(place.store)


def test_runs_that_are_killed_one_after_the_other_leave_nothing_behind(
    place: Place, stand_in: StandIn, runs: Runs
) -> None:
    place.run(OLD)
    write_rows(place.source, NEW)
    kill, killed = 10, 0
    while (steps := runs.run(place, kill)) is None:
        assert place.numbers[0] == 1
        kill, killed = kill + 23, killed + 1
    assert killed > 3
    assert steps.count("write") < kill
    assert_whole(place.store, NEW, stand_in)
    assert_tidy(place.store)


def test_a_run_that_is_killed_does_not_hold_the_collection(place: Place, runs: Runs) -> None:
    place.run(OLD)
    held = json.loads((place.store / "collections" / NAME / "lock").read_bytes())
    write_rows(place.source, NEW)
    assert runs.run(place, 40) is None
    assert json.loads((place.store / "collections" / NAME / "lock").read_bytes())["pid"] != held["pid"]
    assert place.run().published


def chosen(steps: list[str]) -> list[int]:
    """Every step by its number, from 1; of the many writes to one file after the other, every seventh."""
    return [n for n, name in enumerate(steps, 1) if name != "write" or n % 7 == 0]


def last(steps: list[str], name: str) -> int:
    """The number of the last step of that name: of the links, the one that publishes."""
    return max(n for n, each in enumerate(steps, 1) if each == name)
