"""Does a run notice damage in what it relies on, before it publishes anything that follows from it?"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from support import NAME, Place, StandIn, contents, flip

from indexer import merge
from indexer.errors import CorruptGeneration
from indexer.repair import repair
from indexer.storage import collection_folder

OLD = [{"id": f"{i}", "text": f"This is text {i}.", "n": i} for i in range(40)]
NEW = [{**row, "n": 100} if row["id"] == "0" else row for row in OLD[:-1]]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(merge, "plan_merge", lambda *sizes: [])
    place = Place(tmp_path)
    place.run(OLD)
    return place


def published_file(place: Place, name: str) -> Path:
    """The file of that name in the one segment there is."""
    (segment,) = collection_folder(place.store, NAME).segments.iterdir()
    return segment / name


def test_a_run_compares_the_source_with_no_damaged_look_up_and_goes_on_once_it_is_repaired(
    place: Place, tmp_path: Path
) -> None:
    shutil.copytree(place.store, tmp_path / "before")
    path = published_file(place, "ids.arrow")
    for at in random.Random(1).sample(range(path.stat().st_size), 25):
        flip(path, at)
        with pytest.raises(CorruptGeneration, match="parecido repair things"):
            place.run(NEW)
        assert place.numbers == [1]
        assert repair(collection_folder(place.store, NAME)).damages == []
        report = place.run(NEW)
        assert (report.items.added, report.items.changed, report.items.deleted) == (0, 1, 1)
        assert set(contents(place.store)) == {row["id"] for row in NEW}
        shutil.rmtree(place.store)
        shutil.copytree(tmp_path / "before", place.store)


def test_a_rebuild_asked_for_needs_no_look_up(place: Place) -> None:
    flip(published_file(place, "ids.arrow"), 1000)
    assert place.run(NEW, rebuild=True).published
    assert set(contents(place.store)) == {row["id"] for row in NEW}


def test_a_damaged_item_is_not_carried_into_a_rebuild(place: Place) -> None:
    path = published_file(place, "items.arrow")
    flip(path, path.read_bytes().index(b"This is text 39."))
    with pytest.raises(CorruptGeneration, match=r"items\.arrow' is damaged"):
        place.run([*OLD[:-1], {"id": "39", "text": ""}], passages={"tokens": 8})
    assert place.numbers == [1]
