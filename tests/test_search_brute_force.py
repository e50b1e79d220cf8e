"""Does a search find exactly what comparing the query with every passage finds?

The judge is numpy: every cosine in float64, rounded to six decimals, the best passage of each item, ties by id.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import prepared, publish_items, random_vectors

from indexer import filters
from indexer.items import FieldType
from indexer.queries import Query, search
from indexer.search import Asked, nearest
from indexer.segment import Prepared
from indexer.snapshot import Snapshot
from indexer.vectors import Vectors, normalise

SCHEMA = {"n": FieldType.INTEGER, "kind": FieldType.STRING, "tags": FieldType.STRINGS}
Metadata = Mapping[str, Any]

FILTERS: dict[str, tuple[Any, Callable[[Metadata], bool]]] = {
    "half": ({"n": {"$lt": 50}}, lambda m: "n" in m and m["n"] < 50),
    "few": ({"n": 7}, lambda m: m.get("n") == 7),
    "other": ({"kind": {"$ne": "a"}}, lambda m: m.get("kind") != "a"),
    "element": ({"tags": {"$in": ["x"]}}, lambda m: "x" in m.get("tags", [])),
    "either": (
        {"$or": [{"kind": {"$in": ["a", "b"]}}, {"n": {"$gte": 90}}]},
        lambda m: m.get("kind") in ("a", "b") or m.get("n", 0) >= 90,
    ),
    "neither": ({"$and": [{"kind": "a"}, {"kind": "b"}]}, lambda m: False),
}


@dataclass(frozen=True)
class Corpus:
    """Items in segments, and which of them are deleted."""

    segments: list[list[Prepared]]
    deleted: frozenset[str]

    def expected(
        self, queries: Vectors, passes: Callable[[Prepared], bool], floor: float = -1.0
    ) -> list[tuple[str, float]]:
        """Every item that passes, best first."""
        found = []
        for item in (p for segment in self.segments for p in segment):
            if item.item.id not in self.deleted and passes(item):
                best = (queries.astype(np.float64) @ item.vectors.astype(np.float64).T).max()
                found.append((item.item.id, float(np.clip(np.round(best, 6), -1, 1))))
        return sorted((f for f in found if f[1] >= floor), key=lambda f: (-f[1], f[0]))


def anything(item: Prepared) -> bool:
    return True


def answer(snapshot: Snapshot, queries: Vectors, count: int, **options: Any) -> list[tuple[str, float]]:
    return [(hit.segment.id(hit.row), hit.similarity) for hit in nearest(snapshot, Asked(queries, count, **options))]


def metadata(rng: np.random.Generator) -> dict[str, Any]:
    every = {
        "n": int(rng.integers(100)),
        "kind": str(rng.choice(["a", "b", "c"])),
        "tags": [str(t) for t in rng.choice(["x", "y", "z"], int(rng.integers(3)))],
    }
    return {name: value for name, value in every.items() if rng.random() < 0.8}


@st.composite
def corpora(draw: st.DrawFn) -> tuple[Corpus, np.random.Generator, int]:
    """Up to 3 segments of up to 60 items, some of them with equal vectors, some deleted."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dimension = draw(st.sampled_from([2, 8, 40]))
    most = draw(st.sampled_from([1, 1, 5]))
    different = draw(st.sampled_from([3, 20, 10_000]))
    segments: list[list[Prepared]] = []
    pool = random_vectors(rng, min(different, 400), dimension)
    names = rng.permutation(1000)
    for size in draw(st.lists(st.integers(1, 60), min_size=1, max_size=3)):
        taken = sum(map(len, segments))
        rows = [rng.integers(len(pool), size=rng.integers(most) + 1) for _ in range(size)]
        segments.append([prepared(f"i{names[taken + i]}", pool[row], metadata(rng)) for i, row in enumerate(rows)])
    dead = draw(st.sampled_from([0.0, 0.0, 0.1, 0.3, 1.0]))
    deleted = frozenset(p.item.id for segment in segments for p in segment if rng.random() < dead)
    return Corpus(segments, deleted), rng, dimension


@settings(max_examples=60)
@given(corpora(), st.data())
def test_a_search_finds_what_comparing_with_every_passage_finds(
    drawn: tuple[Corpus, np.random.Generator, int], data: st.DataObject
) -> None:
    corpus, rng, dimension = drawn
    with tempfile.TemporaryDirectory() as store:
        snapshot = publish_items(Path(store), corpus.segments, corpus.deleted, SCHEMA)
        for count in (1, 7, 500):
            queries = random_vectors(rng, data.draw(st.integers(1, 3)), dimension)
            assert answer(snapshot, queries, count) == corpus.expected(queries, anything)[:count]
            raw, passes = FILTERS[data.draw(st.sampled_from(sorted(FILTERS)))]
            tree = filters.parse(raw, SCHEMA)
            expected = corpus.expected(queries, lambda item, passes=passes: passes(item.item.metadata))
            assert answer(snapshot, queries, count, filter=tree) == expected[:count]
            floor = data.draw(st.sampled_from([0.0, 0.4, 0.999]))
            expected = corpus.expected(queries, anything, floor)
            assert answer(snapshot, queries, count, min_similarity=floor) == expected[:count]


@settings(max_examples=20)
@given(corpora())
def test_a_search_by_id_finds_everything_but_the_item_itself(drawn: tuple[Corpus, np.random.Generator, int]) -> None:
    corpus, _, _ = drawn
    with tempfile.TemporaryDirectory() as store:
        snapshot = publish_items(Path(store), corpus.segments, corpus.deleted, SCHEMA)
        for item in [p for segment in corpus.segments for p in segment][:5]:
            found = snapshot.find(item.item.id)
            assert (found is None) == (item.item.id in corpus.deleted)
            if found is None:
                continue
            for count in (1, 500):
                expected = corpus.expected(item.vectors, lambda other, item=item: other is not item)
                assert answer(snapshot, item.vectors, count, exclude=found) == expected[:count]


@pytest.mark.parametrize("passages", [1, 3])
@pytest.mark.parametrize("dead", [0.0, 0.1, 0.5])
def test_among_hundreds_of_equal_vectors_the_first_ids_are_found(tmp_path: Path, passages: int, dead: float) -> None:
    rng = np.random.default_rng(1)
    same, far = random_vectors(rng, 1, 32), random_vectors(rng, 700, 32)
    names = rng.permutation(900)
    many = [prepared(f"{name:03d}", np.repeat(same, passages, axis=0)) for name in names[:700]]
    other = [prepared(f"{name:03d}", far[i : i + 1]) for i, name in enumerate(names[700:])]
    deleted = frozenset(p.item.id for p in [*many, *other] if rng.random() < dead)
    corpus = Corpus([many[:350], other, many[350:]], deleted)
    snapshot = publish_items(tmp_path, corpus.segments, deleted)
    for count in (1, 10, 699, 701, 2000):
        assert answer(snapshot, same, count) == corpus.expected(same, anything)[:count]


@pytest.mark.parametrize("seed", range(4))
def test_vectors_that_half_precision_cannot_tell_apart_are_still_put_in_order(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = random_vectors(rng, 1, 384)
    close = normalise(base + 1e-4 * rng.standard_normal((600, 384)))
    members = [prepared(f"{i:03d}", close[i : i + 1]) for i in rng.permutation(600)]
    corpus = Corpus([members[:400], members[400:]], frozenset())
    query = normalise(base + 0.05 * rng.standard_normal((1, 384)))
    expected = corpus.expected(query, anything)
    halves = close.astype(np.float16).astype(np.float64) @ query[0].astype(np.float64)
    assert [f"{i:03d}" for i in np.argsort(-halves)[:20]] != [id for id, _ in expected[:20]], "not a hard case"
    snapshot = publish_items(tmp_path, corpus.segments)
    for count in (1, 5, 20):
        assert answer(snapshot, query, count) == expected[:count]


def test_the_best_of_the_items_passages_is_the_one_that_is_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vectors = random_vectors(rng, 5, 16)
    twice = np.vstack([vectors[1:2], vectors[:1], vectors[:1]])
    snapshot = publish_items(tmp_path, [[prepared("other", vectors[2:5]), prepared("both", twice)]])
    first, _ = nearest(snapshot, Asked(vectors[:1], 2))
    assert (first.segment.id(first.row), first.passage, first.similarity) == ("both", 4, 1.0)


@pytest.mark.parametrize("size", [5, 33])
def test_pages_put_together_are_one_long_page(tmp_path: Path, size: int) -> None:
    rng = np.random.default_rng(5)
    pool = random_vectors(rng, 25, 8)
    members = [prepared(f"{i:03d}", pool[rng.integers(25, size=rng.integers(1, 4))]) for i in range(150)]
    snapshot = publish_items(tmp_path, [members[:100], members[100:]], deleted=["003", "120"])
    vector = random_vectors(rng, 1, 8)[0].tolist()

    def page(offset: int, limit: int) -> list[Any]:
        return list(search(snapshot, no_model, Query(vector=vector, offset=offset, limit=limit))["hits"])

    whole = page(0, 500)
    assert len(whole) == 148
    assert [hit for offset in range(0, 148 + size, size) for hit in page(offset, size)] == whole


def no_model() -> Any:
    raise AssertionError("a query by vector needs no model")
