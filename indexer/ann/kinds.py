"""How is an index of each kind made with FAISS, and what is inside it?

An index is made empty, trained where it has something to learn, filled block by block, and written. Training is done
by one thread with a fixed seed, hence always the same; graphs are filled by all cores, and come out a little different
each time, as their nodes are linked in whatever order the threads come to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from indexer.ann import codes
from indexer.ann.choice import LINKS, Kind
from indexer.vectors import Vectors

EF_CONSTRUCTION = 128
"""How many nodes the walk keeps that finds the neighbours of a new node; with FAISS's 40 large graphs miss too much."""
UPPER_LINKS = 2
"""Room for a node's neighbours on upper levels: 1.03 on average, for of LINKS nodes one has LINKS of them."""
TRAINING_VECTORS = 4096
"""As many as k-means takes for 16 centroids."""
ROUNDING = 2.0**-11
"""Most that half precision moves a component of a row of length 1."""


def empty(kind: Kind, dimension: int) -> faiss.Index:
    """An index of that kind without vectors."""
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "exact":
        return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, metric)
    if kind == "pq":
        return codes.empty(dimension)
    index = faiss.index_factory(dimension, f"HNSW{LINKS},{'SQfp16' if kind == 'hnsw' else 'SQ8'}", metric)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    return index


def train(index: faiss.Index, vectors: Vectors) -> None:
    """Have the index learn from some of the vectors what it has to know, always the same."""
    if not index.is_trained:
        step = max(1, len(vectors) // TRAINING_VECTORS)
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            index.train(np.ascontiguousarray(vectors[::step]))
        finally:
            faiss.omp_set_num_threads(before)


def reserve(index: faiss.Index, count: int) -> None:
    """Have a graph make room for so many vectors at once; what grows step by step is at times there twice.

    A vector of C++ that is made smaller keeps its room.
    """
    if index.ntotal == 0:
        storage = faiss.downcast_index(index.storage)
        lowest = faiss.vector_to_array(index.hnsw.cum_nneighbor_per_level)[1]
        rooms = (storage.codes, count * storage.code_size), (index.hnsw.neighbors, count * (int(lowest) + UPPER_LINKS))
        for vector, size in rooms:
            vector.resize(size)
            vector.resize(0)


def write_exact(blocks: Iterable[Vectors], count: int, dimension: int, to: Callable[[memoryview], int]) -> None:
    """Hand over the bytes of the file of an exact index of `count` vectors, of which only a block is ever held."""
    codec = empty("exact", dimension)
    to(memoryview(head(count, dimension)))
    for block in blocks:
        to(memoryview(codec.sa_encode(block)))


def write(index: faiss.Index, kind: Kind, to: Callable[[Any], int]) -> None:
    """Hand over the bytes of the index's file, piece by piece."""
    codes.write(index, to) if kind == "pq" else faiss.write_index(index, faiss.PyCallbackIOWriter(to))


def read(path: str, kind: Kind) -> faiss.Index:
    """The index in a file, memory-mapped; raises RuntimeError.

    FAISS compares a graph with itself: that every row is on levels that there are, has the room for its neighbours
    there, and leads to none that there is not. It does so without holding the interpreter, unlike what Python would do.
    """
    return codes.read(path) if kind == "pq" else faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)


def read_whole(path: str) -> faiss.Index:
    """The same in memory, where it may be changed."""
    return faiss.read_index(path)


def head(count: int, dimension: int) -> bytes:
    """How the file of an exact index begins: that of an empty one with the number of vectors and of bytes of codes.

    Four letters, the dimension (int32) and the number (int64) come first, the length of the codes (int64) last.
    """
    start = faiss.serialize_index(empty("exact", dimension)).tobytes()
    size = count * dimension * 2
    return bytes(start[:8] + count.to_bytes(8, "little") + start[16:-8] + size.to_bytes(8, "little"))


def unsound(index: faiss.Index, kind: Kind) -> str | None:
    """What in an index would lead a search astray, or out of its memory; None where nothing does."""
    if kind == "exact":
        return None
    if kind == "pq":
        return codes.unsound(index)
    return _unsound_graph(index.hnsw, index.ntotal)


def _unsound_graph(graph: Any, count: int) -> str | None:
    """What FAISS has not compared, see `read`."""
    if not 0 <= graph.entry_point < count:
        return "its graph begins at a row that there is not"
    offsets, levels = _mapped(graph.offsets), _mapped(graph.levels)
    if len(offsets) != count + 1 or len(levels) != count or offsets[0] != 0 or offsets[-1] != graph.neighbors.size():
        return "its graph has not a place for every row"
    if levels.max() > graph.max_level + 1:
        return "its graph has rows on levels that it does not have"
    return None


def on_upper_levels(index: faiss.Index) -> npt.NDArray[np.int64]:
    """The rows that a walk of a graph may pass on its way to the lowest level."""
    return np.flatnonzero(_mapped(index.hnsw.levels) > 1)


def take_out(index: faiss.Index, rows: npt.NDArray[np.int64], vectors: Vectors) -> None:
    """Change a graph as if some rows, which lie on its lowest level alone, had never been in it.

    Whatever leads to such a row then leads to the nearest of those that the row itself leads to.
    """
    links, offsets = _mapped(index.hnsw.neighbors), _mapped(index.hnsw.offsets).astype(np.int64)
    room = np.arange(faiss.vector_to_array(index.hnsw.cum_nneighbor_per_level)[1])
    out = np.zeros(index.ntotal + 1, dtype=np.bool_)  # the last stands for -1, where there is no neighbour
    out[rows] = True
    places = np.flatnonzero(out[links])
    holders, led_to = np.searchsorted(offsets, places, side="right") - 1, links[places]
    for row in rows:
        onward = links[offsets[row] + room]
        onward = onward[(onward >= 0) & ~out[onward]]
        here = led_to == row
        held = links[offsets[holders[here]][:, None] + room]
        near = vectors[holders[here]] @ vectors[onward].T
        near[(held[:, :, None] == onward).any(axis=1) | (holders[here][:, None] == onward)] = -2
        if near.size:
            links[places[here]] = onward[near.argmax(axis=1)]


def _mapped(vector: Any) -> npt.NDArray[Any]:
    """A vector of FAISS's, as it is mapped."""
    return np.asarray(faiss.rev_swig_ptr(vector.data(), vector.size()))


def first_unlike(index: faiss.Index, kind: Kind, first: int, vectors: Vectors) -> int | None:
    """The first row that is not what it was built of, `vectors` (n, d) being those of the rows from `first` on."""
    if kind == "pq":
        unlike = ~codes.as_near_as_can_be(index, first, vectors)
    else:
        kept = index.reconstruct_n(first, len(vectors))
        if kind == "hnsw-sq8":
            codec = faiss.downcast_index(index.storage)
            fresh = codec.sa_decode(codec.sa_encode(np.ascontiguousarray(vectors)))
            unlike = ~(np.abs(kept - fresh) <= ROUNDING).all(axis=1)
        else:
            unlike = ~(np.abs(kept - vectors) <= ROUNDING).all(axis=1)
    rows = np.flatnonzero(unlike)
    return first + int(rows[0]) if len(rows) else None
