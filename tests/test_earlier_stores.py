"""Can what an earlier version published still be opened, asked, verified, mended and indexed on?

`data/store_1` was written by `data/write_store_1.py` when format 1 was new, and is never written anew.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from support import Silent, contents, write_rows

from indexer import generation as generations
from indexer.build import build
from indexer.config import CollectionSettings, PassageSettings
from indexer.items import FieldType
from indexer.models import Model
from indexer.queries import Query, item, search
from indexer.repair import repair
from indexer.report import Report
from indexer.snapshot import Snapshot, open_newest, verify
from indexer.storage import collection_folder
from indexer.verify import verify as verify_all
from service.cli import main

DATA = Path(__file__).parent / "data" / "store_1"
NAME = "articles"
EXPECTED: dict[str, Any] = json.loads((DATA / "expected.json").read_bytes())
ROWS: list[dict[str, Any]] = [json.loads(line) for line in (DATA / "rows.jsonl").read_bytes().splitlines()]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of the store, with its source."""
    shutil.copy(DATA / "rows.jsonl", tmp_path)
    return Path(shutil.copytree(DATA / "store", tmp_path / "store"))


@pytest.fixture
def snapshot(store: Path) -> Snapshot:
    return open_newest(collection_folder(store, NAME))


def no_model() -> Model:
    pytest.fail("a query by id needs no model")


def index(store: Path, rows: list[dict[str, Any]]) -> Report:
    source = write_rows(store.parent / "rows.jsonl", rows)
    settings = json.loads((DATA / "settings.json").read_bytes())
    return build(store, NAME, CollectionSettings.model_validate({**settings, "source": str(source)}), Silent())


def told(answer: Any) -> Any:
    """An answer as a program gets it."""
    return json.loads(orjson.dumps(answer))


def test_the_store_is_the_one_that_was_written(store: Path) -> None:
    assert verify_all(collection_folder(store, NAME)).damages == []
    done = CliRunner().invoke(main, ["verify", "--store", str(store)])
    assert (done.exit_code, "articles: 2 generations, 13 files, " in done.stdout) == (0, True)
    attributes = subprocess.run(
        ["git", "check-attr", "text", str(DATA / "rows.jsonl")], cwd=DATA, capture_output=True, text=True
    )
    assert attributes.returncode or "text: unset" in attributes.stdout


def test_its_manifests_say_what_they_said(snapshot: Snapshot) -> None:
    first, second = (generations.read(snapshot.folder, number) for number in (1, 2))
    assert (first.counts.items, second.counts.items) == (5, 5)
    assert (len(first.segments), len(second.segments), len(second.deleted)) == (1, 2, 1)
    assert second.fingerprint.to_json() == EXPECTED["fingerprint"]
    assert (second.passages, second.store_text, second.hold) == (PassageSettings(tokens=16, overlap=4), True, False)
    assert second.schema == {
        "kind": FieldType.STRING,
        "n": FieldType.INTEGER,
        "price": FieldType.FLOAT,
        "fresh": FieldType.BOOLEAN,
        "day": FieldType.DATETIME,
        "tags": FieldType.STRINGS,
    }
    verify(snapshot)


def test_every_item_is_what_it_was_with_its_metadata_and_passages(store: Path, snapshot: Snapshot) -> None:
    assert contents(store, NAME).keys() == {row["id"] for row in ROWS} == EXPECTED["items"].keys()
    for row in ROWS:
        answer = told(item(snapshot, row["id"]))
        assert answer == EXPECTED["items"][row["id"]]
        given = {key: value for key, value in row.items() if key not in ("id", "text", "day")}
        assert (answer["text"], {key: answer["metadata"][key] for key in given}) == (row["text"], given)
    assert snapshot.find("old") is None
    assert len(EXPECTED["items"]["bread"]["passages"]) > 3


def test_neighbours_are_what_they_were_to_the_last_digit(snapshot: Snapshot) -> None:
    for id, neighbours in EXPECTED["like"].items():
        hits = search(snapshot, no_model, Query(id=id))["hits"]
        assert [[hit["id"], hit["similarity"], hit["passage"]["start"]] for hit in hits] == neighbours
    nearest = Query(vector=[1.0] * 384, limit=1, filter={"tags": {"$contains": "b"}})
    assert [hit["id"] for hit in search(snapshot, no_model, nearest)["hits"]] == ["bread"]


def test_texts_find_what_they_found(snapshot: Snapshot, model: Model) -> None:
    for text, expected in EXPECTED["search"].items():
        hits = search(snapshot, lambda: model, Query(text=text))["hits"]
        figures = {hit["id"]: hit["similarity"] for hit in hits}
        assert figures == pytest.approx({id: figure for id, figure, _ in expected}, abs=1e-4)
        assert (hits[0]["id"], hits[0]["passage"]["start"]) == (expected[0][0], expected[0][2])
    hits = search(snapshot, lambda: model, Query(text="x", filter={"n": {"$gte": 1}}))["hits"]
    assert [hit["id"] for hit in hits] == EXPECTED["filtered"]


def test_a_run_goes_on_from_it(store: Path) -> None:
    before = contents(store, NAME)
    assert index(store, ROWS).reason == "nothing changed"
    (bread, *others) = ROWS
    report = index(store, [bread, {**others[0], "text": "The tide comes and goes with the moon."}, *others[1:]])
    assert (report.generation, report.reason, report.items.changed, report.items.unchanged) == (
        3, "the source changed", 1, 4,
    )  # fmt: skip
    assert report.passages.embedded == 1
    after = contents(store, NAME)
    assert after == {**before, "moon": ("The tide comes and goes with the moon.", before["moon"][1])}
    assert verify_all(collection_folder(store, NAME)).damages == []


@pytest.mark.parametrize("name", ["ids.arrow", "ann.faiss"])
def test_what_derives_is_mended(store: Path, snapshot: Snapshot, name: str) -> None:
    before = contents(store, NAME)
    path = snapshot.folder.segments / snapshot.generation.segments[0].id / name
    path.unlink()
    done = repair(snapshot.folder)
    assert done.mended == [path]
    assert done.published in (None, 3)  # the bytes may be others in another version of Arrow or FAISS
    assert contents(store, NAME) == before
    verify(open_newest(snapshot.folder))
