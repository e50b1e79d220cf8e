"""After 1,000 small runs: the same hits as a fresh build, from at most 12 segments?

The floor under which segments are folded whatever their size is lowered, so that a few hundred items make as many sizes
of segments as a million do. The store is in memory where there is such a disk: thousands of fsyncs are not what is
asked about.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oracle import Oracle, assert_answers, held
from support import NAME, Place, StandIn, assert_tidy

from indexer import merge
from indexer.config import PassageSettings
from indexer.queries import Query, search
from indexer.storage import collection_folder
from indexer.verify import verify

RUNS = 1_000
MOST_SEGMENTS = 12
KEPT = 2
PASSAGES = PassageSettings(tokens=16, overlap=4)
QUERIES = ["which one?", "Text 17, of run 800.", "something else altogether"]

Row = dict[str, Any]


class Source:
    """Rows that a seeded hand edits a little at a time."""

    def __init__(self, seed: int) -> None:
        self._hand, self._made = random.Random(seed), 0
        self.rows = [self._row(0) for _ in range(60)]
        self.texts = {row["text"] for row in self.rows}

    def edit(self, run: int) -> None:
        """Add a row or two, change some, remove some."""
        hand, rows = self._hand, self.rows
        for _ in range(hand.choice([0, 1, 1, 1, 2])):
            rows.append(self._row(run))
        for _ in range(hand.choice([0, 0, 1])):
            rows[hand.randrange(len(rows))]["text"] = self._text(run)
        if hand.random() < 0.2:
            rows[hand.randrange(len(rows))]["n"] = run
        for _ in range(hand.choice([0, 0, 1, 1, 3]) if len(rows) > 40 else 0):
            rows.pop(hand.randrange(len(rows)))
        if run == RUNS // 2:
            rows[0]["n"] = 0.5
        self.texts |= {row["text"] for row in rows}

    def _row(self, run: int) -> Row:
        self._made += 1
        return {"id": f"item {self._made}", "text": self._text(run), "n": run}

    def _text(self, run: int) -> str:
        number = self._hand.randrange(1000)
        long = "".join(f" Part {part} says {number * part}." for part in range(self._hand.choice([0, 0, 0, 1, 9])))
        return f"Text {number}, of run {run}.{long}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="parecido-", dir=memory) as temporary:
        yield Path(temporary)


@pytest.mark.timeout(900)
def test_after_a_thousand_small_runs_the_hits_are_those_of_a_fresh_build_from_a_dozen_segments_at_most(
    folder: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "FLOOR", 3)
    place, source, oracle = Place(folder), Source(seed=7), Oracle()
    settings: dict[str, Any] = {"passages": PASSAGES, "keep_generations": KEPT, "keep_days": 0}
    most = 0
    for run in range(RUNS):
        source.edit(run)
        report = place.run(source.rows, **settings)
        most = max(most, report.segments.after)
        assert (
            report.segments.before + bool(report.bytes.written) - len(report.segments.merged) == report.segments.after
        )
        if run % 100 == 0:
            assert_answers(place.snapshot, source_items(source), oracle, QUERIES[:1], PASSAGES)
    assert 3 <= most <= MOST_SEGMENTS
    assert place.numbers[-1] > RUNS * 0.9
    assert len(place.numbers) == KEPT

    assert_answers(place.snapshot, source_items(source), oracle, QUERIES, PASSAGES)
    assert verify(collection_folder(place.store, NAME)).damages == []
    assert_tidy(place.store)
    assert len(stand_in.asked) == len(set(stand_in.asked)), "a text was embedded twice"
    assert set(stand_in.asked) == {passage for text in source.texts for passage in oracle.passages(text, PASSAGES)}

    (folder / "fresh").mkdir()
    fresh = Place(folder / "fresh")
    fresh.run(source.rows, **settings)
    assert held(fresh.snapshot) == held(place.snapshot)
    for text in QUERIES:
        for filter in (None, {"n": {"$gte": RUNS // 2}}):
            asked = Query(text=text, limit=50, filter=filter, include=("text", "metadata", "passages", "vector"))
            after, new = (search(each.snapshot, lambda: stand_in, asked)["hits"] for each in (place, fresh))
            assert len(after) == 50
            assert after == new


def source_items(source: Source) -> dict[str, tuple[str, dict[str, Any]]]:
    return {row["id"]: (row["text"], {"n": row["n"]}) for row in source.rows}
