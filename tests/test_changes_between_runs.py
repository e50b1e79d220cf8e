"""Does a run do what changed in the source, only that, and say so?

Real files, the real model. What a run did is judged by its report, by what the store holds afterwards, and by what
a search finds.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from support import NAME, Place, contents, found, write_rows

from indexer import models
from indexer.errors import CollectionNotFound, SchemaConflict, SourceError
from indexer.models import Model
from indexer.report import ItemCounts, Report
from indexer.snapshot import verify

ROWS = [
    {"id": "cat", "text": "A cat sleeps on the warm windowsill.", "n": 1},
    {"id": "bread", "text": "Knead the dough and bake the bread.", "n": 2},
    {"id": "engine", "text": "The engine of the car needs new oil.", "n": 3},
    {"id": "court", "text": "The judge heard both lawyers.", "n": 4},
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def counts(report: Report) -> tuple[int, int, int, int]:
    items = report.items
    return items.added, items.changed, items.unchanged, items.deleted


def test_a_first_run_publishes_every_item(place: Place, model: Model) -> None:
    report = place.run(ROWS)
    assert report.published
    assert report.generation == 1
    assert report.items == ItemCounts(added=4, changed=0, unchanged=0, deleted=0, rejected=0, held=0)
    assert (report.passages.total, report.passages.embedded, report.passages.cached) == (4, 4, 0)
    assert report.rejects_file is None
    assert contents(place.store) == {row["id"]: (row["text"], {"n": row["n"]}) for row in ROWS}
    assert found(place, model, "a pet dozing in the sun")[0][0] == "cat"
    assert found(place, model, "lawsuit")[0][0] == "court"


def test_a_run_over_an_unchanged_source_publishes_nothing_and_loads_no_model(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run(ROWS)
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("a model was loaded"))
    for rows in (None, ROWS[::-1]):
        report = place.run(rows)
        assert not report.published
        assert (report.generation, report.reason) == (1, "nothing changed")
        assert counts(report) == (0, 0, 4, 0)
        assert (report.passages.total, report.passages.embedded) == (4, 0)
    assert place.numbers == [1]


def test_a_run_that_only_deletes_loads_no_model(place: Place, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run(ROWS)
    before = found(place, model, "dinner")
    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("a model was loaded"))
    report = place.run(ROWS[1:])
    assert counts(report) == (0, 0, 3, 1)
    assert report.passages.total == 3
    assert found(place, model, "dinner") == [hit for hit in before if hit[0] != "cat"]


def test_a_run_says_what_was_added_changed_and_deleted_and_embeds_only_that(place: Place, model: Model) -> None:
    place.run(ROWS)
    before = dict(found(place, model, "cooking at home"))
    cat, bread, engine, _ = ROWS
    new = {"id": "rain", "text": "Rain fell all week.", "n": 5}
    report = place.run([cat, {**bread, "text": "Cut the onions and fry them."}, engine, new])
    assert counts(report) == (1, 1, 2, 1)
    assert (report.passages.total, report.passages.embedded) == (4, 2)
    after = dict(found(place, model, "cooking at home"))
    assert set(after) == {"cat", "bread", "engine", "rain"}
    assert (after["cat"], after["engine"]) == (before["cat"], before["engine"])
    assert contents(place.store)["bread"] == ("Cut the onions and fry them.", {"n": 2})
    verify(place.snapshot)


def test_new_metadata_is_shown_without_embedding_anything(place: Place, model: Model) -> None:
    place.run(ROWS)
    before = found(place, model, "motor")
    report = place.run([{**row, "n": row["n"] * 10, "colour": "red"} for row in ROWS])
    assert counts(report) == (0, 4, 0, 0)
    assert (report.passages.embedded, report.passages.cached) == (0, 4)
    assert contents(place.store) == {r["id"]: (r["text"], {"n": r["n"] * 10, "colour": "red"}) for r in ROWS}
    assert found(place, model, "motor") == before
    assert found(place, model, "motor", filter={"n": {"$gt": 30}, "colour": "red"}) == [
        hit for hit in before if hit[0] == "court"
    ]


def test_equal_texts_are_embedded_once_and_tie_exactly(place: Place, model: Model) -> None:
    report = place.run([{"id": f"i{n}", "text": ROWS[n % 2]["text"]} for n in range(6)])
    assert (report.passages.total, report.passages.embedded, report.passages.cached) == (6, 2, 4)
    hits = found(place, model, "a pet")
    assert [id for id, _ in hits] == ["i0", "i2", "i4", "i1", "i3", "i5"]
    assert len({similarity for _, similarity in hits}) == 2


def test_an_item_that_was_deleted_can_come_back(place: Place) -> None:
    place.run(ROWS)
    place.run(ROWS[1:])
    assert counts(place.run(ROWS)) == (1, 0, 3, 0)
    assert set(contents(place.store)) == {row["id"] for row in ROWS}


def test_a_source_that_is_empty_by_now_leaves_a_collection_without_items(place: Place, model: Model) -> None:
    place.run(ROWS)
    assert counts(place.run([])) == (0, 0, 0, 4)
    assert found(place, model, "anything") == []
    assert counts(place.run(ROWS)) == (4, 0, 0, 0)


def test_of_two_rows_with_one_id_the_first_counts_and_the_reject_names_both(place: Place) -> None:
    report = place.run([ROWS[0], ROWS[1], {**ROWS[0], "text": "Something else."}])
    assert counts(report) == (2, 0, 0, 0)
    assert report.items.rejected == 1
    assert contents(place.store)["cat"][0] == ROWS[0]["text"]
    name = str(place.source)
    assert place.rejects() == [
        {"file": name, "line": 3, "id": "cat", "reason": f"id 'cat' comes twice; first in {name}, line 1"}
    ]
    again = place.run()
    assert (counts(again), again.published, again.items.rejected) == ((0, 0, 2, 0), False, 1)


def test_a_rejected_row_with_a_known_id_keeps_the_old_version(place: Place) -> None:
    place.run(ROWS)
    report = place.run([{"id": "cat", "text": ""}, *ROWS[1:3], {"id": "new", "text": " "}])
    assert (counts(report), report.items.rejected, report.items.held) == ((0, 0, 2, 1), 2, 0)
    assert set(contents(place.store)) == {"cat", "bread", "engine"}
    assert contents(place.store)["cat"] == (ROWS[0]["text"], {"n": 1})


def test_a_valid_row_counts_before_a_rejected_one_of_the_same_id(place: Place) -> None:
    place.run(ROWS)
    report = place.run([{"id": "cat", "text": ""}, {**ROWS[0], "n": 9}, *ROWS[1:]])
    assert (counts(report), report.items.rejected) == ((0, 1, 3, 0), 1)
    assert contents(place.store)["cat"][1] == {"n": 9}


def test_a_row_without_a_readable_id_holds_deletions_back_until_they_are_allowed(place: Place) -> None:
    place.run(ROWS)
    write_rows(place.source, ROWS[:2])
    place.append('{"id": ')
    report = place.run()
    assert (counts(report), report.items.rejected, report.items.held) == ((0, 0, 2, 0), 1, 2)
    assert not report.published
    assert len(contents(place.store)) == 4
    report = place.run(allow_unread_deletions=True)
    assert (counts(report), report.items.held, report.published) == ((0, 0, 2, 2), 0, True)
    assert set(contents(place.store)) == {"cat", "bread"}


def test_the_list_of_rejects_says_what_was_where_and_goes_with_the_next_clean_run(place: Place) -> None:
    write_rows(place.source, ROWS[:1])
    place.append("[1]")
    place.append('{"id": "x", "text": 7}')
    report = place.run()
    name = str(place.source)
    assert report.rejects_file == str(place.store / "collections" / NAME / "rejects.jsonl")
    assert place.rejects() == [
        {"file": name, "line": 2, "id": None, "reason": "the line holds a list, not an object"},
        {
            "file": name,
            "line": 3,
            "id": "x",
            "reason": "field 'text' holds an integer (7), but what is embedded must be text",
        },
    ]
    assert place.run(ROWS[:1]).rejects_file is None
    assert not (place.store / "collections" / NAME / "rejects.jsonl").exists()


def test_an_integer_column_widens_when_a_float_comes(place: Place, model: Model) -> None:
    place.run(ROWS)
    report = place.run([*ROWS[:3], {**ROWS[3], "n": 4.5}])
    assert (counts(report), report.items.rejected) == ((0, 1, 3, 0), 0)
    assert place.snapshot.generation.schema == {"n": "float"}
    assert {id: m["n"] for id, (_, m) in contents(place.store).items()} == {
        "cat": 1, "bread": 2, "engine": 3, "court": 4.5,
    }  # fmt: skip
    assert {id for id, _ in found(place, model, "any", filter={"n": {"$gte": 3}})} == {"engine", "court"}
    assert not place.run().published


def test_a_declared_type_that_contradicts_what_is_published_is_refused_until_a_rebuild(place: Place) -> None:
    place.run(ROWS)
    with pytest.raises(SchemaConflict, match="--rebuild"):
        place.run(types={"n": "string"})
    assert place.numbers == [1]
    report = place.run([{**row, "n": str(row["n"])} for row in ROWS], rebuild=True, types={"n": "string"})
    assert (report.published, report.reason) == (True, "a rebuild was asked for")
    assert contents(place.store)["cat"][1] == {"n": "1"}


def test_a_cut_gzip_publishes_nothing(place: Place) -> None:
    place.source = place.source.with_suffix(".jsonl.gz")
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode())
    place.source.write_bytes(whole[:-12])
    with pytest.raises(SourceError, match=r"rows\.jsonl\.gz"):
        place.run()
    with pytest.raises(CollectionNotFound):
        _ = place.snapshot
    place.source.write_bytes(whole)
    place.run()
    place.source.write_bytes(whole[:-12])
    with pytest.raises(SourceError):
        place.run()
    assert place.numbers == [1]
    assert len(contents(place.store)) == 4
