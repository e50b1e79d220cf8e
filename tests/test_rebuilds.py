"""Is a collection written anew when what it was made with changes, and only then?

What a rebuild cannot read from the source it carries over from what is published, or it refuses and changes nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import Place, contents, found, write_rows

from indexer import windows, writing
from indexer.config import PassageSettings
from indexer.errors import SchemaConflict, SourceError
from indexer.items import FieldType
from indexer.models import Model
from indexer.queries import Query, search

ROWS = [
    {"id": "cat", "text": "A cat sleeps on the warm windowsill.", "n": 1},
    {"id": "bread", "text": "Knead the dough and bake the bread.", "n": 2},
    {"id": "engine", "text": "The engine of the car needs new oil.", "n": 3},
]
LONG = " ".join(f"Sentence number {i} speaks of apples and of trains." for i in range(8))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_rebuild_that_is_asked_for_writes_everything_again_and_embeds_what_the_cache_lacks(place: Place) -> None:
    place.run(ROWS)
    old = {entry.id for entry in place.snapshot.generation.segments}
    report = place.run(rebuild=True)
    assert (report.published, report.generation, report.reason) == (True, 2, "a rebuild was asked for")
    assert (report.items.unchanged, report.passages.embedded, report.passages.cached) == (3, 0, 3)
    assert not old & {entry.id for entry in place.snapshot.generation.segments}
    assert len(contents(place.store)) == 3
    (place.store / "embeddings.sqlite").unlink()
    passages = place.run(rebuild=True).passages
    assert (passages.embedded, passages.cached) == (3, 0)


def test_new_passage_settings_build_a_new_generation_that_keeps_the_vectors_of_equal_passages(
    place: Place, model: Model
) -> None:
    place.run([*ROWS, {"id": "long", "text": LONG}])
    assert place.snapshot.generation.counts.passages == 4
    report = place.run(passages={"tokens": 16, "overlap": 0})
    assert (report.published, report.reason) == (True, "the passage settings changed")
    assert place.snapshot.generation.passages == PassageSettings(tokens=16, overlap=0)
    assert report.passages.total > 8
    assert (report.passages.cached, report.passages.embedded) == (3, report.passages.total - 3)
    hit = search(place.snapshot, lambda: model, Query(text="apples", limit=1))["hits"][0]
    assert hit["id"] == "long"
    assert not place.run(passages={"tokens": 16, "overlap": 0}).published


def test_another_prompt_is_another_space_and_builds_a_new_generation(place: Place) -> None:
    place.run(ROWS)
    before = np.array(place.snapshot.segments[0].segment.vectors)
    report = place.run(document_prompt="A note about machines: ")
    assert (report.published, report.items.unchanged, report.passages.embedded) == (True, 3, 3)
    assert report.reason == "the files or prompts of 'all-MiniLM-L6-v2' changed"
    assert place.snapshot.generation.fingerprint.document_prompt == "A note about machines: "
    after = place.snapshot.segments[0].segment.vectors
    assert (np.vecdot(before, after) < 0.99).all()
    assert place.run().published


def test_without_texts_hits_have_offsets_only(place: Place, model: Model) -> None:
    place.run(ROWS, store_text=False)
    answer = search(place.snapshot, lambda: model, Query(text="a pet", limit=1, include=["text", "metadata"]))
    (hit,) = answer["hits"]
    assert (hit["id"], hit["text"], hit["metadata"]) == ("cat", None, {"n": 1})
    assert hit["passage"] == {"text": None, "start": 0, "end": len(ROWS[0]["text"])}


def test_texts_are_stored_from_the_run_on_that_is_told_to_and_no_longer_than_that(place: Place, model: Model) -> None:
    place.run(ROWS, store_text=False)
    hits = found(place, model, "a pet")
    report = place.run()
    assert (report.reason, report.passages.embedded) == ("texts are to be stored", 0)
    assert contents(place.store)["cat"][0] == ROWS[0]["text"]
    assert place.run(store_text=False).reason == "texts are no longer to be stored"
    assert contents(place.store)["cat"][0] is None
    segment = place.snapshot.generation.segments[0].id
    files = (place.store / "collections" / "things" / "segments" / segment).iterdir()
    assert not any(b"windowsill" in file.read_bytes() for file in files)
    assert found(place, model, "a pet") == hits


def test_a_rebuild_carries_over_what_rejected_rows_keep(place: Place, model: Model) -> None:
    place.run([*ROWS, {"id": "gone", "text": "Held because a row has no id.", "n": 4}])
    before = found(place, model, "home")
    write_rows(place.source, [{"id": "cat", "text": None}, *ROWS[1:]])
    place.append("no json")
    report = place.run(rebuild=True)
    assert (report.published, report.items.held, report.items.rejected) == (True, 1, 2)
    assert (report.passages.embedded, report.passages.cached) == (0, 4)
    assert contents(place.store)["cat"] == (ROWS[0]["text"], {"n": 1})
    assert found(place, model, "home") == before


def test_a_rebuild_that_would_lose_an_item_whose_text_is_not_stored_refuses(place: Place) -> None:
    place.run(ROWS, store_text=False)
    before = contents(place.store)
    write_rows(place.source, [{"id": "cat", "text": None}, *ROWS[1:]])
    with pytest.raises(SourceError, match="'cat'"):
        place.run(rebuild=True, store_text=False)
    assert place.numbers == [1]
    assert contents(place.store) == before
    assert not list((place.store / "collections" / "things" / "runs").iterdir())


def test_a_kept_item_with_a_float_keeps_it_in_a_rebuild_from_integers(place: Place) -> None:
    place.run([{**ROWS[0], "n": 1.5}, *ROWS[1:]])
    place.run([{"id": "cat", "text": ""}, *ROWS[1:]], rebuild=True)
    assert place.snapshot.generation.schema == {"n": FieldType.FLOAT}
    assert {id: m["n"] for id, (_, m) in contents(place.store).items()} == {"cat": 1.5, "bread": 2, "engine": 3}


@pytest.mark.parametrize("types", [{}, {"n": "string"}, {"n": "boolean"}])
def test_a_kept_item_that_does_not_fit_the_new_types_stops_a_rebuild(place: Place, types: dict[str, str]) -> None:
    place.run([{**ROWS[0], "n": 1.5}, *ROWS[1:]])
    word = True if types.get("n") == "boolean" else "two"
    write_rows(place.source, [{"id": "cat", "text": ""}, *({**row, "n": word} for row in ROWS[1:])])
    with pytest.raises(SchemaConflict, match="'cat'"):
        place.run(rebuild=True, types=types)
    assert place.numbers == [1]
    assert contents(place.store)["cat"][1] == {"n": 1.5}


def test_a_kept_float_does_not_become_a_declared_integer(place: Place) -> None:
    place.run([{**ROWS[0], "n": 1.5}, *ROWS[1:]])
    write_rows(place.source, [{"id": "cat", "text": ""}, *ROWS[1:]])
    with pytest.raises(SchemaConflict, match="'cat'"):
        place.run(rebuild=True, types={"n": "integer"})
    assert place.numbers == [1]


def test_many_small_segments_answer_as_one_does(tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    one, many = Place(tmp_path / "one"), Place(tmp_path / "many")
    rows = [{"id": f"{i:02d}", "text": f"{ROWS[i % 3]['text']} Part {i // 2}.", "n": i} for i in range(14)]
    for each in (one, many):
        each.source.parent.mkdir()
    one.run(rows)
    monkeypatch.setattr(writing, "SEGMENT_BYTES", 3 * 384 * 4)
    monkeypatch.setattr(windows, "WINDOW_ITEMS", 2)
    report = many.run(rows)
    assert (report.passages.total, len(many.snapshot.segments), len(one.snapshot.segments)) == (14, 4, 1)
    assert contents(many.store) == contents(one.store)
    for text in ("a pet on the window", "oil change"):
        assert found(many, model, text, limit=20) == found(one, model, text, limit=20)
