"""How many of the nearest does a server find, and does it answer with as many as there are?

The nearest are those of an exact search with numpy. A hit counts where its own similarity, computed here from its id,
is not below that of the last of the nearest, so that of equal ones any will do; an id that the filter does not let
through, one that is not there and one that comes twice do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.vectors import Vectors

LIMIT = 10
TIES = 2e-6
"""Two similarities of float32 vectors that are nearer than this are equal."""


@dataclass(frozen=True)
class Recall:
    """What some answers come to."""

    share: float
    """Of the nearest that could have been found."""
    short: int
    """How many answers have fewer hits than there are."""
    answers: int

    def __str__(self) -> str:
        return f"recall {self.share:.4f}, {self.short} of {self.answers} answers short"


class Exact:
    """Every vector that can be found, with the id under which it is."""

    def __init__(self, ids: Sequence[str], vectors: Vectors, shares: npt.NDArray[Any]) -> None:
        """Rows with one id are one thing, as like a query as the row that is most like it."""
        self._names = {id: number for number, id in enumerate(dict.fromkeys(ids))}
        self._of_row = np.array([self._names[id] for id in ids])
        self._vectors = vectors
        self._shares = np.empty(len(self._names))
        self._shares[self._of_row] = shares

    def recall(self, asked: Iterable[tuple[Vectors, Sequence[str]]], share: int | None, limit: int = LIMIT) -> Recall:
        """Of queries, and the ids that each was answered with by a server that was asked for so many."""
        found = total = short = count = 0
        for vector, ids in asked:
            best = self._best(vector, share)
            passing = int(np.isfinite(best).sum())
            wanted = min(limit, passing)
            least = float(np.partition(best, -wanted)[-wanted]) if wanted else np.inf
            good = {id for id in ids if id in self._names and best[self._names[id]] >= least - TIES}
            found += min(wanted, len(good))
            total += wanted
            short += len(ids) < wanted
            count += 1
        return Recall(found / total if total else 1.0, short, count)

    def _best(self, vector: Vectors, share: int | None) -> npt.NDArray[np.float64]:
        best = np.full(len(self._names), -np.inf)
        np.maximum.at(best, self._of_row, (self._vectors @ vector).astype(np.float64))
        if share is not None:
            best[self._shares >= share] = -np.inf
        return best
