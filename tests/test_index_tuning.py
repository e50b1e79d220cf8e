"""Are an index's figures those of what a search finds, though no walk is walked twice for them?

The judge is numpy, and the index asked for each effort, limit and filter by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from indexes import KINDS, clustered
from support import random_vectors

from indexer.ann import AnnIndex, Figure, Kind, Passages, kinds, nearest, plan, propose, tuning
from indexer.ann.ladder import figure
from indexer.ann.opened import Mask
from indexer.ann.passages import Queries
from indexer.ann.trial_filters import SECTIONS, SHARES, drawn, sections, trial_filters
from indexer.ann.tuning import measured, to_fetch
from indexer.ann.ways import quick_way
from indexer.vectors import normalise

DIMENSION = 64
Built = tuple[AnnIndex, Passages, Queries]


def built(kind: Kind, several: bool) -> Built:
    rng = np.random.default_rng(3)
    vectors = clustered(rng, 4000, DIMENSION) if kind == "pq" else normalise(rng.standard_normal((4000, DIMENSION)))
    items = np.sort(rng.integers(1500, size=4000)) if several else None
    items = None if items is None else np.unique(items, return_inverse=True)[1].astype(np.uint32)
    known, held = Passages(vectors, items).held_out()
    index = kinds.empty(kind, DIMENSION)
    kinds.train(index, known.vectors)
    index.add(np.ascontiguousarray(known.vectors))
    return AnnIndex(index, kind), known, Queries(held.vectors[:100], held.own[:100])


@pytest.fixture(scope="module", params=[(kind, several) for kind in KINDS for several in (False, True)], ids=str)
def one(request: pytest.FixtureRequest) -> Built:
    return built(*request.param)


def cosines_of(passages: Passages, queries: Queries, passing: Mask | None) -> Any:
    """(queries, items): the similarity of each item's best passage, -2 of an item that does not count."""
    every = queries.vectors @ passages.vectors.T
    if passages.items is not None:
        every = np.maximum.reduceat(every, np.searchsorted(passages.items, np.arange(passages.item_count)), axis=1)
    if passing is not None:
        every = np.where(passing, every, -2)
    every[np.flatnonzero(queries.own >= 0), queries.own[queries.own >= 0]] = -2
    return every


def found(one: Built, limit: int, effort: int, passing: Mask | None) -> Figure:
    """What a search with that effort finds, as it asks the index."""
    index, passages, queries = one
    mask = passages.mask(passing)
    rows = len(passages.vectors) if mask is None else int(mask.sum())
    fetch = to_fetch(limit, passages.an_item)
    way = quick_way if passing is None else plan
    how = way(index.kind, len(passages.vectors), rows, DIMENSION, fetch, effort)
    assert how is not None
    cosines = cosines_of(passages, queries, passing)
    proposed = propose(index, passages.vectors, queries.vectors, how, mask, rows)
    shares = []
    for scores, some, query in zip(cosines, proposed.rows, queries.vectors, strict=True):
        folded = np.full(len(scores), -2.0)
        some = some[some >= 0]
        np.maximum.at(folded, passages.items_of(some), passages.vectors[some] @ query)
        best = np.sort(folded[folded > -2])[::-1][:limit]
        least = np.sort(scores)[-limit] - 2e-6
        shares.append((best >= least).sum() / limit if len(best) == limit and not how.exact else 1.0)
    return figure(shares)


def test_each_figure_is_what_a_search_with_that_effort_finds(one: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "AT_ONCE", 32)  # so that the queries are compared in several goes
    index, passages, _ = one
    ties = 0.01 if index.kind == "pq" else 2e-4  # which of codes that are as near come first is FAISS's own choice
    tried: Counter[int] = Counter()
    for rung in measured(*one):
        if rung.figure.low < tuning.NEARLY:
            expected = found(one, rung.limit, rung.effort, None)
            assert rung.figure.recall == pytest.approx(expected.recall, abs=ties)
            assert rung.figure.low == pytest.approx(expected.low, abs=2 * ties)
            tried[rung.limit] += 1
        worst = min(found(one, rung.limit, rung.effort, mask).recall for mask in trial_filters(passages, index.kind))
        assert rung.filtered.recall == pytest.approx(worst, abs=ties) or rung.filtered.low >= tuning.NEARLY
    assert tried.total() > 1, "it is so easy that nothing was compared"


def test_an_index_is_asked_for_nothing_twice(one: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "AT_ONCE", len(one[2].vectors))
    index, asked = one[0], Counter[Any]()
    search = AnnIndex.search

    def noted(self: AnnIndex, queries: Any, k: int, effort: int, mask: Mask | None = None) -> Any:
        asked[effort if index.walks else (k, None if mask is None else mask.tobytes())] += 1
        return search(self, queries, k, effort, mask)

    monkeypatch.setattr(AnnIndex, "search", noted)
    rungs = len(measured(*one))
    assert set(asked.values()) == {1}
    assert len(asked) < (1 + len(trial_filters(one[1], index.kind))) * rungs / 2


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("block", [64, 8192])
def test_what_is_nearest_is_what_numpy_has(monkeypatch: pytest.MonkeyPatch, several: bool, block: int) -> None:
    monkeypatch.setattr(nearest, "BLOCK_SCORES", 40 * block)
    rng = np.random.default_rng(4)
    vectors = clustered(rng, 2000)
    items = np.sort(np.concatenate([np.arange(900), rng.integers(900, size=1100)])).astype(np.uint32)
    passages = Passages(vectors, items if several else None)
    own = np.concatenate([np.full(20, -1), np.arange(20) * 40])
    queries = Queries(np.concatenate([clustered(rng, 20), vectors[:20]]), own)
    few = np.zeros(passages.item_count, dtype=np.bool_)
    few[::31] = True
    half, nothing = rng.random(passages.item_count) < 1 / 2, np.zeros(passages.item_count, dtype=np.bool_)
    masks = [None, half, few, nothing]
    for mask, best in zip(masks, nearest.nearest(passages, queries, masks, 50), strict=True):
        expected = -np.sort(-cosines_of(passages, queries, mask), axis=1)[:, :50]
        np.testing.assert_allclose(best, np.where(expected == -2, -np.inf, expected), atol=1e-6)


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize(("filters", "shares"), [(drawn, SHARES), (sections, SECTIONS)], ids=["drawn", "sections"])
def test_filters_pass_the_share_that_they_are_for_each_within_the_one_before(
    deleted: bool, filters: Callable[[Passages], list[Mask]], shares: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(5)
    items = np.sort(np.concatenate([np.arange(3000), rng.integers(3000, size=5000)])).astype(np.uint32)
    live = rng.random(3000) < 0.7 if deleted else None
    passages = Passages(random_vectors(rng, 8000, 8), items, live)
    counted = 8000 if live is None else int(live[items].sum())
    before = np.ones(3000, dtype=np.bool_) if live is None else live
    for share, mask in zip(shares, filters(passages), strict=True):
        assert share * counted <= mask[items].sum() < share * counted + passages.sizes.max()
        assert not (mask & ~before).any()
        before = mask


def test_what_a_section_lets_pass_is_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two clusters, one is a half."""
    monkeypatch.setattr("indexer.ann.trial_filters.BLOCK", 100)
    rng = np.random.default_rng(6)
    centres = random_vectors(rng, 2, 32)
    which = rng.permutation(np.arange(2000) % 2)
    passages = Passages(normalise(centres[which] + 0.05 * random_vectors(rng, 2000, 32)))
    half, quarter = sections(passages)
    (passing,) = set(which[half])
    assert half.sum() == 1000
    assert set(which[quarter]) == {passing}


def test_an_index_is_tried_with_sections_where_codes_tell_the_nearest() -> None:
    passages = Passages(random_vectors(np.random.default_rng(7), 600, 16))
    counts = {kind: len(trial_filters(passages, kind)) for kind in KINDS}
    assert counts == {kind: len(SHARES) + (len(SECTIONS) if kind == "pq" else 0) for kind in KINDS}


@pytest.mark.parametrize(
    ("figures", "settled"),
    [
        ([], False),
        ([(16, 0.98)], False),
        ([(16, 1.0)], True),
        ([(16, 0.996)], False),
        ([(16, 0.996), (24, 0.996)], False),
        ([(16, 0.996), (24, 0.997), (32, 0.996)], True),
        ([(16, 0.996), (24, 0.996), (32, 0.9965)], False),
        ([(16, 0.9961), (24, 0.9961), (32, 0.9965)], True),
        ([(16, 0.996), (24, 0.9965), (32, 0.9965), (48, 0.9965)], True),
        ([(16, 0.98), (32, 0.98), (64, 0.98)], False),
    ],
)
def test_it_is_looked_for_harder_until_enough_is_found_or_nearly_and_no_more(
    figures: list[tuple[int, float]], settled: bool
) -> None:
    low = {recall: recall if recall == 1.0 else recall - 0.004 for _, recall in figures}
    seen = [(effort, Figure(recall, low[recall], 1.0)) for effort, recall in figures]
    assert tuning._settled(seen) == settled


@pytest.mark.parametrize(
    ("items", "asked"), [(100, 20), (2_000, 400), (240_000, 400), (600_000, 1000), (3_000_000, 1500)]
)
def test_the_larger_an_index_the_more_items_are_held_out_of_it_to_measure_it(items: int, asked: int) -> None:
    known, queries = Passages(np.zeros((items, 1), dtype=np.float32)).held_out()
    assert (len(known.vectors), len(queries.vectors)) == (items - asked, asked)
