"""Does a collection find as much as was asked for, say so, and never fail to be published for it?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from indexes import KINDS, Judge, clustered, first_try, members
from service_support import until
from starlette.testclient import TestClient
from support import NAME, Place, StandIn, assert_tidy, prepared, publish_items, random_vectors

from indexer import intake
from indexer.ann import AnnIndex, Figure, Kind, Passages, building
from indexer.ann.ladder import Rung
from indexer.ann.passages import Queries
from indexer.ann.tuning import measured
from indexer.config import CollectionSettings
from indexer.describe import describe
from indexer.search import Asked, nearest
from indexer.stages import Progress
from indexer.verify import verify
from service.app import App
from service.cli import main
from service.served import Collections

ROWS = [{"id": f"i{n}", "text": f"This is text {n}, unlike the others.", "n": n} for n in range(700)]


def index_of(place: Place, segment: int = -1) -> Any:
    entry = place.snapshot.generation.segments[segment].index
    assert entry is not None
    return entry


@pytest.mark.parametrize("kind", KINDS)
def test_figure_effort_and_interval_stand_in_the_manifest_in_status_and_over_http(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    first_try(kind, monkeypatch)
    place = Place(tmp_path)
    place.run(ROWS)
    manifest = json.loads((place.snapshot.folder.generations / "000001.json").read_bytes())["generation"]
    (segment,) = manifest["segments"]
    assert (segment["index"]["kind"], segment["index"]["target"], segment["index"]["queries"]) == (kind, 0.95, 120)
    assert {rung["limit"] for rung in segment["index"]["ladder"]} == {10, 100}
    told = orjson.loads(orjson.dumps(describe(place.snapshot.generation)["recall"]))
    assert (told["target"], told["exact"]) == (0.95, False)
    for one in told["measured"]:
        assert 0.95 <= one["low"] <= one["recall"] <= one["high"] <= 1
        assert 0.95 <= one["filtered_low"] <= one["filtered"] <= one["filtered_high"] <= 1
    (index,) = told["indexes"]
    assert (index["kind"], index["passages"], index["queries"], bool(index["reason"])) == (kind, 700, 120, True)
    assert all(effort >= 14 for effort in index["efforts"].values())
    lines = CliRunner().invoke(main, ["status", "--store", str(place.store)]).output
    assert f"recall {told['measured'][0]['recall']:.3f} (" in lines
    for one in told["measured"]:
        assert f"  recall at {one['limit']}: {one['recall']:.3f} (" in lines
        assert f"with a filter {one['filtered']:.3f} ({one['filtered_low']:.3f} to {one['filtered_high']:.3f})" in lines
    efforts = " and ".join(f"{effort} at {limit}" for limit, effort in index["efforts"].items())
    assert f"  {kind} index: {index['reason']}; effort {efforts}, with a filter " in lines
    with TestClient(App(Collections(place.store))) as client:
        until(lambda: client.get("/readyz").status_code == 200, "the first look")
        assert client.get(f"/v1/collections/{NAME}").json()["recall"] == told


def test_a_small_collection_is_exact_and_says_so(tmp_path: Path, stand_in: StandIn) -> None:
    place = Place(tmp_path)
    place.run(ROWS[:5])
    told = describe(place.snapshot.generation)["recall"]
    assert (told["target"], told["exact"], told["measured"]) == (0.95, True, [])
    assert [index["kind"] for index in told["indexes"]] == ["exact"]


def test_where_an_index_finds_too_little_a_better_one_is_built(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Kind] = []
    bad: set[Kind] = {"hnsw"}

    def found(index: AnnIndex, passages: Passages, queries: Queries, progress: Progress) -> tuple[Rung, ...]:
        tried.append(index.kind)
        ladder = measured(index, passages, queries, progress)
        too_little = Figure(0.9, 0.89, 0.94)
        bad_ones = (replace(rung, figure=too_little) for rung in ladder)
        return tuple(bad_ones) if index.kind in bad else ladder

    first_try("hnsw", monkeypatch)
    monkeypatch.setattr(building, "measured", found)
    place = Place(tmp_path)
    place.run(ROWS)
    assert (tried, index_of(place).kind, index_of(place).reason) == (["hnsw", "pq"], "pq", "hnsw found too little")
    bad.add("pq")
    assert place.run(rebuild=True).published
    assert (tried[2:], index_of(place).kind) == (["hnsw", "pq"], "exact")
    assert describe(place.snapshot.generation)["recall"]["exact"]


def test_an_index_that_finds_the_ten_nearest_is_kept_and_a_hundred_are_searched_exactly(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(index: AnnIndex, passages: Passages, queries: Queries, progress: Progress) -> tuple[Rung, ...]:
        ladder = measured(index, passages, queries, progress)
        too_little = Figure(0.9, 0.89, 0.94)
        return tuple(rung if rung.limit == 10 else replace(rung, figure=too_little) for rung in ladder)

    first_try("pq", monkeypatch)
    monkeypatch.setattr(building, "measured", found)
    place = Place(tmp_path)
    place.run(ROWS)
    told = describe(place.snapshot.generation)["recall"]
    assert [one["limit"] for one in told["measured"]] == [10]
    (index,) = told["indexes"]
    assert (index["kind"], index["efforts"]["100"], index["filtered_efforts"]["100"]) == ("pq", None, None)
    assert index["efforts"]["10"] is not None
    (part,) = place.snapshot.segments
    vectors = np.array(part.segment.vectors)
    for query in vectors[::50]:
        hits = nearest(place.snapshot, Asked(query[None], 100))
        assert hits[-1].similarity == pytest.approx(np.sort(vectors @ query)[-100], abs=2e-6)


@pytest.mark.parametrize(("alike", "kinds"), [(True, {"pq", "exact"}), (False, {"hnsw"})])
def test_no_graph_is_built_of_many_vectors_whose_directions_are_all_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alike: bool, kinds: set[Kind]
) -> None:
    first_try("hnsw", monkeypatch)
    monkeypatch.setattr(building, "SAMPLED_FROM", 1000)
    rng = np.random.default_rng(0)
    vectors = random_vectors(rng, 4200, 384) if alike else clustered(rng, 4200, 384)
    items = [prepared(f"{at}", vectors[at : at + 1]) for at in range(4200)]
    (entry,) = publish_items(tmp_path, [items], recall=0.95).generation.segments
    assert entry.index is not None
    assert entry.index.kind in kinds


def test_the_whole_promises_what_its_worst_index_finds(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_try("pq", monkeypatch)
    monkeypatch.setattr(intake, "plan_merge", lambda *sizes: [])
    place = Place(tmp_path)
    place.run(ROWS[:300])
    place.run(ROWS)
    generation = place.snapshot.generation
    assert generation.contract is not None
    entries = [entry.index for entry in generation.segments if entry.index]
    assert len(entries) == 2
    for whole in generation.contract.wholes:
        plain, filtered = ([entry.rung(whole.limit, 0.95, with_one) for entry in entries] for with_one in (False, True))
        assert whole.figure.recall == min(rung.figure.recall for rung in plain if rung)
        assert whole.filtered.recall == min(rung.filtered.recall for rung in filtered if rung)


def test_another_recall_is_published_by_itself_and_holds(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_try("pq", monkeypatch)
    place = Place(tmp_path)
    place.run(ROWS)
    report = place.run(recall=0.99)
    assert (report.published, report.reason, report.passages.embedded) == (True, "another recall is asked for", 0)
    told = describe(place.snapshot.generation)["recall"]
    assert (told["target"], min(one["low"] for one in told["measured"]) >= 0.99) == (0.99, True)
    assert not place.run(recall=0.99).published
    assert place.run(recall="exact").published
    assert describe(place.snapshot.generation)["recall"]["exact"]


@pytest.mark.parametrize("recall", [0, 1, 1.5, -1, "all", "Exact", True, float("nan"), None])
def test_a_recall_that_cannot_be_is_refused(recall: Any) -> None:
    with pytest.raises(ValueError, match='recall\n  It is a number between 0 and 1, or "exact"'):
        CollectionSettings(source=("x",), recall=recall)


def test_a_request_may_ask_for_more_or_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first_try("pq", monkeypatch)
    items = members(np.random.default_rng(3), 2500)
    snapshot, judge = publish_items(tmp_path, [items], recall=0.5), Judge(items)

    def share(**asked: Any) -> float:
        shares = []
        for item in items[::20]:
            expected = judge.expected(item.vectors, lambda _: True)[:10]
            found = nearest(snapshot, Asked(item.vectors, 10, **asked))
            shares.append(sum(hit.similarity >= expected[-1][1] for hit in found) / 10)
        return float(np.mean(shares))

    plain, more, every = share(), share(recall=0.98), share(exact=True)
    assert 0.5 <= plain < 0.98 <= more
    assert every == 1
    assert share(recall=0.2) == plain


def test_a_run_that_is_killed_while_it_builds_an_index_leaves_what_was_and_the_next_goes_through(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    place.run(ROWS[:5])
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from support import Place, StandIn
import pytest
from indexes import first_try
from indexer import models
from indexer.ann import building
model = StandIn()
models.identify, models.load = (lambda *_: model.fingerprint), (lambda *_: model)
first_try("hnsw", pytest.MonkeyPatch())
building.let_go = lambda vectors: os.kill(os.getpid(), signal.SIGKILL)
import json
Place(Path({str(tmp_path)!r})).run(json.loads({json.dumps(ROWS)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (place.numbers, place.snapshot.generation.counts.items) == ([1], 5)
    first_try("hnsw", monkeypatch)
    place.run(ROWS)
    assert (place.snapshot.generation.counts.items, index_of(place).kind) == (700, "hnsw")
    assert verify(place.snapshot.folder).damages == []
    assert_tidy(place.store)
