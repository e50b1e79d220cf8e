"""Is what is kept kept, is what is removed nobody's, and does no reader notice?"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import reader_child
from support import NAME, Place, Runs, StandIn, assert_tidy, flip

from indexer import generation as generations
from indexer import merge, storage
from indexer.errors import BrakeRefused, CollectionLocked
from indexer.prune import Pruned, plan_prune, prune
from indexer.storage import CollectionFolder, collection_folder
from indexer.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
UNREADABLE = None


def rows(number: int) -> list[dict[str, Any]]:
    """What generation `number` is made of: every text is another one than before, so that each has its own segment."""
    return [{"id": f"item {i}", "text": f"Text {i} of {number}.", "made_for": number, "n": i} for i in range(4)]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return Place(tmp_path)


@pytest.fixture
def folder(place: Place) -> CollectionFolder:
    return collection_folder(place.store, NAME)


def publish(place: Place, last: int, first: int = 1, **settings: Any) -> None:
    """Generations of those numbers."""
    for number in range(first, last + 1):
        assert place.run(rows(number), **settings).generation == number


def pruned(folder: CollectionFolder, keep: int, days: float = 0.0) -> Pruned:
    with storage.lock(folder):
        return prune(folder, keep, timedelta(days=days))


@pytest.mark.parametrize(
    ("ages", "keep", "days", "opened", "kept"),
    [
        ([], 1, 0, None, []),
        ([0], 1, 0, None, [1]),
        ([400], 1, 0, None, [1]),
        ([400, 300, 200], 1, 0, None, [3]),
        ([400, 300, 200], 2, 0, None, [2, 3]),
        ([400, 300, 200], 3, 0, None, [1, 2, 3]),
        ([400, 300, 200], 9, 0, None, [1, 2, 3]),
        ([3, 2, 1], 1, 2, None, [3]),  # 2 days old is not younger than 2 days
        ([3, 1.999, 1], 1, 2, None, [2, 3]),
        ([-1, 5, 4], 1, 0, None, [1, 3]),  # made by a clock that was ahead
        ([9, UNREADABLE, 8, 7], 1, 0, None, [2, 4]),
        ([9, 8, UNREADABLE], 1, 0, None, [3]),
        ([9, 8, 7, UNREADABLE], 1, 0, 2, [2, 4]),
        ([9, 8, 7, 6], 1, 0, 1, [1, 4]),
        ([9, 8, 7, 6], 1, 0, 4, [4]),
        ([0, 0, 0, 0], 1, 0, None, [4]),
    ],
)
def test_the_newest_the_young_the_unreadable_and_the_one_that_is_read_stay(
    ages: list[float | None], keep: int, days: float, opened: int | None, kept: list[int]
) -> None:
    published = [(n, None if age is None else NOW - age * DAY) for n, age in enumerate(ages, 1)]
    verdicts = plan_prune(published, keep, days * DAY, NOW, opened)
    assert [verdict.number for verdict in verdicts] == [number for number, _ in published]
    assert [verdict.number for verdict in verdicts if verdict.keep] == kept


def test_every_verdict_has_its_reason() -> None:
    published = [(1, NOW - 9 * DAY), (2, None), (3, NOW - 8 * DAY), (5, NOW - DAY), (6, NOW - 7 * DAY), (7, NOW)]
    assert [(one.number, one.reason) for one in plan_prune(published, 2, 2 * DAY, NOW, 3)] == [
        (1, "it is older than 2 days and not one of the last 2"),
        (2, "its manifest cannot be read"),
        (3, "it is the newest that can be opened"),
        (5, "it is younger than 2 days"),
        (6, "it is one of the last 2"),
        (7, "it is current"),
    ]


def test_what_goes_is_gone_to_the_last_file_and_what_stays_is_whole(place: Place, folder: CollectionFolder) -> None:
    publish(place, 4)
    sizes = [generations.read(folder, number).segments[0].bytes for number in (1, 2)]
    done = pruned(folder, 2)
    assert (done.removed, done.segments, done.bytes) == ([1, 2], 2, sum(sizes))
    assert place.numbers == [3, 4]
    assert verify(folder).damages == []
    assert_tidy(place.store)
    again = pruned(folder, 2)
    assert (again.removed, again.segments, again.bytes) == ([], 0, 0)


def test_a_segment_that_a_kept_generation_uses_too_stays_with_its_bitmap(
    place: Place, folder: CollectionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "HOLLOW", 1)
    publish(place, 1)
    place.run(rows(1)[:3])
    first, second = generations.read(folder, 1), generations.read(folder, 2)
    assert first.segments == second.segments
    assert second.deleted
    assert pruned(folder, 1).removed == [1]
    assert verify(folder).damages == []
    assert_holds(place, rows(1)[:3])
    place.run(rows(3))
    assert pruned(folder, 1).segments == 1
    assert not (folder.generations / "000002").exists()
    assert_tidy(place.store)


class Reader:
    """A process that reads, see `reader_child`."""

    def __init__(self, store: Path, how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, reader_child.__file__, str(store), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first = self.line()

    def line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.line()


@pytest.fixture
def reader(place: Place, request: pytest.FixtureRequest) -> Iterator[Reader]:
    publish(place, 1)
    reader = Reader(place.store, request.param)
    with reader.process:
        yield reader
        reader.process.kill()


@pytest.mark.parametrize("reader", ["hold"], indirect=True)
def test_a_reader_that_holds_a_generation_answers_exactly_after_it_was_pruned(
    place: Place, folder: CollectionFolder, stand_in: StandIn, reader: Reader
) -> None:
    expected = json.loads(json.dumps(reader_child.told(place.snapshot, stand_in)))
    files = [path for path in folder.segments.rglob("*") if path.is_file()]
    publish(place, 3, first=2)
    assert pruned(folder, 1).removed == [1, 2]
    assert [path for path in files if path.exists()] == []
    for _ in range(2):
        assert reader.ask() == expected
    assert len(expected["items"]) == len(expected["hits"]) == 4
    assert reader_child.told(place.snapshot, stand_in)["generation"] == 3


@pytest.mark.parametrize("reader", ["loop"], indirect=True)
def test_a_reader_that_opens_while_others_publish_and_prune_never_fails(place: Place, reader: Reader) -> None:
    publish(place, 30, first=2, keep_generations=1, keep_days=0)
    answer = reader.ask()
    assert answer["wrong"] == []
    assert answer["opened"] >= len(answer["seen"]) > 1
    assert place.numbers == [30]


def test_a_prune_killed_at_any_step_leaves_a_whole_store_and_the_next_run_removes_the_rest(
    place: Place, folder: CollectionFolder, stand_in: StandIn, runs: Runs, tmp_path: Path
) -> None:
    publish(place, 3)
    place.run([*rows(3)[:3], {**rows(3)[3], "n": 40}])
    before, current = tmp_path / "before", [*rows(3)[:3], {**rows(3)[3], "n": 40}]
    shutil.copytree(place.store, before)
    steps = runs.run(place, 0, verb="prune")
    assert steps is not None
    assert {"fsync", "rmdir", "unlink"} <= set(steps)
    assert place.numbers == [4]
    for kill in range(1, len(steps) + 1):
        where = f"killed before step {kill}, {steps[kill - 1]}"
        shutil.rmtree(place.store)
        shutil.copytree(before, place.store)
        assert runs.run(place, kill, verb="prune") is None, where
        assert place.numbers[-1] == 4, where
        assert verify(folder).damages == [], where
        assert_holds(place, current)
        assert not place.run().published, where
        assert_tidy(place.store)
        assert verify(folder).damages == [], where


def assert_holds(place: Place, items: list[dict[str, Any]]) -> None:
    """The current generation is of exactly these rows."""
    found = reader_child.told(place.snapshot, StandIn())["items"]
    assert found == {row["id"]: [row["text"], {"made_for": row["made_for"], "n": row["n"]}] for row in items}


def test_no_segment_goes_while_a_manifest_cannot_be_read_and_they_go_once_it_is_mended(
    place: Place, folder: CollectionFolder, caplog: pytest.LogCaptureFixture
) -> None:
    publish(place, 4)
    damaged = generations.manifest_path(folder, 2)
    before = storage.file_names(folder.segments)
    flip(damaged, 100)
    done = pruned(folder, 1)
    assert (done.removed, done.segments, done.bytes) == ([1, 3], 0, 0)
    assert place.numbers == [2, 4]
    assert storage.file_names(folder.segments) == before
    assert str(damaged) in caplog.text
    assert_holds(place, rows(4))
    flip(damaged, 100)
    assert verify(folder).damages == []
    assert pruned(folder, 2).segments == 2
    assert_tidy(place.store)
    assert verify(folder).damages == []


def test_the_newest_generation_that_can_be_opened_stays_however_old(place: Place, folder: CollectionFolder) -> None:
    publish(place, 4)
    (segment,) = generations.read(folder, 4).segments
    (folder.segments / segment.id / "items.arrow").unlink()
    flip(generations.manifest_path(folder, 3), 100)
    assert pruned(folder, 1).removed == [1]
    assert place.numbers == [2, 3, 4]
    assert_holds(place, rows(2))


def test_nothing_goes_while_no_generation_can_be_opened(
    place: Place, folder: CollectionFolder, caplog: pytest.LogCaptureFixture
) -> None:
    publish(place, 3)
    for path in folder.segments.glob("*/ann.faiss"):
        path.unlink()
    before = storage.file_names(folder.segments)
    done = pruned(folder, 1)
    assert (done.removed, done.segments) == ([], 0)
    assert "no generation is removed while none can be opened" in caplog.text
    assert storage.file_names(folder.segments) == before


def test_what_is_not_a_segment_or_a_generation_is_left_alone(place: Place, folder: CollectionFolder) -> None:
    publish(place, 2)
    strange = [folder.segments / "notes.txt", folder.generations / "README", folder.generations / "000001.json.bak"]
    for path in strange:
        path.write_text("mine", encoding="utf-8")
    assert pruned(folder, 1).removed == [1]
    assert all(path.read_text(encoding="utf-8") == "mine" for path in strange)


def test_every_run_prunes_by_the_settings_of_its_collection_even_one_with_nothing_to_do(place: Place) -> None:
    publish(place, 4, keep_generations=2, keep_days=1)
    assert place.numbers == [1, 2, 3, 4]
    assert not place.run(keep_generations=3, keep_days=0).published
    assert place.numbers == [2, 3, 4]
    publish(place, 6, first=5, keep_generations=2, keep_days=0)
    assert place.numbers == [5, 6]
    with pytest.raises(BrakeRefused):
        place.run([], max_shrink=0.2, keep_generations=1, keep_days=0)
    assert place.numbers == [5, 6]
    assert_tidy_but_for_the_list(place)


def assert_tidy_but_for_the_list(place: Place) -> None:
    (place.store / "collections" / NAME / "vanishing.jsonl").unlink()
    assert_tidy(place.store)


def test_who_does_not_hold_the_lock_prunes_nothing(place: Place, folder: CollectionFolder) -> None:
    publish(place, 2)
    before = storage.file_names(folder.segments)
    with storage.lock(folder):
        pass
    with pytest.raises(CollectionLocked):
        prune(folder, 2, timedelta(0))
    assert storage.file_names(folder.segments) == before
