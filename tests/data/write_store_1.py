"""Write the store of format 1 that all later versions must open, and what they must find in it.

Run once, by the version whose format it is: `python tests/data/write_store_1.py`. What it has written is never written
anew; a new format gets a store, a script and a test of its own.

    store_1/rows.jsonl       the source of the second generation
    store_1/settings.json    the settings of the collection, without its source
    store_1/expected.json    every item with its passages, and the answers to some queries
    store_1/store/           collection `articles`: two generations, the second of two segments and a bitmap
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import orjson

from indexer import intake, models
from indexer.build import build
from indexer.config import CollectionSettings
from indexer.models import Model
from indexer.queries import Query, item, search
from indexer.snapshot import Snapshot, open_newest
from indexer.storage import collection_folder

HERE = Path(__file__).parent / "store_1"
NAME = "articles"

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "passages": {"tokens": 16, "overlap": 4},
    "types": {"day": "datetime", "tags": "strings"},
    "max_shrink": 1,
}

LONG = (
    "Bread needs little more than flour, water, salt and time. Knead the dough until it is smooth, let it rise in a "
    "warm place, and bake it in a hot oven until the crust is brown. Zürich’s bakers 🥐 swear by a second rise."
)
FIRST: list[dict[str, Any]] = [
    {
        "id": "bread",
        "text": LONG,
        "kind": "food",
        "n": 1,
        "price": 2.5,
        "fresh": True,
        "day": "2026-01-31",
        "tags": ["a", "b"],
    },
    {"id": "moon", "text": "The moon pulls at the sea, and the tide follows.", "kind": "space", "n": -2, "price": 3},
    {"id": "a/b?c", "text": "A slash in an id is no folder.", "day": "2026-02-28T12:00:00.000001+01:00", "tags": []},
    {
        "id": "goal",
        "text": "The striker scored a goal in the last minute of the match.",
        "kind": "sport",
        "fresh": False,
    },
    {"id": "old", "text": "This text will be gone.", "kind": "none", "n": 9007199254740993},
]
SECOND: list[dict[str, Any]] = [
    *FIRST[:3],
    {**FIRST[3], "text": "A late goal decided the football match.", "n": 7},
    {"id": "naïve ☃", "text": "Snow fell all night on the quiet village.", "kind": "weather", "tags": ["☃", ""]},
]
QUERIES = ["baking a loaf in the oven", "ebb and flood", "who won the game?", "winter"]


class Silent:
    """Nobody watches."""

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def main() -> None:
    """Write everything, unless it is there."""
    store = HERE / "store"
    store.mkdir(parents=True)
    source, folder = HERE / "rows.jsonl", collection_folder(store, NAME)
    settings = CollectionSettings.model_validate({**SETTINGS, "source": str(source)})
    intake.plan_merge = lambda *sizes: []
    for rows in (FIRST, SECOND):
        source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        build(store, NAME, settings, Silent())
    snapshot = open_newest(folder)
    model = models.load(snapshot.generation.fingerprint, "cpu")
    write(HERE / "settings.json", SETTINGS)
    write(HERE / "expected.json", expected(snapshot, model))
    for path in (store / "embeddings.sqlite", folder.path / "lock", folder.runs, folder.path / "leases"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def expected(snapshot: Snapshot, model: Model) -> dict[str, Any]:
    """What must be found in the store."""
    ids = [row["id"] for row in SECOND]
    return {
        "fingerprint": snapshot.generation.fingerprint.to_json(),
        "items": {id: item(snapshot, id) for id in ids},
        "like": {id: found(snapshot, model, Query(id=id)) for id in ids},
        "search": {text: found(snapshot, model, Query(text=text)) for text in QUERIES},
        "filtered": [hit[0] for hit in found(snapshot, model, Query(text="x", filter={"n": {"$gte": 1}}))],
    }


def found(snapshot: Snapshot, model: Model, query: Query) -> list[tuple[str, float, int]]:
    """The hits of a query: id, similarity, where the best passage begins."""
    hits = search(snapshot, lambda: model, query)["hits"]
    return [(hit["id"], hit["similarity"], hit["passage"]["start"]) for hit in hits]


def write(path: Path, content: Any) -> None:
    """JSON for people."""
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    main()
