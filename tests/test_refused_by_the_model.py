"""What becomes of an item whose text the model refuses?

It goes to the rejects list with the model's own words, its published version stays, and the others go through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import Place, StandIn, assert_tidy, contents, found

from indexer import merge, models
from indexer.errors import BrakeRefused
from indexer.models import Allows, Embedded, Fingerprint, whatever_it_costs
from indexer.report import ItemCounts
from indexer.snapshot import verify

WORDS = "Invalid 'input': we do not like poison."


class Fastidious(StandIn):
    """Refuses what has poison in it."""

    def embed_stream(self, texts: Sequence[str], allows: Allows = whatever_it_costs) -> Iterator[Embedded]:
        for row, text in enumerate(texts):
            if "poison" in text:
                yield Embedded([row], None, WORDS)
            else:
                yield Embedded([row], self.embed_documents([text]))


class Another(Fastidious):
    """The same in another space."""

    fingerprint = Fingerprint("test", "another", "0", 16, "", "", "hash", normalised=True)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Fastidious:
    made = Fastidious()
    monkeypatch.setattr(models, "identify", lambda *_: made.fingerprint)
    monkeypatch.setattr(models, "load", lambda *_: made)
    return made


@pytest.fixture
def refusing_place(tmp_path: Path, model: Fastidious) -> Place:
    return Place(tmp_path)


def row(id: str, text: str) -> dict[str, Any]:
    return {"id": id, "text": text}


GOOD = [row(f"{i}", f"This is text {i}.") for i in range(6)]
LONG = "Apples and pears are fruit, and so are plums. " * 20


def test_it_is_rejected_with_the_models_words_and_the_others_go_through(
    refusing_place: Place, model: Fastidious
) -> None:
    place = refusing_place
    report = place.run([*GOOD[:3], row("bad", f"{LONG} poison"), *GOOD[3:]])
    assert report.published
    assert report.items == ItemCounts(added=6, changed=0, unchanged=0, deleted=0, rejected=1, held=0)
    assert report.passages.embedded + report.passages.cached >= report.passages.total == 6
    assert place.rejects() == [{"file": str(place.source), "line": 4, "id": "bad", "reason": WORDS}]
    assert contents(place.store) == {each["id"]: (each["text"], {}) for each in GOOD}


def test_rows_that_were_bad_already_are_listed_with_those_that_the_model_refuses(refusing_place: Place) -> None:
    report = refusing_place.run([*GOOD, row("blank", ""), row("bad", "poison")])
    assert report.items.rejected == 2
    assert [each["id"] for each in refusing_place.rejects()] == ["blank", "bad"]


@pytest.mark.parametrize("hollow", [0.125, 1.0])
@pytest.mark.parametrize("store_text", [True, False])
def test_the_published_version_of_a_refused_item_stays_and_answers(
    refusing_place: Place, model: Fastidious, monkeypatch: pytest.MonkeyPatch, hollow: float, store_text: bool
) -> None:
    place = refusing_place
    monkeypatch.setattr(merge, "HOLLOW", hollow)
    place.run(GOOD, store_text=store_text)
    before = found(place, model, "This is text 2.", limit=1)
    edited = [GOOD[0], row("1", "Another text."), row("2", "Now with poison."), *GOOD[3:5]]
    report = place.run(edited, store_text=store_text)
    assert report.published
    assert report.items == ItemCounts(added=0, changed=1, unchanged=3, deleted=1, rejected=1, held=0)
    kept = {"0": "This is text 0.", "1": "Another text.", "2": "This is text 2.", "3": "This is text 3."}
    kept["4"] = "This is text 4."
    assert contents(place.store) == {id: (text if store_text else None, {}) for id, text in kept.items()}
    assert found(place, model, "This is text 2.", limit=1) == before == [("2", 1.0)]
    assert [hit for hit, _ in found(place, model, "anything", limit=10)].count("2") == 1
    verify(place.snapshot)


def test_a_run_in_which_all_that_is_new_is_refused_publishes_nothing_and_the_next_tries_again(
    refusing_place: Place,
) -> None:
    place = refusing_place
    place.run(GOOD)
    edited = [row("0", "poison"), *GOOD[1:], row("new", "more poison")]
    for _ in range(2):
        report = place.run(edited)
        assert (report.published, report.generation) == (False, 1)
        assert report.reason == "nothing changed but what the model refuses"
        assert report.items == ItemCounts(added=0, changed=0, unchanged=5, deleted=0, rejected=2, held=0)
        assert len(place.rejects()) == 2
    assert_tidy(place.store)
    place.run([row("0", "mended"), *GOOD[1:], row("new", "mended too")])
    assert contents(place.store)["0"] == ("mended", {})
    assert contents(place.store)["new"] == ("mended too", {})


def test_with_a_deletion_only_the_refused_item_still_stays(refusing_place: Place) -> None:
    place = refusing_place
    place.run(GOOD)
    assert place.run([row("0", "poison"), *GOOD[1:5]]).items.deleted == 1
    assert sorted(contents(place.store)) == ["0", "1", "2", "3", "4"]
    assert contents(place.store)["0"] == ("This is text 0.", {})


def test_a_rebuild_leaves_out_what_the_new_model_refuses_unless_that_is_too_much(
    refusing_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = refusing_place
    place.run(GOOD)
    another = Another()
    monkeypatch.setattr(models, "identify", lambda *_: another.fingerprint)
    monkeypatch.setattr(models, "load", lambda *_: another)
    edited = [row("0", "poison"), *GOOD[1:]]
    with pytest.raises(BrakeRefused, match=r"with what the model refuses, the run would remove 1 of 6 items.*'0'"):
        place.run(edited, max_shrink=0.1)
    assert place.numbers == [1]
    assert place.rejects()[0]["reason"] == WORDS
    report = place.run(edited)
    assert report.items == ItemCounts(added=0, changed=0, unchanged=5, deleted=0, rejected=1, held=0)
    assert sorted(contents(place.store)) == ["1", "2", "3", "4", "5"]


def test_where_the_model_refuses_too_much_nothing_is_published(refusing_place: Place) -> None:
    place = refusing_place
    rows = [*GOOD[:2], *(row(f"bad {i}", f"poison {i}") for i in range(3))]
    with pytest.raises(BrakeRefused, match="3 of the source's 5 rows were rejected"):
        place.run(rows, max_rejects=0.5)
    assert place.numbers == []
    assert len(place.rejects()) == 3
