"""Does the report of a run tell what it did and took, and is it kept?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from support import NAME, Place, StandIn

from indexer import generation as generations
from indexer.config import PassageSettings
from indexer.report import STAGES, Report
from indexer.storage import CollectionFolder, collection_folder
from service.cli import main

ROWS = [{"id": f"item {i}", "text": f"This is text {i}.", "n": i} for i in range(10)]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return Place(tmp_path)


@pytest.fixture
def folder(place: Place) -> CollectionFolder:
    return collection_folder(place.store, NAME)


def as_json(report: Report) -> dict[str, Any]:
    """A report as a program reads it."""
    told: dict[str, Any] = orjson.loads(orjson.dumps(report))
    return told


def test_the_report_counts_what_became_of_every_row(place: Place) -> None:
    place.run(ROWS)
    rows: list[dict[str, Any]] = [
        {**ROWS[0], "text": "Another text."},
        {**ROWS[1], "n": 100},
        *ROWS[2:8],
        {"id": "item 9", "text": ""},
        {"id": "new", "text": "A new text."},
    ]
    report = place.run(rows)
    items = report.items
    assert (items.added, items.changed, items.unchanged) == (1, 2, 6)
    assert (items.deleted, items.rejected, items.held) == (1, 1, 0)
    assert report.rejects_file == str(place.store / "collections" / NAME / "rejects.jsonl")
    assert len(Path(report.rejects_file).read_text(encoding="utf-8").splitlines()) == 1
    assert place.run(rows[:8]).rejects_file is None


def test_the_report_counts_passages_and_what_was_sent_to_the_model(place: Place, stand_in: StandIn) -> None:
    long = " ".join(f"Sentence {n} of a long text is here." for n in range(30))
    place.run([{"id": "one", "text": "Short."}])
    stand_in.asked.clear()
    rows = [{"id": "one", "text": "Short."}, {"id": "two", "text": long}, {"id": "three", "text": "Short."}]
    passages = place.run(rows).passages
    assert passages.total == place.snapshot.generation.counts.passages == 2 + len(stand_in.asked)
    assert (passages.embedded, passages.cached) == (len(stand_in.asked), 1)
    assert passages.tokens == sum(map(stand_in.tokenizer.count, stand_in.asked))
    assert passages.characters == sum(map(len, stand_in.asked))


def test_the_report_has_seconds_by_stage_memory_and_bytes(place: Place, folder: CollectionFolder) -> None:
    report = place.run(ROWS)
    assert tuple(report.seconds) == (*STAGES, "total")
    assert all(value >= 0 for value in report.seconds.values())
    assert sum(report.seconds[stage] for stage in STAGES) <= report.seconds["total"] + 0.01
    assert report.peak_rss_bytes > 10_000_000
    on_disk = sum(path.stat().st_size for path in folder.segments.rglob("*") if path.is_file())
    assert report.bytes.total == report.bytes.written == on_disk
    unchanged = place.run()
    assert (unchanged.bytes.total, unchanged.bytes.written) == (on_disk, 0)
    assert unchanged.seconds["embed"] == unchanged.seconds["write"] == unchanged.seconds["publish"] == 0


def test_the_report_has_the_segments_before_and_after_and_why_each_was_merged(place: Place) -> None:
    first = place.run(ROWS)
    assert (first.segments.before, first.segments.after, first.segments.merged) == (0, 1, ())
    masked = place.run(ROWS[:9])
    assert (masked.segments.before, masked.segments.after, masked.segments.merged) == (1, 1, ())
    (old,) = place.snapshot.generation.segments
    hollow = place.run(ROWS[:6])
    (merged,) = hollow.segments.merged
    assert (hollow.segments.before, hollow.segments.after) == (1, 1)
    assert (merged.segment, merged.passages) == (old.id, 6)
    assert merged.reason == "4 of its 10 passages are deleted or replaced"
    small = place.run(ROWS[:7])
    (merged,) = small.segments.merged
    assert merged.reason == "it has only 6 passages"
    rebuilt = place.run(rebuild=True)
    assert (rebuilt.segments.before, rebuilt.segments.after, rebuilt.segments.merged) == (1, 1, ())
    assert rebuilt.reason == "a rebuild was asked for"


def test_the_report_is_kept_beside_its_generation_and_the_history_tells_it(
    place: Place, folder: CollectionFolder
) -> None:
    report = as_json(place.run(ROWS))
    place.run()
    later = as_json(place.run(ROWS[:5], passages=PassageSettings(tokens=8)))
    for number, expected in ((1, report), (2, later)):
        kept = dict(generations.read(folder, number).report or {})
        assert kept.pop("peak_rss_bytes") <= expected["peak_rss_bytes"]
        seconds = kept.pop("seconds")
        assert {k: v for k, v in seconds.items() if k not in ("publish", "total")} == {
            k: v for k, v in expected["seconds"].items() if k not in ("publish", "total")
        }
        assert kept == {k: v for k, v in expected.items() if k not in ("peak_rss_bytes", "seconds")}
    history = ["generations", NAME, "--store", str(place.store)]
    newest, oldest = json.loads(CliRunner().invoke(main, [*history, "--json"]).stdout)
    assert (newest["run"]["reason"], newest["run"]["items"]["deleted"]) == ("the passage settings changed", 5)
    assert oldest["run"]["items"]["added"] == 10
    text = CliRunner().invoke(main, history).stdout.splitlines()
    assert text[0].endswith("(the passage settings changed)")
    assert text[1].endswith("(nothing was published before)")
