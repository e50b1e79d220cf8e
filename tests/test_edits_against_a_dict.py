"""After any sequence of edits to the source, does the store hold what a dict would?

A seeded hand edits the file again and again; a dict that follows the same rules is the oracle for every item, every
count and every hit.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support import Place, contents, write_rows

from indexer import writing
from indexer.models import Model
from indexer.queries import Query, search
from indexer.snapshot import verify

WORDS = ["cat", "engine", "bread", "judge", "rain", "piano", "mountain", "tax", "river", "medicine"]
ROUNDS = 5
QUERY = "a musical instrument"

Row = dict[str, Any]


class Oracle:
    """What the collection must hold, after each run over some rows."""

    def __init__(self) -> None:
        self.items: dict[str, tuple[str, dict[str, Any]]] = {}
        self.vectors: dict[str, Any] = {}

    def embed(self, model: Model, passages: set[str]) -> None:
        """Have the vectors of these passages."""
        new = sorted(passages - self.vectors.keys(), key=len)
        if new:
            self.vectors |= zip(new, model.embed_documents(new), strict=True)

    def follow(self, rows: list[Row], unread: bool) -> tuple[int, int, int, int, int, int]:
        """Take a source; returns what was added, changed, left, deleted, rejected and held."""
        valid: dict[str, tuple[str, dict[str, Any]]] = {}
        kept, rejected = set(), int(unread)
        for row in rows:
            if not row["text"].strip():
                kept.add(row["id"])
                rejected += 1
            elif row["id"] in valid:
                rejected += 1
            else:
                valid[row["id"]] = row["text"], {k: v for k, v in row.items() if k not in ("id", "text")}
        missing = {id for id in self.items if id not in valid and id not in kept}
        added = len(valid.keys() - self.items.keys())
        changed = sum(id in self.items and self.items[id] != item for id, item in valid.items())
        for id in () if unread else missing:
            del self.items[id]
        self.items |= valid
        held = len(missing) if unread else 0
        return added, changed, len(valid) - added - changed, len(missing) - held, rejected, held


def edit(rows: list[Row], hand: random.Random, round: int) -> list[Row]:
    """The rows with some gone, some changed, some new, some blank, one twice, in another order."""
    rows = [dict(row) for row in rows if row["text"] and hand.random() < 0.8]
    for row in rows:
        if hand.random() < 0.2:
            row["text"] = sentence(hand)
        if hand.random() < 0.2:
            row["n"] = hand.randrange(5)
        if hand.random() < 0.1:
            row["text"] = ""
    rows += [{"id": f"{hand.randrange(30)}/{round % 2}", "text": sentence(hand), "n": round} for _ in range(5)]
    hand.shuffle(rows)
    return rows


def sentence(hand: random.Random) -> str:
    return " ".join(hand.choices(WORDS, k=hand.choice([2, 3, 25]))) + "."


@pytest.mark.parametrize("seed", [1, 2])
def test_after_any_edits_the_store_holds_and_finds_what_a_dict_does(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(writing, "SEGMENT_BYTES", 4 * 384 * 4)
    hand, oracle, place = random.Random(seed), Oracle(), Place(tmp_path)
    rows: list[Row] = []
    for round in range(ROUNDS):
        rows = edit(rows, hand, round)
        unread = hand.random() < 0.3
        write_rows(place.source, rows)
        if unread:
            place.append("{")
        expected = oracle.follow(rows, unread)
        rebuild = round == ROUNDS - 2
        report = place.run(rebuild=rebuild, passages={"tokens": 16, "overlap": 4})
        items = report.items
        got = items.added, items.changed, items.unchanged, items.deleted, items.rejected, items.held
        assert got == expected, f"round {round}"
        assert contents(place.store) == oracle.items, f"round {round}"
        assert_found(place, model, oracle)
    verify(place.snapshot)


def assert_found(place: Place, model: Model, oracle: Oracle) -> None:
    """Every item is found, the most similar passage decides, and a query gives the order that its parts do."""
    snapshot = place.snapshot
    assert snapshot.generation.counts.items == len(oracle.items)
    best = {}
    for id, (text, _) in oracle.items.items():
        found = snapshot.find(id)
        assert found is not None
        starts, ends = found.segment.starts, found.segment.ends
        best[id] = [text[starts[row] : ends[row]] for row in found.segment.passages_of(found.row)]
    oracle.embed(model, {passage for passages in best.values() for passage in passages})
    query = model.embed_query([QUERY])[0]
    hits = search(snapshot, lambda: model, Query(text=QUERY, limit=1000))["hits"]
    assert {hit["id"] for hit in hits} == set(best)
    assert [hit["similarity"] for hit in hits] == sorted((hit["similarity"] for hit in hits), reverse=True)
    for hit in hits:
        expected = max(float(oracle.vectors[passage] @ query) for passage in best[hit["id"]])
        assert hit["similarity"] == pytest.approx(expected, abs=1e-5)
    wanted = {id for id, (_, metadata) in oracle.items.items() if metadata["n"] >= 2}
    passing = search(snapshot, lambda: model, Query(text="x", limit=1000, filter={"n": {"$gte": 2}}))["hits"]
    assert {hit["id"] for hit in passing} == wanted
