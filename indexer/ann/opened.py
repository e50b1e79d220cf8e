"""What can be asked of an opened index?

Whatever FAISS needs to know of a search goes with the call, so that threads may share an index. What a file says of its
own lengths is compared before FAISS reads it: FAISS takes lengths on trust, and a damaged one could ask for more memory
than there is. What it says of its graph is compared before anything is searched, by FAISS as it reads and by `kinds`,
for the same reason.
"""

from __future__ import annotations

import hashlib
import weakref
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from indexer.ann import kinds
from indexer.ann.choice import Kind
from indexer.ann.ladder import IndexEntry
from indexer.errors import CorruptGeneration
from indexer.vectors import Vectors

WORTH_THREADS = 1 << 23
"""Multiplications, some milliseconds of them: of fewer one thread has done all, before a busy machine has let others
begin."""

EFFORTS_KEPT = 256
"""Efforts of which it is remembered what FAISS has to know: few are asked for again and again, but there may be any."""

Mask = npt.NDArray[np.bool_]
Candidates = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


class AnnIndex:
    """An opened index; searching changes nothing in what it answers, so that threads may share it."""

    def __init__(self, index: faiss.Index, kind: Kind = "exact") -> None:
        self._index = index
        self.kind = kind
        self._codes = faiss.downcast_index(index.storage) if self.walks else index
        self._parameters: dict[int, Any] = {}
        self._masked: dict[int, tuple[weakref.ref[Mask], Any]] = {}

    @property
    def count(self) -> int:
        """How many vectors it holds."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """The length of its vectors."""
        return int(self._index.d)

    @property
    def true(self) -> bool:
        """Whether its figures are cosines but for half precision."""
        return self.kind in ("exact", "hnsw")

    @property
    def walks(self) -> bool:
        """Whether it is a graph."""
        return self.kind in ("hnsw", "hnsw-sq8")

    def on_upper_levels(self) -> npt.NDArray[np.int64]:
        """Of a graph, the rows that a walk may pass on its way to the lowest level."""
        return kinds.on_upper_levels(self._index)

    def first_unlike(self, first: int, vectors: Vectors) -> int | None:
        """The first row that is not what it was built of, `vectors` (n, d) being those of the rows from `first` on."""
        return kinds.first_unlike(self._index, self.kind, first, vectors)

    def warm(self, query: Vectors) -> None:
        """Touch what a search reads, so that the first one does not wait for the disk."""
        self.search(query, 1, 1) if self.kind != "exact" else self.scan(query, 1)

    def search(self, queries: Vectors, k: int, effort: int, mask: Mask | None = None) -> Candidates:
        """About the k rows nearest to each query, best first: figures (n, k) float32 and rows (n, k) int64.

        A graph keeps `effort` nodes in its walk, and takes no mask. Only rows whose mask is true are proposed; row -1
        stands where there are fewer than k.
        """
        return _asked(self._index, queries, k, self._for(effort, mask))

    def scan(self, queries: Vectors, k: int, mask: Mask | None = None) -> Candidates:
        """The same of a `true` index by a scan of all its codes, which leaves nothing out."""
        return _asked(self._codes, queries, k, None if mask is None else self._for_mask(mask))

    def _for(self, effort: int, mask: Mask | None) -> Any:
        if mask is not None:
            return self._for_mask(mask)
        made = self._parameters.get(effort)
        if made is None:
            made = faiss.SearchParametersHNSW(efSearch=effort) if self.walks else faiss.IVFSearchParameters(nprobe=1)
            if len(self._parameters) >= EFFORTS_KEPT:
                self._parameters.clear()
            self._parameters[effort] = made
        return made

    def _for_mask(self, mask: Mask) -> Any:
        """What FAISS has to know of a mask, as long as there is the mask: who keeps a filter asks with it again."""
        masked, key = self._masked, id(mask)
        if key not in masked:
            bits = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
            one_list = faiss.IVFSearchParameters(nprobe=1, sel=bits)
            made = one_list if self.kind == "pq" else faiss.SearchParameters(sel=bits)
            masked[key] = weakref.ref(mask, lambda _: masked.pop(key, None)), made
        return masked[key][1]


def compared(vectors: Vectors, queries: Vectors, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """How similar each of the queries (n, d) is to its own rows (n, m) of the vectors: float32 (n, m).

    Minus infinity for row -1. FAISS reads the vectors where they lie.
    """
    figures, queries = np.empty(rows.shape, dtype=np.float32), np.ascontiguousarray(queries)
    pointers = map(faiss.swig_ptr, (figures, queries, vectors, rows))
    before = _alone(rows.size * vectors.shape[1] < WORTH_THREADS)
    try:
        faiss.fvec_inner_products_by_idx(*pointers, vectors.shape[1], *rows.shape)
    finally:
        _as(before)
    return figures


def most_similar(vectors: Vectors, query: Vectors, rows: npt.NDArray[np.int64], count: int) -> Candidates:
    """The `count` of some rows (m,) of the vectors that are most similar to the query (1, d): (1, count), best first.

    Row -1 ends the rows, and stands at the end where there are fewer. FAISS reads the vectors where they lie.
    """
    count = min(count, len(rows))
    figures, best = np.empty((1, count), dtype=np.float32), np.empty((1, count), dtype=np.int64)
    query, rows = np.ascontiguousarray(query), np.ascontiguousarray(rows)
    read, found = map(faiss.swig_ptr, (query, vectors, rows)), map(faiss.swig_ptr, (figures, best))
    faiss.knn_inner_products_by_idx(*read, vectors.shape[1], 1, len(vectors), len(rows), count, *found)
    return figures, best


def _asked(index: faiss.Index, queries: Vectors, k: int, parameters: Any) -> Candidates:
    """What FAISS finds, one query in this thread alone.

    FAISS divides a scan by queries, so that the others would have nothing to do but make this one wait for them; on a
    busy machine that takes longer than the scan.
    """
    before = _alone(len(queries) == 1)
    try:
        found: Candidates = index.search(queries, k, params=parameters)
    finally:
        _as(before)
    return found


def _alone(alone: bool) -> int:
    """Have OpenMP use this thread alone, where that is wanted; how many it has used, where these are others.

    How many it uses is remembered for each thread by itself.
    """
    before: int = faiss.omp_get_max_threads() if alone else 1
    if before > 1:
        faiss.omp_set_num_threads(1)
    return before


def _as(before: int) -> None:
    if before > 1:
        faiss.omp_set_num_threads(before)


def open_index(path: Path, count: int, dimension: int, entry: IndexEntry | None = None) -> AnnIndex:
    """The index in a file, memory-mapped; raises CorruptGeneration where it is none, or is damaged.

    One of more or fewer vectors is not looked at any further: the caller compares `count` and `dimension`. `entry` is
    what the manifest says of it; those of an earlier version say nothing, and are exact.
    """
    kind: Kind = entry.kind if entry else "exact"
    if not _begins_well(path, count, dimension, entry):
        raise CorruptGeneration(
            f"{str(path)!r} is not an index of {count} vectors of {dimension} dimensions.", path=path
        )
    try:
        index = kinds.read(str(path), kind)
    except (RuntimeError, MemoryError) as error:
        reason = (str(error).strip().splitlines() or ["it asks for too much memory"])[-1]
        raise CorruptGeneration(f"{str(path)!r} is not an index that FAISS can read ({reason}).", path=path) from error
    if (index.ntotal, index.d) != (count, dimension):
        return AnnIndex(index, kind)  # the caller compares
    if unsound := kinds.unsound(index, kind):
        raise CorruptGeneration(f"{str(path)!r} is damaged: {unsound}.", path=path)
    return AnnIndex(index, kind)


def _begins_well(path: Path, count: int, dimension: int, entry: IndexEntry | None) -> bool:
    with path.open("rb") as file:
        if entry is None or entry.frame is None:
            head = kinds.head(count, dimension)
            return bool(file.read(len(head)) == head)
        digest = hashlib.sha256()
        for offset, length in entry.frame.regions:
            file.seek(offset)
            digest.update(file.read(length))
        return digest.hexdigest() == entry.frame.sha256
