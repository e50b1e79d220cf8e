"""Collections that are small and have an index of any kind all the same, and what must be found in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from support import prepared

from indexer.ann import Choice, Kind, building, passages, tuning
from indexer.segment import Prepared
from indexer.vectors import Vectors, normalise

KINDS: tuple[Kind, ...] = ("pq", "hnsw", "hnsw-sq8")
DIMENSION = 32
FEW = 200
"""Vectors of which no index can learn anything."""


def first_try(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an index of that kind built, however few vectors there are, wherever one need not find all."""
    monkeypatch.setattr(passages, "QUERIES", 120)
    measure_with(1, monkeypatch)
    choose = building.choose

    def chosen(count: int, dimension: int, memory_budget: int, target: float | None) -> Choice:
        if target is None or count < FEW:
            return choose(count, dimension, memory_budget, target)
        return Choice(kind, "a test wants it")

    monkeypatch.setattr(building, "choose", chosen)


def measure_with(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have indexes measured with so few queries."""
    for module in (building, tuning):
        monkeypatch.setattr(module, "LEAST", least)


def clustered(rng: np.random.Generator, rows: int, dimension: int = DIMENSION) -> Vectors:
    """Directions in clusters, as those of texts are."""
    centres = rng.standard_normal((max(4, rows // 60), dimension))
    return normalise(centres[rng.integers(len(centres), size=rows)] + 0.6 * rng.standard_normal((rows, dimension)))


def members(rng: np.random.Generator, items: int, most: int = 1, first: int = 0) -> list[Prepared]:
    """Items of one passage or several, with a number and a group of ten."""
    counts = rng.integers(1, most + 1, size=items)
    vectors = np.split(clustered(rng, int(counts.sum())), np.cumsum(counts)[:-1])
    return [
        prepared(f"i{first + at:05d}", rows, {"n": first + at, "group": int(rng.integers(10))})
        for at, rows in enumerate(vectors)
    ]


class Judge:
    """Compares a query with every passage of some items."""

    def __init__(self, items: Sequence[Prepared]) -> None:
        self._items = items
        self._vectors = np.concatenate([one.vectors for one in items]).astype(np.float64)
        self._starts = np.cumsum([0, *(len(one.vectors) for one in items[:-1])])

    def expected(self, query: Vectors, passes: Callable[[Prepared], bool]) -> list[tuple[str, float]]:
        """Every item that passes, as similar as it is to any of the vectors, best first, ties by id."""
        cosines = np.max([np.vecdot(self._vectors, one) for one in query.astype(np.float64)], axis=0)
        best = np.clip(np.round(np.maximum.reduceat(cosines, self._starts), 6), -1, 1)
        found = [(one.item.id, float(score)) for one, score in zip(self._items, best, strict=True) if passes(one)]
        return sorted(found, key=lambda one: (-one[1], one[0]))
