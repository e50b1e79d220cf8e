"""Which rows of one segment are nearest to a query?

An index is asked in the way that `ways.plan` says; figures are true cosines but for `ERROR`, whichever way it was, so
that the caller can prove what an exact search has left out. Rows are compared block by block in memory that is used
again, never by a copy of them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.ann.opened import AnnIndex, Candidates, Mask
from indexer.ann.ways import Plan
from indexer.vectors import Vectors

ERROR = 2.0**-10
"""Most that a candidate's figure differs from its cosine: half precision keeps 11 bits of each component, so that the
dot product of two rows of length 1 is off by at most 2**-11 (Cauchy-Schwarz); as much again for float32 sums."""
BLOCK_BYTES = 1 << 20
"""Vectors that are gathered at once: as many as fit into a core's own cache."""

Rows = npt.NDArray[np.int64]
Figures = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Proposal:
    """The rows proposed for some queries."""

    figures: Figures
    """(queries, m)"""
    rows: Rows
    """(queries, m); -1 where there is none."""
    bounds: npt.NDArray[np.float64]
    """(queries,): no row that was left out is nearer than this; minus infinity where the index is trusted with that."""


def propose(
    index: AnnIndex, vectors: Vectors, queries: Vectors, plan: Plan, mask: Mask | None, passing: int
) -> Proposal:
    """About `plan.fetch` rows for each query, best first where the way is exact.

    `vectors` (rows, d) are those of the segment, of which `passing` pass the mask.
    """
    figures, rows = _candidates(index, vectors, queries, plan, mask)
    bounds = np.full(len(queries), -np.inf)
    if plan.exact and plan.fetch < (len(vectors) if plan.way == "wide scan" else passing):
        bounds = figures[:, -1].astype(np.float64) + ERROR
    if mask is not None and plan.way in ("walk", "wide scan"):
        rows = np.where((rows >= 0) & mask[rows], rows, -1)
    return Proposal(figures, rows, bounds)


def _candidates(index: AnnIndex, vectors: Vectors, queries: Vectors, plan: Plan, mask: Mask | None) -> Candidates:
    match plan.way:
        case "scan":
            return index.scan(queries, plan.fetch, mask)
        case "wide scan":
            return index.scan(queries, plan.fetch)
        case "walk":
            return _walked(index, vectors, queries, plan)
        case "codes":
            _, rows = index.search(queries, plan.effort, 0, mask)
            return _refined(vectors, queries, rows, plan.fetch)
        case "gather":
            every = np.arange(len(vectors)) if mask is None else np.flatnonzero(mask)
            return _gathered(vectors, queries, every, plan.fetch)
        case "product":
            return _product(vectors, queries, plan.fetch, mask)


def _walked(index: AnnIndex, vectors: Vectors, queries: Vectors, plan: Plan) -> Candidates:
    effort = max(plan.effort, plan.fetch)
    if index.true:
        return index.search(queries, plan.fetch, effort)
    _, rows = index.search(queries, effort, effort)
    return _refined(vectors, queries, rows, plan.fetch)


def _refined(vectors: Vectors, queries: Vectors, rows: Rows, fetch: int) -> Candidates:
    """The best of the rows proposed for each query, by their vectors, in any order."""
    figures = np.empty(rows.shape, dtype=np.float32)
    for query, proposed, scores in zip(queries, rows, figures, strict=True):
        _compare(vectors.take(proposed, axis=0), query, scores)
    if min(rows[:, -1].tolist()) < 0:  # FAISS puts the rows that there are not at the end
        figures[rows < 0] = -np.inf
    if fetch >= rows.shape[1]:
        return figures, rows
    best = figures.argpartition(-fetch, axis=1)[:, -fetch:]
    each = np.arange(len(queries))[:, None]
    return figures[each, best], rows[each, best]


def _gathered(vectors: Vectors, queries: Vectors, rows: Rows, fetch: int) -> Candidates:
    """The best of these rows, each compared."""
    scores = np.empty((len(queries), len(rows)), dtype=np.float32)
    block = max(1, BLOCK_BYTES // vectors[:1].nbytes)
    buffer = np.empty((min(block, len(rows)), vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), block):
        some = rows[start : start + block]
        taken = vectors.take(some, axis=0, out=buffer[: len(some)], mode="clip")
        if len(queries) == 1:
            _compare(taken, queries[0], scores[0, start : start + len(some)])
        else:
            np.matmul(queries, taken.T, out=scores[:, start : start + len(some)])
    best = np.array([_best(row, fetch) for row in scores])
    return np.take_along_axis(scores, best, axis=1), rows[best]


def _product(vectors: Vectors, queries: Vectors, fetch: int, mask: Mask | None) -> Candidates:
    """The best of all rows, or of those whose mask is true; every one is compared, in the order in which they lie."""
    scores = np.empty((len(queries), len(vectors)), dtype=np.float32)
    block = max(1, 8 * BLOCK_BYTES // vectors[:1].nbytes)
    for start in range(0, len(vectors), block):
        some = vectors[start : start + block]
        np.matmul(queries, some.T, out=scores[:, start : start + len(some)])
    if mask is not None:
        scores[:, ~mask] = -np.inf
    best = np.array([_best(row, fetch) for row in scores])
    figures = np.take_along_axis(scores, best, axis=1)
    return figures, np.where(np.isneginf(figures), -1, best)


def _compare(rows: Vectors, query: npt.NDArray[np.float32], scores: Figures) -> None:
    """Each row with one query, by this thread alone: BLAS would call others for a few rows, and wait for them."""
    np.vecdot(rows, query, out=scores)


def _best(scores: Figures, count: int) -> Rows:
    """Where the `count` highest are, best first."""
    if count < len(scores):
        top = np.argpartition(scores, -count)[-count:]
        return top[np.argsort(-scores[top], kind="stable")]
    return np.argsort(-scores, kind="stable")
