"""Are an index's figures those of what still counts, once much of its segment is deleted or replaced?

The judge is numpy, over the live items alone. Indexes are built far below the size from which on they are worth it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from indexes import KINDS, first_try
from support import Place, StandIn, assert_tidy, contents

from indexer import generation as generations
from indexer import intake
from indexer.ann import AnnIndex, Figure, IndexEntry, Kind, Passages, again, plan, propose, to_fetch
from indexer.ann.ladder import Rung
from indexer.ann.opened import Mask
from indexer.ann.passages import Queries
from indexer.ann.trial_filters import SECTIONS, SHARES, trial_filters
from indexer.ann.tuning import measured
from indexer.ann.ways import quick_way
from indexer.describe import describe
from indexer.recall import too_little, why_again
from indexer.search import Asked, nearest
from indexer.segment import SegmentEntry
from indexer.verify import verify
from service.cli import main

ROWS = [{"id": f"i{n}", "text": f"This is text {n}, unlike the others.", "n": n} for n in range(700)]
ASKED = 120
"""Queries that `first_try` leaves."""
TARGET = 0.95


def entry_of(place: Place, segment: int = 0) -> IndexEntry:
    entry = place.snapshot.generation.segments[segment].index
    assert entry is not None
    return entry


def changed(rows: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return [{**row, "text": f"Another text {row['n']}."} if at < count else row for at, row in enumerate(rows)]


Measuring = tuple[AnnIndex, Passages, Queries]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Measuring]:
    """What was measured again, and what it was asked."""
    every: list[Measuring] = []

    def noted(index: AnnIndex, passages: Passages, queries: Queries) -> tuple[Rung, ...]:
        every.append((index, passages, queries))
        return measured(index, passages, queries)

    monkeypatch.setattr(again, "measured", noted)
    return every


def found_share(one: Measuring, effort: int, passes: Mask, filtered: bool) -> float:
    """The share of the ten nearest items that pass which a search finds with that effort, as numpy has it."""
    index, passages, queries = one
    vectors, passing = np.array(passages.vectors), int(passes.sum())
    fetch = to_fetch(10 + bool((queries.own >= 0).any()), 1)
    way = plan if filtered else quick_way
    how = way(index.kind, len(vectors) - passages.taken_out, passing, vectors.shape[1], fetch, effort)
    assert how is not None
    proposed = propose(index, vectors, queries.vectors, how, passes, passing)
    shares = []
    for query, mine, rows in zip(queries.vectors, queries.own, proposed.rows, strict=True):
        cosines = np.where(passes, vectors @ query, -2)
        cosines[mine if mine >= 0 else []] = -2
        tenth = np.sort(cosines)[-10]
        best = np.sort([cosines[row] for row in rows if row >= 0 and row != mine])[::-1][:10]
        shares.append((best >= tenth - 2e-6).sum() / 10 if len(best) == 10 else 1.0)
    return float(np.mean(shares))


@pytest.mark.parametrize("kind", KINDS)
def test_with_six_percent_deleted_the_figures_are_those_of_the_live_items(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, asked: list[Measuring], kind: Kind
) -> None:
    first_try(kind, monkeypatch)
    place = Place(tmp_path)
    place.run(ROWS)
    before = entry_of(place)
    report = place.run(ROWS[42:])
    (told,) = report.segments.measured_again
    assert told.reason == "42 of the 700 items that it was measured with are deleted or replaced"
    assert report.segments.merged == ()
    after, (part,) = entry_of(place), place.snapshot.segments
    assert (after.gone, after.measured_in, after.queries, after.frame) == (42, 2, ASKED, before.frame)
    assert after.ladder != before.ladder
    ((index, passages, queries),) = asked
    assert part.live is not None
    assert passages.live is not None
    vectors = np.array(part.segment.vectors)
    of_items = [int(np.flatnonzero((vectors == query).all(axis=1))[0]) for query in queries.vectors]
    assert (len(set(of_items)), part.live[of_items].all()) == (ASKED, True)
    expected = part.live.copy()
    expected[of_items if index.walks else []] = False
    np.testing.assert_array_equal(passages.live, expected)
    masks = trial_filters(passages, kind)
    shares = [*SHARES, *(SECTIONS if kind == "pq" else ())]
    assert [int(mask.sum()) for mask in masks] == [math.ceil(expected.sum() * share) for share in shares]
    assert all((expected | ~mask).all() for mask in masks)
    ties = 0.005 if kind == "pq" else 1e-4  # which of codes that are as near come first is FAISS's own choice
    tens = [rung for rung in after.ladder if rung.limit == 10]
    assert len(tens) > 1 or min(tens[0].figure.low, tens[0].filtered.low) >= 0.999
    for rung in tens:
        plain = found_share(asked[0], rung.effort, expected, filtered=False)
        filtered = [found_share(asked[0], rung.effort, mask, filtered=True) for mask in masks]
        for figure, shares in ((rung.figure, [plain]), (rung.filtered, filtered)):
            assert min(abs(figure.recall - share) for share in shares) <= ties or figure.low >= 0.999
            assert figure.recall <= min(shares) + 0.02 or figure.low >= 0.999


def test_searches_after_it_find_what_the_new_contract_says(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_try("pq", monkeypatch)
    place = Place(tmp_path)
    place.run(ROWS)
    place.run(ROWS[42:])
    snapshot, (part,) = place.snapshot, place.snapshot.segments
    assert snapshot.generation.contract is not None
    ten = snapshot.generation.contract.wholes[0]
    assert (ten.limit, ten.figure.low >= TARGET) == (10, True)
    plain, filtered = (entry_of(place).rung(10, TARGET, with_one) for with_one in (False, True))
    assert plain is not None
    assert filtered is not None
    assert (ten.figure, ten.filtered) == (plain.figure, filtered.filtered)
    vectors, shares = np.array(part.segment.vectors), []
    for row in np.flatnonzero(part.live)[::5]:
        own = snapshot.find(part.segment.id(int(row)))
        hits = nearest(snapshot, Asked(vectors[row : row + 1], 10, exclude=own))
        cosines = np.where(part.live, vectors @ vectors[row], -2)
        cosines[row] = -2
        shares.append(sum(hit.similarity >= np.sort(cosines)[-10] - 2e-6 for hit in hits) / 10)
    assert np.mean(shares) >= TARGET


def test_with_four_percent_deleted_nothing_is_measured_and_the_contract_stays(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_try("hnsw", monkeypatch)
    place = Place(tmp_path)
    place.run(ROWS)
    entry, contract = entry_of(place), place.snapshot.generation.contract
    report = place.run(ROWS[28:])
    assert (report.published, report.segments.measured_again) == (True, ())
    assert report.seconds["measure"] < 0.001
    assert (entry_of(place), place.snapshot.generation.contract) == (entry, contract)


def test_what_counts_is_the_change_since_the_last_measurement(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_try("pq", monkeypatch)
    place = Place(tmp_path)
    place.run(ROWS)
    seen = []
    for gone in (20, 42, 60, 68, 84):
        place.run(ROWS[gone:])
        seen.append((entry_of(place).gone, entry_of(place).measured_in))
    assert seen == [(0, None), (42, 3), (42, 3), (42, 3), (84, 6)]
    assert not place.run().published


@pytest.mark.parametrize("kind", ["pq", "hnsw"])
def test_replaced_items_count_as_changed_and_their_new_versions_are_asked_with(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, asked: list[Measuring], kind: Kind
) -> None:
    first_try(kind, monkeypatch)
    monkeypatch.setattr(intake, "plan_merge", lambda *sizes: [])
    place = Place(tmp_path)
    place.run(ROWS)
    rows = changed(ROWS, 30)
    assert place.run(rows).segments.measured_again == ()
    assert len(place.run(changed(ROWS, 60)).segments.measured_again) == 1
    ((_, _, queries),) = asked
    known = stand_in.embed_query([row["text"] for row in rows[:30]])
    assert {row.tobytes() for row in queries.vectors[:30]} == {row.tobytes() for row in known}
    assert (len(queries.vectors), (queries.own[:30] == -1).all()) == (ASKED, True)
    part = place.snapshot.segments[0]
    vectors = np.array(part.segment.vectors)[part.live]
    assert {row.tobytes() for row in queries.vectors[30:]} <= {row.tobytes() for row in vectors}


@pytest.mark.parametrize("kind", ["hnsw", "pq"])
def test_where_too_little_is_found_the_segment_gets_a_new_index(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    def too_few(index: AnnIndex, passages: Passages, queries: Queries) -> tuple[Rung, ...]:
        bad = Figure(0.9, 0.89, 0.94)
        return tuple(replace(rung, figure=bad) for rung in measured(index, passages, queries))

    first_try(kind, monkeypatch)
    monkeypatch.setattr(again, "measured", too_few)
    place = Place(tmp_path)
    place.run(ROWS)
    stand_in.asked.clear()
    report = place.run(ROWS[42:])
    (merged,) = report.segments.merged
    assert merged.reason == "its index finds less than 0.95 of what is nearest, now that 42 of its 700 items are gone"
    assert (merged.passages, report.segments.after, stand_in.asked) == (658, 1, [])
    after = entry_of(place)
    assert (after.gone, after.measured_in, after.finds(TARGET)) == (0, None, True)
    assert contents(place.store).keys() == {row["id"] for row in ROWS[42:]}
    assert verify(place.snapshot.folder).damages == []
    assert_tidy(place.store)
    assert not place.run().published


def test_report_status_and_http_say_that_it_was_measured_again(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from indexer import printing

    first_try("pq", monkeypatch)
    place = Place(tmp_path)
    place.run(ROWS)
    status = ["status", "--store", str(place.store)]
    assert "measured again" not in CliRunner().invoke(main, status).output
    report = place.run(ROWS[42:])
    segment = place.snapshot.generation.segments[0].id
    assert f"  measured again {segment}: 42 of the 700 items" in printing.report(report)
    assert "  1 index measured again as items went, last for generation 2" in CliRunner().invoke(main, status).output
    (index,) = orjson.loads(orjson.dumps(describe(place.snapshot.generation)["recall"]))["indexes"]
    assert (index["gone"], index["measured_in"], index["queries"]) == (42, 2, ASKED)


def test_a_manifest_of_before_still_opens_and_its_index_is_measured_when_it_is_due(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_try("pq", monkeypatch)
    place = Place(tmp_path)
    place.run(ROWS)
    path = generations.manifest_path(place.snapshot.folder, 1)
    manifest = orjson.loads(path.read_bytes())
    for later in ("gone", "measured_in"):
        del manifest["generation"]["segments"][0]["index"][later]
    manifest["sha256"] = generations._digest(manifest["generation"])
    path.unlink()
    path.write_bytes(orjson.dumps(manifest))
    assert (entry_of(place).gone, entry_of(place).measured_in) == (0, None)
    place.run(ROWS[42:])
    assert (entry_of(place).gone, entry_of(place).measured_in) == (42, 2)


HALF = (Rung(10, 16, Figure(0.5, 0.5, 0.5), Figure(0.5, 0.5, 0.5)), Rung(100, 128, *2 * (Figure(0.9, 0.9, 0.9),)))


@pytest.mark.parametrize(
    ("index", "gone", "target", "due"),
    [
        (IndexEntry("pq", ""), 50, 0.95, False),
        (IndexEntry("pq", ""), 51, 0.95, True),
        (IndexEntry("pq", "", gone=100), 145, 0.95, False),
        (IndexEntry("pq", "", gone=100), 146, 0.95, True),
        (IndexEntry("hnsw", ""), 900, None, False),
        (IndexEntry("exact", ""), 900, 0.95, False),
        (None, 900, 0.95, False),
    ],
)
def test_when_an_index_is_measured_again(index: IndexEntry | None, gone: int, target: float | None, due: bool) -> None:
    reason = why_again(SegmentEntry("s", 1000, 1000, 8, {}, index), gone, target)
    assert (reason is not None) == due


@pytest.mark.parametrize(
    ("index", "target", "folded"),
    [
        (IndexEntry("pq", "", ladder=HALF), 0.5, False),
        (IndexEntry("pq", "", ladder=HALF), 0.6, True),
        (IndexEntry("pq", "", ladder=HALF[:1]), 0.4, False),
        (IndexEntry("pq", "", ladder=HALF[1:]), 0.4, True),
        (IndexEntry("exact", ""), 0.6, False),
        (None, 0.6, False),
    ],
)
def test_when_an_index_no_longer_suits(index: IndexEntry | None, target: float, folded: bool) -> None:
    assert (too_little(SegmentEntry("s", 1000, 1000, 8, {}, index), target) is not None) == folded
