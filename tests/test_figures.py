"""How far may a figure be from the similarity, and is that similarity the same whichever way it is computed?"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from support import random_vectors

from indexer import vectors as similarities
from indexer.ann import AnnIndex, Kind, Plan, propose
from indexer.ann import kinds as ann_kinds
from indexer.ann.choice import KINDS
from indexer.ann.opened import compared
from indexer.ann.ways import Way
from indexer.vectors import Vectors, normalise, similarity, similarity_to_rows

COUNT, DIMENSION = 600, 32
WAYS: dict[Kind, tuple[Way, ...]] = {
    "exact": ("scan", "wide scan", "gather", "product"),
    "pq": ("codes", "gather"),
    "hnsw": ("walk", "scan", "wide scan"),
    "hnsw-sq8": ("walk", "product"),
}


def vectors_of(shape: str, rng: np.random.Generator) -> Vectors:
    """All components about as long, a few of them long, or all rows nearly the same."""
    if shape == "spread":
        return random_vectors(rng, COUNT, DIMENSION)
    if shape == "spiky":
        return normalise(rng.standard_normal((COUNT, DIMENSION)) ** 5)
    return normalise(1 + 1e-3 * rng.standard_normal((COUNT, DIMENSION)))


@pytest.mark.parametrize("shape", ["spread", "spiky", "alike"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_as_near_to_the_similarity_as_is_said_and_the_best_come_first(kind: Kind, shape: str) -> None:
    rng = np.random.default_rng(3)
    vectors = vectors_of(shape, rng)
    made = ann_kinds.empty(kind, DIMENSION)
    ann_kinds.train(made, vectors)
    made.add(vectors)
    index, half = AnnIndex(made, kind), rng.random(COUNT) < 0.5
    for way in WAYS[kind]:
        for queries in (vectors[:1], vectors_of(shape, rng)[:5]):
            for mask in (None, half):
                passing = COUNT if mask is None else int(mask.sum())
                found = propose(index, vectors, queries, Plan(way, 40, 80, 0.0, ""), mask, passing)
                some = found.rows >= 0
                assert some[:, 0].all()
                assert (some[:, :-1] >= some[:, 1:]).all(), "what there is not comes last"
                assert (found.figures[:, :-1] >= found.figures[:, 1:]).all()
                assert mask is None or mask[found.rows[some]].all()
                true = np.take_along_axis(similarity(queries, vectors), found.rows, axis=1)
                assert np.abs(true - found.figures)[some].max() <= found.error, (way, len(queries))


def test_vectors_are_compared_where_they_lie_and_what_there_is_not_comes_last() -> None:
    rng = np.random.default_rng(4)
    vectors, wide = random_vectors(rng, 50, DIMENSION), random_vectors(rng, 6, 2 * DIMENSION)
    vectors.flags.writeable = False
    rows = rng.integers(-1, 50, size=(3, 20))
    for queries in (wide[:3, :DIMENSION], wide[::2, ::2]):
        figures = compared(vectors, queries, rows)
        expected = np.where(rows < 0, -np.inf, np.take_along_axis(queries @ vectors.T, rows, axis=1))
        np.testing.assert_allclose(figures, expected, atol=1e-6)


def test_masks_that_come_and_go_are_not_taken_for_each_other() -> None:
    rng = np.random.default_rng(5)
    vectors = random_vectors(rng, COUNT, DIMENSION)
    for kind in ("pq", "exact"):
        made = ann_kinds.empty(kind, DIMENSION)
        ann_kinds.train(made, vectors)
        made.add(vectors)
        index = AnnIndex(made, kind)
        ask = index.scan if kind == "exact" else lambda queries, k, mask, index=index: index.search(queries, k, 0, mask)
        for turn in range(50):
            mask = rng.random(COUNT) < 0.2
            for _ in range(2):
                rows = ask(vectors[turn : turn + 1], 30, mask)[1]
                assert mask[rows].all()


@pytest.mark.parametrize("block", [1, 3 * 8 * DIMENSION, 25 * 8 * DIMENSION, 1 << 20])
def test_a_similarity_is_the_same_whatever_it_is_computed_with(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    rng = np.random.default_rng(6)
    monkeypatch.setattr(similarities, "BLOCK_BYTES", block)
    vectors, queries = random_vectors(rng, 100, DIMENSION), random_vectors(rng, 7, DIMENSION)
    every, rows, which = similarity(queries, vectors), rng.integers(100, size=70), rng.integers(7, size=70)
    assert (similarity_to_rows(queries, vectors, rows, which) == every[which, rows]).all()
    assert (similarity_to_rows(queries[3:4], vectors, rows) == every[3, rows]).all()
    for query, row in zip(which[:20], rows[:20], strict=True):
        pairs = zip(queries[query], vectors[row], strict=True)
        assert every[query, row] == round(float(sum(Fraction(float(a)) * Fraction(float(b)) for a, b in pairs)), 6)
    assert similarity_to_rows(queries, vectors, rows[:0], which[:0]).shape == (0,)


def test_a_row_is_at_most_as_similar_as_itself_and_no_similarity_is_minus_nought() -> None:
    rng = np.random.default_rng(7)
    vectors = np.concatenate([vectors_of(shape, rng) for shape in ("spread", "spiky", "alike")])
    every = similarity(vectors[::9], np.concatenate([vectors, -vectors]))
    assert (every.min(), every.max()) == (-1.0, 1.0)
    nearly = similarity(np.array([[1, 0]], np.float32), np.array([[-1e-9, 1]], np.float32))
    assert str(nearly.tolist()) == "[[0.0]]"
