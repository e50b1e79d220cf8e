"""Does a run leave word of how it ended, and tell what it did and took?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from support import NAME, Place, Runs, StandIn, flip, write_rows

from indexer import build, last_run, storage
from indexer.errors import BrakeRefused, CollectionLocked, SourceError, StorageError
from indexer.rejects import Rejects
from indexer.report import Report
from indexer.storage import CollectionFolder, collection_folder
from indexer.vectors import Vectors
from service.cli import main

ROWS = [{"id": f"item {i}", "text": f"This is text {i}.", "n": i} for i in range(10)]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return Place(tmp_path)


@pytest.fixture
def folder(place: Place) -> CollectionFolder:
    return collection_folder(place.store, NAME)


def note(folder: CollectionFolder) -> dict[str, Any]:
    """What the last run has left, read without the product, its checksum compared."""
    content = json.loads((folder.path / "last-run.json").read_bytes())
    body = json.dumps(content["run"], separators=(",", ":"), ensure_ascii=False).encode()
    assert hashlib.sha256(body).hexdigest() == content["sha256"]
    run: dict[str, Any] = content["run"]
    assert run == last_run.read(folder)
    return run


def as_json(report: Report) -> dict[str, Any]:
    """A report as a program reads it."""
    told: dict[str, Any] = orjson.loads(orjson.dumps(report))
    return told


def status(place: Place, code: int = 0) -> tuple[dict[str, Any], str]:
    """What `parecido status` tells a program, and a person."""
    told = json.loads(parecido("status", "--json", "--store", str(place.store), code=code).stdout)
    (one,) = told["collections"]
    return one, parecido("status", "--store", str(place.store), code=code).stdout


def parecido(*arguments: str, code: int = 0) -> Result:
    """The command in this process."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def test_a_run_that_published_leaves_its_report(place: Place, folder: CollectionFolder) -> None:
    before = datetime.now(UTC)
    report = place.run(ROWS)
    run = note(folder)
    assert run["error"] is None
    assert run["report"] == as_json(report)
    started, ended = (datetime.fromisoformat(run[key]) for key in ("started_at", "ended_at"))
    assert before <= started <= ended <= datetime.now(UTC)
    told, text = status(place)
    assert told["last_run"] == run
    assert f"last run {started:%Y-%m-%d %H:%M:%S} UTC: nothing was published before, 10 added, 0 changed" in text
    assert f"10 passages of {report.passages.tokens} tokens embedded" in text


def test_a_run_with_nothing_to_do_leaves_its_report_too(place: Place, folder: CollectionFolder) -> None:
    place.run(ROWS)
    report = place.run()
    run = note(folder)
    assert (report.published, run["report"]) == (False, as_json(report))
    told, text = status(place)
    assert told["last_run"] == run
    assert ": nothing changed, 0 added, 0 changed, 0 deleted; 0 passages of 0 tokens embedded" in text


def test_a_refused_run_leaves_its_error_and_status_tells_it_and_fails(place: Place, folder: CollectionFolder) -> None:
    place.run(ROWS)
    with pytest.raises(BrakeRefused) as refused:
        place.run(ROWS[:5], max_shrink=0.2)
    run = note(folder)
    assert (run["report"], run["error"]) == (None, refused.value.to_json())
    assert run["error"]["code"] == "brake"
    told, text = status(place, code=1)
    assert told["last_run"] == run
    assert told["current"]["generation"] == 1
    assert f" published nothing: {refused.value.message}" in text
    place.run(ROWS)
    assert note(folder)["error"] is None
    assert "published nothing" not in status(place)[1]


def test_a_run_whose_source_failed_leaves_its_error_even_where_nothing_is_published(
    place: Place, folder: CollectionFolder
) -> None:
    with pytest.raises(SourceError) as failed:
        place.run()
    run = note(folder)
    assert run["error"] == failed.value.to_json()
    told, text = status(place, code=1)
    assert (told["current"], told["last_run"]) == (None, run)
    assert "things: nothing that can be served" in text
    assert failed.value.message in text


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (RuntimeError("the device went away"), "RuntimeError: the device went away"),
        (MemoryError(), "MemoryError: "),
        (KeyboardInterrupt(), "The run was asked to end before it was done: run it again."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_that_ends_as_nobody_foresaw_leaves_that_too(
    place: Place, folder: CollectionFolder, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, end: Any, message: str
) -> None:
    def ending(texts: Sequence[str]) -> Vectors:
        raise end

    with monkeypatch.context() as patch:
        patch.setattr(stand_in, "embed_documents", ending)
        with pytest.raises(type(end)):
            place.run(ROWS)
    run = note(folder)
    assert (run["report"], run["error"]["message"]) == (None, message)
    assert place.numbers == []
    assert place.run().published
    assert note(folder)["error"] is None


def test_a_run_that_is_locked_out_leaves_no_word_of_itself(place: Place, folder: CollectionFolder) -> None:
    with storage.lock(folder), pytest.raises(CollectionLocked):
        place.run(ROWS)
    assert last_run.read(folder) is None
    assert not (folder.path / "last-run.json").exists()
    place.run()
    before = (folder.path / "last-run.json").read_bytes()
    with storage.lock(folder), pytest.raises(CollectionLocked):
        place.run()
    assert (folder.path / "last-run.json").read_bytes() == before


def test_a_note_that_was_damaged_is_not_believed_and_the_next_run_writes_it_anew(
    place: Place, folder: CollectionFolder, caplog: pytest.LogCaptureFixture
) -> None:
    place.run(ROWS)
    path = folder.path / "last-run.json"
    flip(path, 200)
    told, text = status(place)
    assert told["last_run"] is None
    assert told["current"]["items"] == 10
    assert "last run" not in text
    assert f"how the last run over {NAME} ended is not known: {str(path)!r} is damaged." in caplog.text
    for content in (b"", b"[]", b"{}", b'{"run": 1, "sha256": 2}', b"\xff"):
        path.write_bytes(content)
        assert last_run.read(folder) is None
    place.run()
    assert note(folder)["report"]["generation"] == 1


def test_a_note_that_cannot_be_written_is_a_warning_and_the_run_has_published(
    place: Place, folder: CollectionFolder, caplog: pytest.LogCaptureFixture
) -> None:
    place.run(ROWS)
    (folder.path / "last-run.json").unlink()
    (folder.path / "last-run.json").mkdir()
    assert place.run(ROWS[:9]).published
    assert "could not be written down" in caplog.text
    assert place.numbers == [1, 2]
    (folder.path / "last-run.json").rmdir()
    place.run()
    assert note(folder)["report"]["generation"] == 2
    assert list(folder.runs.iterdir()) == []


def test_a_run_that_fails_after_it_has_published_says_both(
    place: Place, folder: CollectionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any, **named: Any) -> None:
        raise StorageError("The disk has vanished.") from None

    with monkeypatch.context() as patch:
        patch.setattr(Rejects, "__exit__", refused)
        with pytest.raises(StorageError):
            place.run(ROWS)
    run = note(folder)
    assert (run["report"]["published"], run["error"]["message"]) == (True, "The disk has vanished.")
    assert " published, and then failed: The disk has vanished." in status(place, code=1)[1]
    assert not place.run().published
    assert note(folder)["error"] is None


def test_a_run_that_is_killed_leaves_the_word_of_the_one_before(
    place: Place, folder: CollectionFolder, runs: Runs
) -> None:
    place.run(ROWS)
    before = note(folder)
    write_rows(place.source, ROWS[:5])
    assert runs.run(place, 40) is None
    assert note(folder) == before


def test_a_run_that_is_asked_to_end_while_it_tidies_up_has_published_and_says_so(
    place: Place, folder: CollectionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "prune", stopped)
    with pytest.raises(KeyboardInterrupt):
        place.run(ROWS)
    run = note(folder)
    assert (run["error"], run["report"]["generation"], run["report"]["published"]) == (None, 1, True)


def test_the_command_prints_the_report_that_the_note_has(
    place: Place, folder: CollectionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.store.parent)
    source = str(write_rows(place.source, [*ROWS, {"id": "bad"}]))
    arguments = ("index", source, "--collection", NAME, "--store", str(place.store))
    told = json.loads(parecido(*arguments, "--json", code=3).stdout)
    assert told == note(folder)["report"]
    assert (told["collection"], told["generation"], told["published"], told["model"]) == (NAME, 1, True, "stand-in")
    assert ", 1 rejected; 10 passages of " in status(place)[1]
    assert "still current (nothing changed): 0 added" in parecido(*arguments, code=3).stdout
