"""Does a dry run say what the run then does, and leave everything as it was?"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from service_support import Run
from support import NAME, Place, Silent, StandIn, settings_for, write_rows

from indexer import models, printing
from indexer.config import CollectionSettings
from indexer.errors import SourceError
from indexer.estimate import Estimate, estimate
from indexer.rollback import rollback

pytest_plugins = ["service_fixtures"]

OLD = [{"id": f"{i}", "text": f"This is text {i}.", "n": i} for i in range(10)]
NEW = [
    *OLD[:6],
    {**OLD[6], "n": 60},
    {**OLD[7], "text": "This text is another one now."},
    {"id": "new", "text": "A text that was not there before.", "n": 7},
    {"id": "renamed", "text": OLD[9]["text"], "n": 9},
    {"id": "blank", "text": ""},
]


ONE = [{"id": "one", "text": "A text alone."}]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return Place(tmp_path)


def ask(place: Place, rebuild: bool = False, **settings: Any) -> Estimate:
    return estimate(place.store, NAME, settings_for(place.source, **settings), Silent(), rebuild)


def files(store: Path) -> dict[str, bytes]:
    """Every file of the store but who held the lock last and what was rejected, which a dry run may tell anew."""
    passed_over = {"lock", "rejects.jsonl"}
    found = {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name not in passed_over and not path.name.startswith("embeddings.sqlite")
    }
    with contextlib.closing(sqlite3.connect(store / "embeddings.sqlite")) as cache:
        return {**found, "embeddings.sqlite": "\n".join(cache.iterdump()).encode()}


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_dry_run_says_what_the_run_then_does_and_changes_nothing(place: Place, rebuild: bool) -> None:
    place.run(OLD)
    write_rows(place.source, NEW)
    before = files(place.store)
    told = ask(place, rebuild)
    assert files(place.store) == before
    assert place.numbers == [1]
    report = place.run(rebuild=rebuild)
    assert (told.collection, told.generation, told.publishes, told.model) == (NAME, 1, True, "stand-in")
    assert told.items == report.items
    assert (report.items.added, report.items.changed, report.items.deleted, report.items.rejected) == (2, 2, 2, 1)
    assert told.merged == report.segments.merged
    assert bool(told.merged) == (not rebuild)
    assert told.reason == report.reason
    assert (told.to_embed, told.cached, told.tokens) == (2, report.passages.cached, report.passages.tokens)
    assert told.characters == report.passages.characters
    assert report.passages.embedded == 2


def test_before_the_first_run_all_is_new_and_the_time_is_told_from_texts_that_were_tried(place: Place) -> None:
    write_rows(place.source, OLD)
    told = ask(place)
    assert (told.generation, told.publishes, told.items.added) == (None, True, 10)
    assert told.characters == sum(len(row["text"]) for row in OLD)
    assert told.basis == "10 texts that were tried"
    assert place.numbers == []
    assert not (place.store / "embeddings.sqlite").exists()


def test_the_time_is_told_from_the_last_run_that_embedded(place: Place) -> None:
    place.run(OLD)
    place.run(OLD[1:])
    write_rows(place.source, NEW)
    assert ask(place).basis == "the run that made generation 1"


def test_the_sentence_says_what_the_time_is_told_from_or_that_nothing_is_to_be_embedded(place: Place) -> None:
    write_rows(place.source, ONE)
    assert printing.estimate(ask(place)).endswith(" s, told from 1 text that was tried")
    place.run()
    assert printing.estimate(ask(place)).endswith(" s, as nothing is to be embedded")
    write_rows(place.source, NEW)
    assert " s, told from the run that made generation 1\n" in printing.estimate(ask(place))


def test_tokens_are_those_of_the_report_also_where_a_prompt_is_put_before_each_text(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompted = replace(StandIn.fingerprint, document_prompt="passage: ")
    monkeypatch.setattr(StandIn, "fingerprint", prompted)
    monkeypatch.setattr(models, "identify", lambda *_: prompted)
    write_rows(place.source, NEW)
    told = ask(place)
    assert 0 < told.tokens == place.run().passages.tokens
    assert f" cached; {told.tokens} tokens, " in printing.estimate(told)


def test_a_run_that_would_change_nothing_be_refused_or_held_is_told_so(place: Place) -> None:
    place.run(OLD)
    told = ask(place)
    assert (told.publishes, told.reason, told.items.unchanged, told.characters) == (False, "nothing changed", 10, 0)
    write_rows(place.source, OLD[:5])
    refused = ask(place, max_shrink=0.2)
    assert not refused.publishes
    assert "the run would remove 5 of 10 items (50.0%, and max_shrink is 20%)" in refused.reason
    place.run(OLD[:9])
    rollback(place.store, NAME)
    held = ask(place)
    assert (held.publishes, held.reason) == (False, "the collection is on hold after a rollback")
    place.source.unlink()
    with pytest.raises(SourceError):
        ask(place)


def test_the_command_prints_it_and_leaves_with_0(run: Run, here: Path) -> None:
    text = run("index", "few.jsonl", "--collection", "few", "--dry-run").stdout
    assert "few: would publish (nothing was published before); 2 added, 0 changed, 0 deleted, 0 unchanged" in text
    assert "2 of 2 passages to embed, " in text
    assert " s, told from 2 texts that were tried\n" in text
    assert "No collection is published" in run("status").stdout
    assert CollectionSettings.model_fields["max_shrink"].default == 0.2
