"""Does a run say truly what it did, in the same words everywhere it is told?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from support import NAME, Place, StandIn, published_files, write_rows

from indexer import generation as generations
from indexer import intake
from indexer.report import STAGES, ItemCounts, Report
from indexer.rollback import rollback
from indexer.storage import collection_folder
from service.cli import main

ROWS = [{"id": f"i{n}", "text": f"This is text {n}.", "n": n} for n in range(8)]
SPARED = {"max_shrink": 1, "max_rejects": 1}


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn) -> Place:
    return Place(tmp_path)


def plain(report: Report) -> Any:
    return orjson.loads(orjson.dumps(report))


def in_manifest(place: Place) -> Any:
    """The report that the current generation keeps."""
    return generations.current(collection_folder(place.store, NAME)).report


def bytes_of(place: Place, prefix: str = "") -> int:
    """Of the current generation's segments whose names begin so, as the disk has them."""
    segments = collection_folder(place.store, NAME).segments
    files = (path for path in published_files(collection_folder(place.store, NAME)) if segments in path.parents)
    return sum(path.stat().st_size for path in files if path.parent.name.startswith(prefix))


def test_a_report_counts_what_became_of_every_row_passage_segment_and_byte(
    place: Place, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(intake, "plan_merge", lambda *sizes: [])
        first = place.run(ROWS)
        place.run([*ROWS, {"id": "late", "text": "A late one.", "n": 1}])
    assert first.items == ItemCounts(added=8, changed=0, unchanged=0, deleted=0, rejected=0, held=0)
    assert (first.segments.before, first.segments.after, first.segments.merged) == (0, 1, ())
    assert first.bytes.total == first.bytes.written > 1000

    before = place.snapshot.generation.segments
    stand_in.asked.clear()
    report = place.run(
        [
            {**ROWS[0], "text": "Changed, and then again: twice."},
            {**ROWS[1], "n": 100},
            *ROWS[2:6],
            {"id": "i6", "text": ""},
            {"id": "new", "text": "This is text 2.", "n": 3},
            {"id": "new", "text": "Once more.", "n": 3},
        ]
    )
    assert report.items == ItemCounts(added=1, changed=2, unchanged=4, deleted=2, rejected=2, held=0)
    assert (report.collection, report.generation, report.published) == (NAME, 3, True)
    assert (report.reason, report.model) == ("the source changed", "stand-in")
    assert stand_in.asked == ["Changed, and then again: twice."]
    assert (report.passages.total, report.passages.embedded, report.passages.cached) == (8, 1, 2)
    assert report.passages.characters == len(stand_in.asked[0])
    assert report.passages.tokens == len(stand_in.tokenizer.encode(stand_in.asked[0], add_special_tokens=False).ids)
    assert (report.segments.before, report.segments.after) == (2, 1)
    reasons = {merged.segment: (merged.passages, merged.reason) for merged in report.segments.merged}
    assert reasons == {
        before[1].id: (0, "none of its 1 passages is in use any more"),
        before[0].id: (5, "3 of its 8 passages are deleted or replaced"),
    }
    assert report.bytes.total == report.bytes.written == bytes_of(place)
    assert report.rejects_file == str(place.store / "collections" / NAME / "rejects.jsonl")
    assert len(place.rejects()) == 2


def test_the_bytes_written_are_those_of_the_new_segments(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "plan_merge", lambda *sizes: [])
    place.run(ROWS)
    report = place.run([*ROWS, {"id": "new", "text": "A new one."}])
    assert report.bytes.total == bytes_of(place)
    assert report.bytes.written == bytes_of(place, "000002-")
    assert (report.segments.before, report.segments.after, report.segments.merged) == (1, 2, ())


def test_a_run_with_nothing_to_do_reports_that_and_changes_no_report(place: Place) -> None:
    first = place.run(ROWS)
    kept = in_manifest(place)
    report = place.run(ROWS)
    assert report.items == ItemCounts(added=0, changed=0, unchanged=8, deleted=0, rejected=0, held=0)
    assert (report.generation, report.published, report.reason) == (1, False, "nothing changed")
    assert (report.bytes.total, report.bytes.written) == (first.bytes.total, 0)
    assert (report.segments.before, report.segments.after, report.segments.merged) == (1, 1, ())
    assert (report.passages.total, report.passages.embedded, report.passages.tokens) == (8, 0, 0)
    assert in_manifest(place) == kept


def test_seconds_are_told_by_stage_and_peak_memory_in_bytes(place: Place) -> None:
    for report in (place.run(ROWS), place.run(ROWS), place.run(ROWS[:3])):
        assert list(report.seconds) == [*STAGES, "total"]
        stages = [seconds for stage, seconds in report.seconds.items() if stage != "total"]
        assert min(stages) >= 0
        assert sum(stages) <= report.seconds["total"] + 0.001 * len(STAGES)
        assert report.seconds["total"] > 0
        assert 20e6 < report.peak_rss_bytes < 50e9


def test_a_rebuild_reports_no_merges(place: Place) -> None:
    place.run(ROWS)
    report = place.run(ROWS, rebuild=True)
    assert (report.reason, report.segments.merged) == ("a rebuild was asked for", ())
    assert (report.segments.before, report.segments.after) == (1, 1)


def test_a_generation_keeps_the_report_of_the_run_that_made_it(place: Place) -> None:
    reports = {}
    for rows in (ROWS, [*ROWS[1:], {"id": "blank", "text": ""}]):
        report = place.run(rows)
        reports[report.generation] = plain(report)
        kept = in_manifest(place)
        assert set(kept) == set(plain(report))
        for key in kept.keys() - {"seconds", "peak_rss_bytes"}:
            assert kept[key] == plain(report)[key], key
        for stage in set(STAGES) - {"publish"}:
            assert kept["seconds"][stage] == report.seconds[stage]
        assert kept["seconds"]["publish"] == 0 < kept["seconds"]["total"] <= report.seconds["total"]
    rollback(place.store, NAME)
    assert in_manifest(place) is None
    result = CliRunner().invoke(main, ["generations", NAME, "--json", "--store", str(place.store)])
    told = {one["generation"]: one["run"] for one in json.loads(result.stdout)}
    assert told[3] is None
    for number in (1, 2):
        assert told[number]["items"] == reports[number]["items"]
        assert told[number]["started_at"] == reports[number]["started_at"]


def test_the_report_that_is_printed_for_programs_is_the_one_that_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.store.parent)
    write_rows(place.source, [*ROWS, {"id": "blank", "text": ""}])
    command = ["index", str(place.source), "--collection", NAME, "--store", str(place.store), "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 3
    (line,) = result.stdout.splitlines()
    printed = json.loads(line)
    kept = in_manifest(place)
    assert set(printed) == set(kept)
    assert all(printed[key] == kept[key] for key in kept.keys() - {"seconds", "peak_rss_bytes"})
    assert printed["segments"] == {"before": 0, "after": 1, "merged": []}
    assert printed["items"] == {"added": 8, "changed": 0, "unchanged": 0, "deleted": 0, "rejected": 1, "held": 0}
    assert Path(printed["rejects_file"]).exists()
