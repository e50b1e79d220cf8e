"""Which index, which way of searching, which effort: are the decisions what was measured, and do they say why?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from indexer.ann import Choice, Figure, IndexEntry, Kind, choose, effort_for, plan, to_fetch
from indexer.ann.choice import in_turn
from indexer.ann.ladder import Rung

PLENTY = 1 << 40


@pytest.mark.parametrize(
    ("count", "dimension", "budget", "recall", "kind"),
    [
        (0, 384, PLENTY, 0.95, "exact"),
        (3_000, 384, PLENTY, 0.95, "exact"),
        (10_000, 384, PLENTY, 0.95, "pq"),
        (19_999, 384, PLENTY, 0.95, "pq"),
        (20_000, 384, PLENTY, 0.95, "hnsw"),
        (39_999, 384, PLENTY, 0.99, "pq"),
        (40_000, 384, PLENTY, 0.99, "hnsw"),
        (699_050, 384, PLENTY, 0.99, "hnsw"),
        (175_000, 384, PLENTY, None, "exact"),
        (262_144, 256, int(0.8 * 262_144 * 1024), 0.95, "hnsw"),
        (262_144, 256, int(0.6 * 262_144 * 1024), 0.95, "hnsw-sq8"),
        (262_144, 256, int(0.4 * 262_144 * 1024), 0.95, "pq"),
        (262_144, 384, int(0.8 * 262_144 * 1536), 0.95, "hnsw"),
        (262_144, 384, int(0.6 * 262_144 * 1536), 0.95, "hnsw-sq8"),
        (262_144, 384, int(0.4 * 262_144 * 1536), 0.95, "pq"),
        (262_144, 384, int(0.4 * 262_144 * 1536), None, "exact"),
        (3_000, 384, 0, 0.95, "exact"),
        (200_000, 100, 1000, 0.95, "exact"),
        (200_000, 100, PLENTY, 0.99, "hnsw"),
        (600_000, 100, PLENTY, 0.99, "hnsw"),
    ],
)
def test_the_kind_of_an_index(count: int, dimension: int, budget: int, recall: float | None, kind: Kind) -> None:
    choice = choose(count, dimension, budget, recall)
    assert (choice.kind, bool(choice.reason)) == (kind, True)


@pytest.mark.parametrize(
    ("dimension", "budget", "reason"),
    [
        (384, 300_000_000, "200,000 vectors are many, and a graph over them takes 208,000,000 bytes"),
        (384, 207_999_999, "of graphs over 200,000 vectors, one of 8-bit codes is within the memory budget of"),
        (
            384,
            1_000,
            "any graph over 200,000 vectors takes more than the memory budget of 1,000 bytes, and this 11,200,",
        ),
        (100, 1_000, "100 dimensions allow no 4-bit codes; any graph over 200,000 vectors takes more than the memory "),
    ],
)
def test_the_reason_names_the_budget_where_it_decides(dimension: int, budget: int, reason: str) -> None:
    assert choose(200_000, dimension, budget, 0.95).reason.startswith(reason)


@pytest.mark.parametrize(
    ("first", "dimension", "kinds"),
    [
        ("exact", 384, ["exact"]),
        ("pq", 384, ["pq", "exact"]),
        ("hnsw", 384, ["hnsw", "pq", "exact"]),
        ("hnsw-sq8", 100, ["hnsw-sq8", "exact"]),
    ],
)
def test_what_is_built_where_the_first_finds_too_little(first: Kind, dimension: int, kinds: list[Kind]) -> None:
    assert [choice.kind for choice in in_turn(Choice(first, ""), dimension)] == kinds


@pytest.mark.parametrize(
    ("kind", "passing", "effort", "way"),
    [
        ("exact", 100_000, None, "scan"),
        ("exact", 90_000, None, "wide scan"),
        ("exact", 30_000, None, "scan"),
        ("exact", 500, None, "gather"),
        ("exact", 0, None, "gather"),
        ("pq", 100_000, 64, "codes"),
        ("pq", 50_000, 64, "codes"),
        ("pq", 100, 64, "gather"),
        ("pq", 100_000, None, "product"),
        ("pq", 1_000, None, "gather"),
        ("hnsw", 100_000, 64, "walk"),
        ("hnsw", 50_000, 64, "walk"),
        ("hnsw", 300, 64, "gather"),
        ("hnsw", 100_000, None, "scan"),
        ("hnsw-sq8", 100_000, 64, "walk"),
        ("hnsw-sq8", 100_000, None, "product"),
    ],
)
def test_the_way_of_searching_a_hundred_thousand_rows_of_which_some_pass(
    kind: Kind, passing: int, effort: int | None, way: str
) -> None:
    chosen = plan(kind, 100_000, passing, 384, 14, effort)
    assert (chosen.way, bool(chosen.reason)) == (way, True)
    assert chosen.exact == (way not in ("walk", "codes"))
    assert chosen.exact or chosen.effort >= (effort or 0)


def test_many_queries_together_read_the_vectors_once() -> None:
    assert plan("exact", 100_000, 100_000, 384, 40, None, 1).way == "scan"
    assert plan("exact", 100_000, 100_000, 384, 40, None, 32).way == "product"
    assert plan("hnsw", 100_000, 10_000, 384, 40, 64, 1).way == "scan"
    assert plan("hnsw", 100_000, 10_000, 384, 40, 64, 32).way == "gather"


def test_codes_that_are_at_hand_are_scanned_unless_a_walk_is_quicker() -> None:
    assert plan("hnsw", 100_000, 10_000, 384, 40, 64, 1, kept=True).way == "kept"
    assert plan("pq", 100_000, 10_000, 384, 40, 64, 1, kept=True).way == "kept"
    assert plan("pq", 100_000, 20_000, 384, 40, 64, 1, kept=True).way == "codes"
    assert plan("hnsw", 100_000, 50_000, 384, 40, 64, 1, kept=True).way == "walk"
    assert plan("hnsw", 100_000, 0, 384, 40, 64, 1, kept=True).fetch == 0


def test_the_effort_is_the_cheapest_that_surely_finds_enough() -> None:
    ladder = tuple(
        Rung(limit, effort, Figure(recall, recall - 0.01, recall + 0.005), Figure(1.0, 1.0, 1.0))
        for limit, effort, recall in [(10, 16, 0.93), (10, 32, 0.955), (10, 64, 0.98), (100, 128, 0.97)]
    )
    entry = IndexEntry("hnsw", "", 0.95, 400, ladder)
    asked = [(10, 0.9), (10, 0.95), (10, 0.96), (1, 0.95), (11, 0.95), (100, 0.97), (10, 0.99), (101, 0.5), (10, None)]
    efforts = [effort_for(entry, limit, recall) for limit, recall in asked]
    assert efforts == [16, 64, 64, 64, 128, None, None, None, None]
    hard = replace(entry, ladder=tuple(replace(r, figure=r.filtered, filtered=r.figure) for r in ladder))
    for one in (entry, hard):
        assert [effort_for(one, limit, recall, filtered=True) for limit, recall in asked] == efforts
    assert [effort_for(hard, limit, 0.99) for limit in (10, 100)] == [16, 128]
    assert (hard.finds(0.99), entry.finds(0.99)) == (True, False)
    assert effort_for(None, 10, 0.5) is None
    assert effort_for(IndexEntry("exact", ""), 10, 0.5) is None


@pytest.mark.parametrize(
    ("items", "passages_an_item", "fetched"),
    [(10, 1, 14), (10, 1.03, 17), (100, 1.03, 133), (10, 2, 29), (10, 3, 42), (10, 50, 44)],
)
def test_more_passages_are_asked_for_where_items_have_several(
    items: int, passages_an_item: float, fetched: int
) -> None:
    assert to_fetch(items, passages_an_item) == fetched
