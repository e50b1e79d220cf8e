"""What stands beside a search of the project: FAISS alone, asked as hard, in turns with it.

Candidates of 4-bit codes are refined by half-precision codes (IndexRefine), and nothing is rescored, filtered or
folded.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import faiss
import numpy as np

from benchmarks._stored import shares
from indexer import ann
from indexer.ann import kinds
from indexer.search import Scored
from indexer.segment import ANN
from indexer.snapshot import LiveSegment, Snapshot
from indexer.vectors import Vectors

LIMIT = 10
SHARES = (1, 10, 50)
"""Of a hundred items, so many pass the filters that are asked with."""
NEAR = 2e-6
"""By how much less similar a hit counts as being as near."""

ALL: Mapping[str, Any] = {}
"""What a search of FAISS's has to be told where all items pass."""

How = tuple[faiss.Index, Any]
"""An index, and with which parameters it is asked."""


class Bare:
    """Indexes of FAISS's, all of which are asked."""

    def __init__(self, asked: Sequence[How]) -> None:
        self._asked = asked

    def search(self, queries: Vectors) -> tuple[Any, Any]:
        """The best figures and their rows, counted through all of them."""
        figures, rows, first = [], [], 0
        for index, how in self._asked:
            some, there = index.search(queries, LIMIT, params=how)
            figures.append(some)
            rows.append(np.where(there < 0, there, there + first))
            first += index.ntotal
        if len(figures) == 1:
            return figures[0], rows[0]
        every = np.concatenate(figures, axis=1)
        best = np.argsort(-every, axis=1)[:, :LIMIT]
        return np.take_along_axis(every, best, 1), np.take_along_axis(np.concatenate(rows, axis=1), best, 1)


def on_files(snapshot: Snapshot, recall: float | None = None, share: int | None = None) -> Bare:
    """FAISS on the index files of a snapshot, with the effort that the project takes where so much is to be found.

    Of a `share`, so many of a hundred items pass: FAISS is handed a bitmap of them, and finds what it finds.
    """
    asked = []
    for part in snapshot.segments:
        entry = part.segment.entry.index
        kind, effort = _kind(entry), _effort(snapshot, entry, recall, share is not None)
        index = kinds.read(str(part.segment.folder / ANN), kind)
        if effort is None and kind.startswith("hnsw"):
            index = faiss.downcast_index(index.storage)
        asked.append(_asked(index, kind, np.asarray(part.segment.vectors), effort, _passing(part, share)))
    return Bare(asked)


def _passing(part: LiveSegment, share: int | None) -> dict[str, Any]:
    """What a search of FAISS's has to be told, so that only so many of a hundred items pass."""
    if share is None:
        return {}
    mask = shares(part)[part.segment.item_rows] < share
    return {"sel": faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))}


def flat(snapshot: Snapshot) -> Bare:
    """A scan of all vectors of a snapshot, each in full precision."""
    index = faiss.IndexFlatIP(snapshot.generation.fingerprint.dimension)
    for part in snapshot.segments:
        index.add(np.asarray(part.segment.vectors))
    return Bare([(index, None)])


def alone(snapshot: Snapshot) -> tuple[Bare, float]:
    """One index of the same vectors, of the kind that most segments have and asked as hard, and the seconds it took."""
    entries = [part.segment.entry.index for part in snapshot.segments]
    kind = Counter(map(_kind, entries)).most_common(1)[0][0]
    vectors = np.concatenate([np.asarray(part.segment.vectors) for part in snapshot.segments])
    began = time.perf_counter()
    index = kinds.empty(kind, vectors.shape[1])
    kinds.train(index, vectors)
    index.add(vectors)
    effort = max((_effort(snapshot, entry) or 0 for entry in entries if _kind(entry) == kind), default=0)
    asked = _asked(index, kind, vectors, effort or None)
    return Bare([asked]), time.perf_counter() - began


def _kind(entry: ann.IndexEntry | None) -> ann.Kind:
    return entry.kind if entry else "exact"


def _effort(
    snapshot: Snapshot, entry: ann.IndexEntry | None, recall: float | None = None, filtered: bool = False
) -> int | None:
    contract = snapshot.generation.contract
    return ann.effort_for(entry, LIMIT, recall or (contract.target if contract else None), filtered)


def _asked(
    index: faiss.Index, kind: ann.Kind, vectors: Vectors, effort: int | None, passing: Mapping[str, Any] = ALL
) -> How:
    if effort is None or kind == "exact":
        return index, faiss.SearchParameters(**passing) if passing else None
    if kind == "pq":
        return _refining(index, vectors, effort, passing)
    return index, faiss.SearchParametersHNSW(efSearch=max(effort, LIMIT), **passing)


def _refining(codes: faiss.Index, vectors: Vectors, effort: int, passing: Mapping[str, Any]) -> How:
    """4-bit codes whose candidates are compared by codes of half precision."""
    half = faiss.IndexScalarQuantizer(codes.d, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    half.add(vectors)
    index = faiss.IndexRefine(codes, half)
    one_list = faiss.IVFSearchParameters(nprobe=1, **passing)
    return index, faiss.IndexRefineSearchParameters(k_factor=effort / LIMIT, base_index_params=one_list)


def in_turn(first: Callable[[int], object], second: Callable[[int], object], turns: int) -> tuple[list[float], ...]:
    """The seconds of two acts that take turns, each first every other time."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for at in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            (first, second)[at](turn)
            seconds[at].append(time.perf_counter() - began)
    return seconds


def by_round(seconds: Sequence[float], rounds: int) -> list[float]:
    """The median of each of some rounds."""
    step = max(1, len(seconds) // rounds)
    return [statistics.median(seconds[at : at + step]) for at in range(0, step * (len(seconds) // step), step)]


def recall_of(found: list[list[Scored]], best: list[list[Scored]]) -> float:
    """The share of the nearest that was found."""
    return _found([[hit.similarity for hit in hits] for hits in found], best)


def recall_beside(bare: Bare, snapshot: Snapshot, queries: Vectors, best: list[list[Scored]]) -> float:
    """The same of what stands beside; its rows are compared here, whatever figures it gives them."""
    vectors = [np.asarray(part.segment.vectors) for part in snapshot.segments]
    starts = np.cumsum([0, *map(len, vectors)])
    found = []
    for query, rows in zip(queries, bare.search(queries)[1], strict=True):
        there = rows[rows >= 0]
        parts = np.searchsorted(starts, there, side="right") - 1
        found.append([float(vectors[p][row - starts[p]] @ query) for p, row in zip(parts, there, strict=True)])
    return _found(found, best)


def _found(similarities: list[list[float]], best: list[list[Scored]]) -> float:
    found = [
        sum(one >= nearest[-1].similarity - NEAR for one in each) / len(nearest)
        for each, nearest in zip(similarities, best, strict=True)
        if nearest
    ]
    return statistics.fmean(found) if found else 1.0
