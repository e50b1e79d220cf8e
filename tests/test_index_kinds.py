"""Does a search find what the collection promises, whatever the kind of its index?

The judge is numpy. Indexes are built far below the size from which on they are worth it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indexes import KINDS, Judge, clustered, first_try, members
from support import publish_items

from indexer import filters
from indexer.ann import AnnIndex, IndexEntry, Kind, Passages, Plan, effort_for, plan, propose, to_fetch
from indexer.ann import kinds as ann_kinds
from indexer.ann.opened import EFFORTS_KEPT
from indexer.ann.passages import Queries
from indexer.ann.tuning import measured
from indexer.items import FieldType
from indexer.search import Asked, nearest
from indexer.segment import Prepared
from indexer.snapshot import Snapshot
from indexer.together import nearest_each
from indexer.vectors import normalise

SCHEMA = {"n": FieldType.INTEGER, "group": FieldType.INTEGER}
TARGET = 0.95
DEAD = 9
"""The last digit of the number of an item that is deleted."""

FILTERS: dict[str, tuple[Any, Any]] = {
    "none": (None, lambda m: True),
    "most": ({"group": {"$ne": 3}}, lambda m: m["group"] != 3),
    "half": ({"group": {"$lt": 5}}, lambda m: m["group"] < 5),
    "a tenth": ({"group": 3}, lambda m: m["group"] == 3),
    "seven": ({"n": {"$lt": 7}}, lambda m: m["n"] < 7),
    "nothing": ({"n": {"$lt": 0}}, lambda m: False),
}


class Collection:
    """Two segments with an index each, of items of which some are deleted."""

    def __init__(self, store: Path, kind: Kind, most: int) -> None:
        rng = np.random.default_rng(7)
        self.segments = [members(rng, 1500, most), members(rng, 700, most, first=1500)]
        deleted = [p.item.id for segment in self.segments for p in segment if self.dead(p)]
        self.snapshot: Snapshot = publish_items(store, self.segments, deleted, SCHEMA, recall=TARGET)
        assert [entry.index.kind for entry in self.snapshot.generation.segments if entry.index] == [kind, kind]
        self.judge = Judge([one for segment in self.segments for one in segment])
        self.queries = [p.vectors[:1] for segment in self.segments for p in segment[::22]]

    @staticmethod
    def dead(item: Prepared) -> bool:
        return bool(item.item.metadata["n"] % 10 == DEAD)


@pytest.fixture(
    scope="module", params=[(kind, most) for kind in KINDS for most in (1, 3)], ids=lambda p: f"{p[0]}-{p[1]}"
)
def collection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    kind, most = request.param
    with pytest.MonkeyPatch.context() as patch:
        first_try(kind, patch)
        return Collection(tmp_path_factory.mktemp("store"), kind, most)


def test_with_any_filter_as_much_is_found_as_promised_and_never_fewer_than_there_are(collection: Collection) -> None:
    for name, (raw, passes) in FILTERS.items():
        tree = None if raw is None else filters.parse(raw, SCHEMA)
        for limit in (10, 100):
            shares = []
            for query in collection.queries[:40]:
                hits = nearest(collection.snapshot, Asked(query, limit, filter=tree))
                every = collection.judge.expected(
                    query, lambda p, passes=passes: passes(p.item.metadata) and not Collection.dead(p)
                )
                expected = every[:limit]
                assert len(hits) == len(expected), f"{name}: there are more"
                found = [(hit.segment.id(hit.row), hit.similarity) for hit in hits]
                assert found == sorted(found, key=lambda hit: (-hit[1], hit[0]))
                every_one = dict(every)
                assert all(every_one[id] == similarity for id, similarity in found), "a similarity is not exact"
                shares.append(sum(one >= expected[-1][1] for _, one in found) / len(expected) if expected else 1.0)
            assert np.mean(shares) >= TARGET, f"{name}, {limit}: {np.mean(shares)}"


def test_an_exact_search_finds_all_and_so_does_one_for_more_than_was_measured(collection: Collection) -> None:
    for query in collection.queries[:20]:
        every = collection.judge.expected(query, lambda p: not Collection.dead(p))
        for asked in (Asked(query, 10, exact=True), Asked(query, 150)):
            found = [(hit.segment.id(hit.row), hit.similarity) for hit in nearest(collection.snapshot, asked)]
            assert found == every[: asked.count]


def test_queries_together_find_what_each_finds_and_the_same_every_time(collection: Collection) -> None:
    tree = filters.parse({"group": 3}, SCHEMA)
    asked = [Asked(query, 10) for query in collection.queries[:40]]
    asked += [Asked(collection.queries[0], 5, filter=tree), Asked(np.concatenate(collection.queries[:3]), 10)]
    alone = [nearest(collection.snapshot, one) for one in asked]
    assert nearest_each(collection.snapshot, asked) == alone
    assert [nearest(collection.snapshot, one) for one in asked] == alone


def test_the_item_itself_is_left_out_and_no_hit_is_lost_for_it(collection: Collection) -> None:
    for segment in collection.segments:
        for item in segment[:50:7]:
            if Collection.dead(item):
                continue
            own = collection.snapshot.find(item.item.id)
            hits = nearest(collection.snapshot, Asked(item.vectors[:1], 10, exclude=own))
            assert len(hits) == 10
            assert item.item.id not in {hit.segment.id(hit.row) for hit in hits}


@pytest.fixture(scope="module")
def hard() -> tuple[AnnIndex, Passages, Queries, IndexEntry]:
    """Clusters are so small that of the ten nearest that pass most are of others, which are hard to tell apart."""
    rng = np.random.default_rng(5)
    clusters = np.repeat(normalise(rng.standard_normal((300, 192))), 40, axis=0)
    vectors = normalise(clusters + 0.9 * normalise(rng.standard_normal(clusters.shape)))
    rng.shuffle(vectors)
    known, queries = Passages(vectors).held_out()
    made = ann_kinds.empty("pq", 192)
    ann_kinds.train(made, known.vectors)
    made.add(np.ascontiguousarray(known.vectors))
    index = AnnIndex(made, "pq")
    return index, known, queries, IndexEntry("pq", "", TARGET, ladder=measured(index, known, queries))


@pytest.mark.parametrize(("share", "way"), [(1 / 2, "codes"), (1 / 5, "codes"), (1 / 8, "codes"), (1 / 12, "gather")])
def test_what_few_of_the_items_leave_is_looked_for_harder_for_it_lies_far_from_the_query(
    hard: tuple[AnnIndex, Passages, Queries, IndexEntry], share: float, way: str
) -> None:
    index, known, queries, entry = hard
    mask = np.random.default_rng(6).random(len(known.vectors)) < share
    passing, fetch = int(mask.sum()), to_fetch(10, 1)
    cosines = np.where(mask, queries.vectors @ known.vectors.T, -2)
    least = np.sort(cosines, axis=1)[:, -10, None] - 2e-6

    def found(how: Plan) -> float:
        rows = propose(index, known.vectors, queries.vectors, how, mask, passing).rows
        near = (np.take_along_axis(cosines, rows, axis=1) >= least) & (rows >= 0)
        return float(np.minimum(near.sum(axis=1), 10).mean() / 10)

    plain, filtered = (
        plan("pq", len(mask), passing, 192, fetch, effort_for(entry, 10, TARGET, f)) for f in (False, True)
    )
    assert filtered.way == way
    assert found(filtered) >= TARGET - 0.01
    assert share != 1 / 8 or found(plain) < TARGET - 0.05


@pytest.mark.parametrize("kind", ["hnsw", "hnsw-sq8"])
def test_whichever_efforts_a_graph_is_asked_for_it_remembers_few_of_them_and_finds_the_same(kind: Kind) -> None:
    vectors = clustered(np.random.default_rng(8), 1500)
    made = ann_kinds.empty(kind, vectors.shape[1])
    ann_kinds.train(made, vectors)
    made.add(vectors)
    index = AnnIndex(made, kind)
    for effort in (*range(1, 2 * EFFORTS_KEPT), 1, 40):
        found = index.search(vectors[:3], 5, effort)
        assert len(index._parameters) <= EFFORTS_KEPT
        if effort in (1, 40):
            expected = AnnIndex(made, kind).search(vectors[:3], 5, effort)
            assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
