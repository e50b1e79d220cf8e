"""Which rows of one segment are nearest to a query?

An index is asked in the way that `ways.plan` says; how far figures are from true similarities is known, whichever way
it was, so that the caller can prove what an exact search has left out. Vectors are compared where they lie, or block by
block in memory that is used again, never by a copy of them all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexer.ann.opened import AnnIndex, Candidates, Mask, compared, most_similar
from indexer.ann.ways import Plan
from indexer.vectors import Rows, Vectors

BY_HALVES = 2.0**-10
"""Most that a figure by half-precision codes differs from a similarity: they keep 11 bits of each component, so that
the dot product of two rows of length 1 is off by at most 2**-11 (Cauchy-Schwarz); as much again for float32 sums."""
BY_VECTORS = 2.0**-24
"""Most that a figure by the vectors themselves differs from their dot product, for each dimension: it is summed in
float32, in whatever order (Higham, Accuracy and Stability of Numerical Algorithms, 3.1)."""
ROUNDED = 1e-6
"""How much more it may differ from a similarity, which is rounded; twice what that takes, as rows are not quite of
length 1."""
BLOCK_BYTES = 1 << 20
"""Vectors that are gathered at once: as many as fit into a core's own cache."""
FEW = 128
"""Figures that are put in order about as soon as the best of them are found."""

Figures = npt.NDArray[np.float32]


class Proposal(NamedTuple):
    """The rows proposed for some queries, of each best first."""

    figures: Figures
    """(queries, m)"""
    rows: Rows
    """(queries, m); -1 at the end, where there are no more."""
    bounds: npt.NDArray[np.float64] | None
    """(queries,): no row that was left out is nearer than this; None where the index is trusted with that."""
    error: float
    """Most that a figure differs from the similarity."""


def propose(
    index: AnnIndex, vectors: Vectors, queries: Vectors, plan: Plan, mask: Mask | None, passing: int
) -> Proposal:
    """About `plan.fetch` rows for each query.

    `vectors` (rows, d) are those of the segment, of which `passing` pass the mask. Where codes of these are kept,
    `index` is that of the passing rows, and there is no mask.
    """
    figures, rows = _candidates(index, vectors, queries, plan, mask)
    by_codes = index.true and plan.way in ("scan", "kept", "wide scan", "walk")
    error = BY_HALVES if by_codes else vectors.shape[1] * BY_VECTORS + ROUNDED
    bounds = None
    if plan.exact:
        whole = plan.fetch >= (len(vectors) if plan.way == "wide scan" else passing)
        bounds = np.full(len(queries), -np.inf) if whole else figures[:, -1].astype(np.float64) + error
    if mask is not None and plan.way in ("walk", "wide scan"):
        figures, rows = without(figures, rows, ~mask[rows])
    return Proposal(figures, rows, bounds, error)


def nearness(vectors: Vectors, queries: Vectors, rows: Rows) -> tuple[Figures, float]:
    """How near each of some rows (m,), in rising order, is to that of the queries to which it is nearest: float32 (m,).

    And the most that this differs from the similarity.
    """
    best = np.empty(len(rows), dtype=np.float32)
    block = max(1, 8 * BLOCK_BYTES // vectors[:1].nbytes)
    for start in range(0, len(rows), block):
        some = rows[start : start + block]
        together = some[-1] - some[0] == len(some) - 1
        taken = vectors[some[0] : some[-1] + 1] if together else vectors.take(some, axis=0)
        np.matmul(queries, taken.T).max(axis=0, out=best[start : start + block])
    return best, vectors.shape[1] * BY_VECTORS + ROUNDED


def without(figures: Figures, rows: Rows, gone: Mask) -> Candidates:
    """What was proposed but for what is gone, (queries, m), in whose place there is row -1, at the end."""
    gone = gone | (rows < 0)
    figures, rows = np.where(gone, -np.inf, figures), np.where(gone, -1, rows)
    order = (-figures).argsort(axis=1, kind="stable")
    return np.take_along_axis(figures, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _candidates(index: AnnIndex, vectors: Vectors, queries: Vectors, plan: Plan, mask: Mask | None) -> Candidates:
    match plan.way:
        case "codes":
            _, rows = index.search(queries, plan.effort, 0, mask)
            return _refined(vectors, queries, rows, plan.fetch)
        case "walk":
            return _walked(index, vectors, queries, plan)
        case "scan" | "kept":
            return index.scan(queries, plan.fetch, mask)
        case "wide scan":
            return index.scan(queries, plan.fetch)
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
    """The best of the rows proposed for each query, by their vectors."""
    if len(queries) == 1:
        return most_similar(vectors, queries, rows[0], fetch)
    figures = compared(vectors, queries, rows)
    best = (-figures).argsort(axis=1)[:, :fetch] + rows.shape[1] * np.arange(len(rows))[:, None]
    return figures.take(best), rows.take(best)


def _gathered(vectors: Vectors, queries: Vectors, rows: Rows, fetch: int) -> Candidates:
    """The best of these rows, each compared."""
    if len(queries) == 1:
        return _refined(vectors, queries, rows[None], fetch)
    scores = np.empty((len(queries), len(rows)), dtype=np.float32)
    block = max(1, BLOCK_BYTES // vectors[:1].nbytes)
    buffer = np.empty((min(block, len(rows)), vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), block):
        some = rows[start : start + block]
        taken = vectors.take(some, axis=0, out=buffer[: len(some)], mode="clip")
        np.matmul(queries, taken.T, out=scores[:, start : start + len(some)])
    best = np.array([_best(row, fetch) for row in scores])
    return np.take_along_axis(scores, best, axis=1), rows[best]


def _product(vectors: Vectors, queries: Vectors, fetch: int, mask: Mask | None) -> Candidates:
    """The best of all rows, or of those whose mask is true; every one is compared, in the order in which they lie.

    All in one product: after each, all cores wait for the last of them, which on a busy machine takes longer than the
    product of a few thousand rows.
    """
    scores = queries @ vectors.T
    if mask is not None:
        scores[:, ~mask] = -np.inf
    best = np.array([_best(row, fetch) for row in scores])
    figures = np.take_along_axis(scores, best, axis=1)
    return figures, np.where(np.isneginf(figures), -1, best)


def _best(scores: Figures, count: int) -> Rows:
    """Where the `count` highest are, best first."""
    if count < len(scores) > FEW:
        top = np.argpartition(scores, -count)[-count:]
        return top[(-scores[top]).argsort(kind="stable")]
    return (-scores).argsort(kind="stable")[:count]
