"""Does pruning remove what it should, and nothing else, whatever happens to it?"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pruning import five_generations, folder, pruned, rows
from support import Place, Runs, StandIn, assert_tidy, assert_whole, flip

from indexer import generation as generations
from indexer import intake, prune
from indexer.generation import Generation
from indexer.prune import Pruned
from indexer.snapshot import open_generation
from indexer.storage import CollectionFolder, lock
from service.cli import main


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return five_generations(tmp_path)


def test_pruning_removes_the_generations_and_what_only_they_used(place: Place, stand_in: StandIn) -> None:
    before = {number: open_generation(folder(place), number).generation for number in place.numbers}
    planned = pruned(place, 2, dry_run=True)
    assert planned.removed == [1, 2, 3]
    assert (planned.segments, planned.bytes) == (0, 0)
    assert place.numbers == [1, 2, 3, 4, 5]
    done = pruned(place, 2)
    assert done.generations == planned.generations
    assert place.numbers == [4, 5]
    used = {entry.id for number in (4, 5) for entry in before[number].segments}
    gone = {entry.id: entry for each in before.values() for entry in each.segments if entry.id not in used}
    assert (done.segments, done.bytes) == (len(gone), sum(entry.bytes for entry in gone.values()))
    assert_tidy(place.store)
    assert_whole(place.store, rows(5), stand_in)
    assert pruned(place, 2) == Pruned(done.generations[3:], 0, 0)
    assert pruned(place).removed == [4]


def test_a_segment_that_a_kept_generation_shares_stays(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "plan_merge", lambda *sizes: [])
    place = Place(tmp_path)
    place.run(rows(1))
    for number in range(2, 5):
        place.run([*rows(1)[number:], *rows(number, number)])
    assert {path.name[:6] for path in folder(place).segments.iterdir()} == {"000001", "000002", "000003", "000004"}
    assert pruned(place).removed == [1, 2, 3]
    assert {path.name[:6] for path in folder(place).segments.iterdir()} == {"000001", "000004"}
    assert_whole(place.store, [*rows(1)[4:], *rows(4, 4)], stand_in)
    assert_tidy(place.store)


def test_young_generations_stay(place: Place) -> None:
    assert pruned(place, 1, days=1).removed == []
    assert {verdict.reason for verdict in pruned(place, 1, days=1).generations[:-1]} == {"it is younger than 1 day"}


@pytest.mark.parametrize("changed", [True, False])
def test_every_run_prunes_by_the_settings_of_its_collection(place: Place, changed: bool) -> None:
    place.run(rows(5), keep_generations=1, keep_days=1)
    assert place.numbers == [1, 2, 3, 4, 5]
    report = place.run(rows(6) if changed else rows(5), keep_generations=3, keep_days=0)
    assert report.published == changed
    assert place.numbers == ([4, 5, 6] if changed else [3, 4, 5])
    assert_tidy(place.store)


def test_a_run_that_is_refused_prunes_nothing(place: Place) -> None:
    with pytest.raises(Exception, match="Nothing was published"):
        place.run([], keep_generations=1, keep_days=0, max_shrink=0.2)
    assert place.numbers == [1, 2, 3, 4, 5]


def test_a_manifest_that_cannot_be_read_is_kept_and_stops_the_removal_of_segments(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    segments = sorted(path.name for path in folder(place).segments.iterdir())
    path = folder(place).generations / "000002.json"
    whole = path.read_bytes()
    flip(path, 300)
    with caplog.at_level(logging.WARNING, "parecido"):
        done = pruned(place)
    (warning,) = caplog.messages
    assert warning.startswith(
        f"collection things: no segment is removed while a manifest cannot be read: The manifest {str(path)!r}"
    )
    assert done.removed == [1, 3, 4]
    assert (done.segments, place.numbers) == (0, [2, 5])
    assert sorted(path.name for path in folder(place).segments.iterdir()) == segments
    path.write_bytes(whole)
    assert open_generation(folder(place), 2).generation.number == 2
    assert pruned(place).removed == [2]
    assert_tidy(place.store)


def test_the_generation_that_is_answered_from_is_kept_while_newer_ones_are_damaged(
    place: Place, stand_in: StandIn
) -> None:
    for number in (4, 5):
        for segment in folder(place).segments.glob(f"{number:06d}-*"):
            (segment / "vectors.f32").unlink()
    assert place.snapshot.generation.number == 3
    done = pruned(place)
    assert done.removed == [1, 2, 4]
    assert done.generations[2].reason == "it is the newest that can be opened"
    assert place.numbers == [3, 5]
    assert_whole(place.store, rows(3), stand_in)


def test_nothing_is_removed_while_no_generation_can_be_opened(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    for path in folder(place).segments.glob("*/ann.faiss"):
        path.unlink()
    files = sorted(folder(place).path.rglob("*"))
    done = pruned(place)
    assert done.removed == []
    assert {verdict.reason for verdict in done.generations} == {"none can be opened, and it may be of use to mend one"}
    assert any("no generation is removed while none can be opened" in message for message in caplog.messages)
    assert {path for path in files if path.name != "lock"} <= set(folder(place).path.rglob("*"))


def test_what_is_not_ours_stays(place: Place) -> None:
    theirs = [folder(place).segments / "lost+found", folder(place).segments / "notes.txt"]
    theirs[0].mkdir()
    theirs[1].touch()
    pruned(place)
    place.run(rows(6))
    assert all(path.exists() for path in theirs)


def test_leftovers_of_a_killed_run_go_without_a_look_at_the_manifests(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments, published = folder(place).segments, folder(place).generations
    for name in ("000006-0123abcd", "001000-0123abcd"):
        shutil.copytree(next(segments.iterdir()), segments / name)
    (published / "000006").mkdir()
    (published / "000006" / "x.deleted").touch()
    (folder(place).runs / "0123abcd").mkdir()

    def unread(folder: CollectionFolder, number: int) -> Generation:
        raise AssertionError("a manifest was read")

    with monkeypatch.context() as patch, lock(folder(place)):
        patch.setattr(generations, "read", unread)
        prune.remove_leftovers(folder(place))
    assert place.numbers == [1, 2, 3, 4, 5]
    assert_tidy(place.store)


def test_a_prune_that_is_killed_at_any_step_leaves_whole_generations_and_the_next_one_ends_it(
    place: Place, stand_in: StandIn, runs: Runs, tmp_path: Path
) -> None:
    pruned(place, 3)
    shutil.copytree(place.store, tmp_path / "before")
    steps = runs.run(place, 0, verb="prune")
    assert steps is not None
    assert {"fsync", "rmdir", "unlink"} <= set(steps)
    for kill in range(1, len(steps) + 1):
        where = f"killed before step {kill}, {steps[kill - 1]}"
        shutil.rmtree(place.store)
        shutil.copytree(tmp_path / "before", place.store)
        assert runs.run(place, kill, verb="prune") is None, where
        assert place.numbers in ([3, 4, 5], [4, 5], [5]), where
        for number in place.numbers:
            assert open_generation(folder(place), number).generation.number == number, where
        assert_whole(place.store, rows(5), stand_in)
        if kill % 3:
            pruned(place)
        else:
            place.run(rows(5), keep_generations=1, keep_days=0)
        assert place.numbers == [5]
        assert_tidy(place.store)


CONFIG = """
store = "store"
[collections.things]
source = "things-rows.jsonl"
keep_generations = 2
keep_days = 0
"""


@pytest.fixture
def run(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command beside the store, and expects an exit code."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == code, result.output
        return result

    monkeypatch.chdir(place.store.parent)
    monkeypatch.setenv("PARECIDO_STORE", "store")
    return run


def test_a_person_is_told_what_would_go_and_what_went(place: Place, run: Callable[..., Result]) -> None:
    why = "it is older than 0 days and not one of the last 3"
    said = run("prune", "--keep", "3", "--days", "0", "--dry-run").stdout
    assert said == (f"things: 2 generations would be removed, 3 kept\n  generation 1: {why}\n  generation 2: {why}\n")
    assert place.numbers == [1, 2, 3, 4, 5]
    first, *reasons = run("prune", "things", "--keep", "3", "--days", "0").stdout.splitlines()
    assert first == "things: 2 generations removed, 2 segments, 0.0 MB, 3 kept"
    assert reasons == said.splitlines()[1:]
    assert run("prune", "things", "--keep", "3", "--days", "0").stdout == "things: all 3 generations are kept\n"
    said = run("prune", "--keep", "2", "--days", "0").stdout
    assert said.startswith("things: 1 generation removed, 1 segment, 0.0 MB, 2 kept\n")
    run("prune", "--keep", "1", "--days", "0")
    assert run("prune").stdout == "things: its one generation is kept\n"


def test_the_policy_is_that_of_the_collection_unless_another_is_given(place: Place, run: Callable[..., Result]) -> None:
    assert run("prune").stdout == "things: all 5 generations are kept\n"
    (place.store.parent / "parecido.toml").write_text(CONFIG)
    assert run("prune", "--days", "1").stdout == "things: all 5 generations are kept\n"
    assert run("prune", "--keep", "4").stdout.startswith("things: 1 generation removed")
    assert run("prune").stdout.startswith("things: 2 generations removed")
    assert place.numbers == [4, 5]


def test_a_program_is_told_everything(place: Place, run: Callable[..., Result]) -> None:
    done = json.loads(run("prune", "--keep", "1", "--days", "0", "--json").stdout)
    assert (done["collection"], done["dry_run"], done["pruned"]["segments"]) == ("things", False, 4)
    assert done["pruned"]["bytes"] > 0
    assert [(one["number"], one["keep"]) for one in done["pruned"]["generations"]] == [
        (1, False), (2, False), (3, False), (4, False), (5, True),
    ]  # fmt: skip


def test_a_mistake_is_told_in_a_sentence(place: Place, run: Callable[..., Result]) -> None:
    assert "There is no collection 'nobody' in 'store'; there is things." in run("prune", "nobody", code=2).stderr
    assert "0 is not in the range x>=1" in run("prune", "--keep", "0", code=2).stderr
    with lock(folder(place)):
        assert "is being indexed by" in run("prune", code=5).stderr
