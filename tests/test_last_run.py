"""Can one read in the morning how the last run over a collection ended, however it did?"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from support import NAME, Place, Runs, StandIn, contents, write_rows

from indexer import build, last_run, storage
from indexer.answers import LastRun
from indexer.errors import BrakeRefused, CollectionLocked, OnHold, ParecidoError, SourceError, StorageError
from indexer.models import cache
from indexer.report import Report
from indexer.rollback import rollback
from indexer.storage import collection_folder, lock
from service.cli import main

ROWS = [{"id": f"i{n}", "text": f"This is text {n}.", "n": n} for n in range(4)]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    place = Place(tmp_path)
    write_rows(place.source, ROWS)
    return place


def last(place: Place) -> LastRun:
    """How the last run ended."""
    run = last_run.read(collection_folder(place.store, NAME))
    assert run is not None
    return run


def plain(report: Report) -> Any:
    """A report as JSON has it."""
    return orjson.loads(orjson.dumps(report))


def ended_with(place: Place, error: ParecidoError) -> None:
    """The last run left no report, and this error."""
    run = last(place)
    assert (run["report"], run["error"]) == (None, error.to_json())


def test_before_the_first_run_there_is_none(place: Place) -> None:
    assert last_run.read(collection_folder(place.store, NAME)) is None


def test_a_run_leaves_its_report_whether_it_published_or_had_nothing_to_do(place: Place) -> None:
    before = datetime.now(UTC)
    for published in (True, False):
        report = place.run()
        assert report.published == published
        run = last(place)
        assert run["error"] is None
        assert run["report"] == plain(report)
        started, ended = (datetime.fromisoformat(str(run[key])) for key in ("started_at", "ended_at"))  # type: ignore[literal-required]
        assert before <= started <= ended <= datetime.now(UTC)
        before = ended


def refused(place: Place) -> type[ParecidoError]:
    write_rows(place.source, ROWS[:1])
    return BrakeRefused


def without_a_source(place: Place) -> type[ParecidoError]:
    place.source.unlink()
    return SourceError


def on_hold(place: Place) -> type[ParecidoError]:
    place.run(ROWS[:-1])
    rollback(place.store, NAME)
    return OnHold


@pytest.mark.parametrize("harm", [refused, without_a_source, on_hold])
def test_a_run_that_is_refused_or_fails_leaves_its_error_and_the_next_good_one_takes_its_place(
    place: Place, harm: Callable[[Place], type[ParecidoError]]
) -> None:
    place.run()
    expected = harm(place)
    with pytest.raises(expected) as caught:
        place.run(max_shrink=0.2)
    ended_with(place, caught.value)
    write_rows(place.source, ROWS)
    if expected is not OnHold:
        place.run()
        assert last(place)["error"] is None


def test_a_first_run_that_fails_leaves_its_error(place: Place) -> None:
    place.source.unlink()
    with pytest.raises(SourceError) as caught:
        place.run()
    ended_with(place, caught.value)


def test_an_error_that_nobody_foresaw_is_written_down_with_its_name(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(build, "take_in", broken)
    with pytest.raises(ZeroDivisionError):
        place.run()
    run = last(place)
    assert run["error"] is not None
    assert (run["error"]["message"], run["error"]["code"]) == ("ZeroDivisionError: division by zero", "internal_error")


@pytest.mark.parametrize("signal", [SystemExit(143), KeyboardInterrupt()], ids=["SIGTERM", "Ctrl-C"])
def test_a_run_that_is_asked_to_end_says_so_unless_it_was_done(
    place: Place, monkeypatch: pytest.MonkeyPatch, signal: BaseException
) -> None:
    def asked(*arguments: Any) -> Any:
        raise signal

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_segments", asked)
        with pytest.raises(type(signal)):
            place.run()
    run = last(place)
    assert run["report"] is None
    assert run["error"] is not None
    assert run["error"]["message"] == "The run was asked to end before it was done: run it again."
    with monkeypatch.context() as patch:
        patch.setattr(build, "prune", asked)
        with pytest.raises(type(signal)):
            place.run()
    run = last(place)
    assert run["error"] is None
    assert run["report"] is not None
    assert (run["report"]["published"], place.numbers) == (True, [1])


def test_a_disk_that_refuses_to_tidy_up_fails_no_run(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(*arguments: Any) -> Any:
        raise StorageError("Cannot remove 'x': the disk is read-only.")

    for owner, name in ((build, "prune"), (cache.EmbeddingCache, "evict")):
        caplog.clear()
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, refusing)
            report = place.run([*ROWS, {"id": name, "text": "Another text."}])
        assert report.published
        assert last(place)["report"] == plain(report)
        assert caplog.messages == [
            "collection things: what is not needed any more stays for now: Cannot remove 'x': the disk is read-only."
        ]


def test_a_run_that_finds_another_at_work_and_one_that_is_killed_leave_what_the_one_before_wrote(
    place: Place, runs: Runs
) -> None:
    place.run()
    before = last(place)
    with lock(collection_folder(place.store, NAME)), pytest.raises(CollectionLocked):
        place.run()
    assert last(place) == before
    write_rows(place.source, ROWS[:-1])
    assert runs.run(place, 60) is None
    assert last(place) == before


def test_a_disk_that_refuses_even_this_is_a_warning_and_changes_no_end(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace = os.replace

    def refusing(source: Any, target: Any) -> None:
        if Path(target).name == last_run.FILE:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    with caplog.at_level(logging.WARNING, "parecido"):
        assert place.run().published
        place.source.unlink()
        with pytest.raises(SourceError):
            place.run()
    assert len(caplog.messages) == 2
    for message in caplog.messages:
        assert message.startswith("how the run over things ended could not be written down: ")
        assert "the disk is full: make room and run it again" in message
    assert len(contents(place.store)) == 4


@pytest.fixture
def run(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Runs a command on the store, and expects an exit code."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--store", str(place.store)])
        assert result.exit_code == code, result.output
        return result

    monkeypatch.chdir(place.store.parent)
    return run


def test_status_tells_how_the_last_run_ended(place: Place, run: Callable[..., Result]) -> None:
    index = ("index", str(place.source), "--collection", NAME)
    run(*index)
    second = run("status").stdout.splitlines()[1]
    assert second.startswith("  last run 20")
    assert " UTC: nothing was published before, 4 added, 0 changed, 0 deleted; 4 passages of " in second
    write_rows(place.source, [])
    run(*index, code=6)
    first, second = run("status", code=1).stdout.splitlines()
    assert first.startswith("things: generation 1, 4 items, ")
    assert "published nothing: Nothing was published: the run would remove 4 of 4 items" in second
    (one,) = json.loads(run("status", "--json", code=1).stdout)["collections"]
    assert (one["current"]["generation"], one["last_run"]["error"]["code"]) == (1, "brake")
    run(*index, "--allow-shrink")
    assert "the source changed, 0 added, 0 changed, 4 deleted" in run("status").stdout


def test_status_names_a_collection_whose_first_run_failed(place: Place, run: Callable[..., Result]) -> None:
    place.source.unlink()
    run("index", str(place.source), "--collection", NAME, code=4)
    first, second = run("status", code=1).stdout.splitlines()
    assert first == "things: nothing that can be served"
    assert str(place.source) in second


def test_a_note_that_cannot_be_made_out_is_named_and_replaced_by_the_next_run(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.run()
    folder = collection_folder(place.store, NAME)
    for damage in (b"", b"{}", b"[1]", b'{"sha256": "0", "run": {}}'):
        (folder.path / last_run.FILE).write_bytes(damage)
        caplog.clear()
        assert last_run.read(folder) is None
        (message,) = caplog.messages
        assert repr(str(folder.path / last_run.FILE)) in message
    assert storage.size(folder.path / last_run.FILE)
    place.run()
    assert last(place)["error"] is None
