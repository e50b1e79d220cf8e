"""Is an item the same after its segment was folded, without being embedded again?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import Items, Oracle, assert_answers
from support import NAME, Place, StandIn, contents, flip

from indexer import intake, merge
from indexer.config import PassageSettings
from indexer.errors import CorruptGeneration
from indexer.merge import Fold, Size
from indexer.queries import Query, search
from indexer.storage import collection_folder
from indexer.verify import verify

LONG = " ".join(f"Sentence {n} of a long text goes on and on." for n in range(40))
SHORT = PassageSettings(tokens=16, overlap=4)

Folding = Callable[[bool], None]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(merge, "BLOCK_ITEMS", 3)
    return Place(tmp_path)


@pytest.fixture
def folding(monkeypatch: pytest.MonkeyPatch) -> Folding:
    """Lets runs fold every segment, or none."""

    def fold(every: bool) -> None:
        def plan(segments: Sequence[Size], incoming: int, full: int) -> list[Fold]:
            return [Fold(s.id, s.live, "it was asked for") for s in segments if every]

        monkeypatch.setattr(intake, "plan_merge", plan)

    fold(False)
    return fold


def items(rows: Sequence[dict[str, Any]]) -> Items:
    return {row["id"]: (row["text"], {k: v for k, v in row.items() if k not in ("id", "text")}) for row in rows}


def numbered(*numbers: int, text: str = "This is text {}.") -> list[dict[str, Any]]:
    return [{"id": f"i{n:02d}", "text": text.format(n), "n": n} for n in numbers]


def test_folding_takes_the_live_items_as_they_are_and_embeds_nothing(
    place: Place, stand_in: StandIn, folding: Folding
) -> None:
    rows = numbered(*range(20))
    place.run(rows)
    rows = [*numbered(*range(5), text="Text {} is another one."), *rows[7:], *numbered(*range(30, 38))]
    place.run(rows)
    rows = rows[2:]
    stand_in.asked.clear()
    folding(True)
    report = place.run(rows)
    assert stand_in.asked == []
    assert (report.passages.embedded, report.passages.cached) == (0, 0)
    assert (report.segments.before, report.segments.after) == (2, 1)
    assert [(merged.passages, merged.reason) for merged in report.segments.merged] == [
        (13, "it was asked for"),
        (11, "it was asked for"),
    ]
    (part,) = place.snapshot.segments
    assert part.live is None
    assert part.segment.entry.items == len(rows) == 24
    assert_answers(place.snapshot, items(rows), Oracle(), ["which one?"], PassageSettings())
    assert verify(collection_folder(place.store, NAME)).damages == []
    assert not place.run().published


def test_a_folded_collection_is_byte_for_byte_as_similar_as_one_that_was_never_folded(
    place: Place, stand_in: StandIn, folding: Folding, tmp_path: Path
) -> None:
    rows = numbered(*range(9))
    for count in (3, 6):
        place.run(rows[:count])
    folding(True)
    place.run(rows)
    (tmp_path / "fresh").mkdir()
    fresh = Place(tmp_path / "fresh")
    fresh.run(rows)
    for id in (row["id"] for row in rows):
        vectors = []
        for each in (place, fresh):
            found = each.snapshot.find(id)
            assert found is not None
            vectors.append(found.segment.vectors[found.segment.passages_of(found.row)])
        np.testing.assert_array_equal(*vectors)


def test_items_of_several_passages_keep_each_of_them(place: Place, stand_in: StandIn, folding: Folding) -> None:
    rows = [
        {"id": f"i{n}", "text": f"Number {n}. " + (LONG[: 90 * (n % 4)] if n % 2 else "Short."), "n": n}
        for n in range(12)
    ]
    place.run(rows, passages=SHORT)
    rows = [*rows[1:4], *rows[5:]]
    place.run([*rows, {"id": "new", "text": LONG, "n": 1}], passages=SHORT)
    stand_in.asked.clear()
    folding(True)
    place.run(rows[1:], passages=SHORT)
    assert stand_in.asked == []
    (part,) = place.snapshot.segments
    assert part.segment.entry.passages > part.segment.entry.items
    assert_answers(place.snapshot, items(rows[1:]), Oracle(), ["which one?", LONG[:60]], SHORT)
    assert verify(collection_folder(place.store, NAME)).damages == []


def test_a_field_that_came_later_is_missing_in_the_folded_items_that_lack_it(place: Place, folding: Folding) -> None:
    rows = numbered(*range(5))
    place.run(rows)
    rows += [{"id": "late", "text": "A later one.", "n": 7, "tags": ["a", "b"], "day": "2024-05-01T00:00:00Z"}]
    folding(True)
    place.run(rows, types={"day": "datetime"})
    (part,) = place.snapshot.segments
    assert part.segment.items["metadata.tags"].null_count == 5
    held = contents(place.store)
    assert held["late"][1]["tags"] == ["a", "b"]
    assert {id: metadata for id, (_, metadata) in held.items() if id != "late"} == {
        row["id"]: {"n": row["n"]} for row in rows[:5]
    }
    assert not place.run(types={"day": "datetime"}).published


@pytest.mark.parametrize("large", [2**53 - 1, 2**53 + 1, 2**60, -(2**63)])
def test_integers_widen_to_the_float_next_to_them(
    place: Place, stand_in: StandIn, folding: Folding, large: int
) -> None:
    rows = [*numbered(1, 2, 3), {"id": "large", "text": "A large number.", "n": large}]
    place.run(rows)
    folding(True)
    place.run([*rows, {"id": "float", "text": "Half a number.", "n": 0.5}])
    (part,) = place.snapshot.segments
    assert str(part.segment.items["metadata.n"].type) == "double"
    assert {id: metadata["n"] for id, (_, metadata) in contents(place.store).items()} == {
        "i01": 1.0, "i02": 2.0, "i03": 3.0, "large": float(large), "float": 0.5,
    }  # fmt: skip
    found = search(place.snapshot, lambda: stand_in, Query(text="x", filter={"n": {"$gte": 2}}))["hits"]
    assert {hit["id"] for hit in found} == {"i02", "i03"} | ({"large"} if large > 0 else set())


def test_a_store_without_texts_stays_one_and_its_passages_keep_their_places(place: Place, folding: Folding) -> None:
    rows = [*numbered(1, 2), {"id": "long", "text": LONG, "n": 3}]
    place.run(rows, store_text=False)
    before = place.snapshot.find("long")
    assert before is not None
    folding(True)
    place.run(rows[1:], store_text=False)
    (part,) = place.snapshot.segments
    assert "text" not in part.segment.items.column_names
    assert contents(place.store) == {"i02": (None, {"n": 2}), "long": (None, {"n": 3})}
    after = place.snapshot.find("long")
    assert after is not None
    for column in ("starts", "ends"):
        old, new = (getattr(f.segment, column)[f.segment.passages_of(f.row)] for f in (before, after))
        assert len(new) > 1
        np.testing.assert_array_equal(old, new)
    assert not place.run(store_text=False).published


def test_a_segment_with_nothing_left_in_it_is_left_out_and_the_report_says_so(
    place: Place, folding: Folding, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run(numbered(*range(5)))
    place.run(numbered(*range(8)))
    (_, segment) = place.snapshot.generation.segments
    monkeypatch.setattr(intake, "plan_merge", merge.plan_merge)
    report = place.run(numbered(*range(5)))
    assert [(merged.segment, merged.passages, merged.reason) for merged in report.segments.merged] == [
        (segment.id, 0, "none of its 3 passages is in use any more")
    ]
    assert (report.segments.before, report.segments.after) == (2, 1)
    assert contents(place.store) == items(numbered(*range(5)))


@pytest.mark.parametrize("name", ["items.arrow", "ids.arrow", "passages.arrow", "vectors.f32"])
def test_damage_is_not_copied_into_a_new_segment(place: Place, folding: Folding, name: str) -> None:
    place.run(numbered(*range(40)))
    (segment,) = collection_folder(place.store, NAME).segments.iterdir()
    flip(segment / name, (segment / name).stat().st_size // 3)
    folding(True)
    with pytest.raises(CorruptGeneration, match=rf"{name}' is damaged"):
        place.run(numbered(*range(1, 40)))
    assert place.numbers == [1]
