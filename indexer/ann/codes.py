"""How do 4-bit codes lie in a file, so that all processes on a machine share one copy?

An index of 4-bit codes is one inverted list of all rows (PQ fast scan), so that a scan can leave rows out. FAISS copies
the list into each process that opens the file it writes; here it lies as FAISS's lists on disk do, which it maps. File:

    the index with its list empty, in FAISS's own format
    zero bytes up to a multiple of 64
    the codes, in blocks of 32 rows, the last filled up
    the row numbers, 8 bytes each

Where the codes begin follows from the size of the file, as nothing comes after the row numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from indexer.vectors import Vectors

ROWS = 32
"""Rows whose codes FAISS keeps together, see `unpacked`."""
NUMBER_BYTES = 8
ALIGNMENT = 64
"""Of the codes in the file: what a processor reads at once from memory."""
FARTHER = 1e-3
"""By how much more than the nearest code a stored one may miss its vector, as a squared distance: two centroids may be
as near but for rounding."""

Codes = npt.NDArray[np.uint8]

_PERMUTED = (0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15)


def empty(dimension: int) -> faiss.Index:
    """An index without vectors, with a code of 4 bits for every 4 dimensions."""
    index = faiss.index_factory(dimension, f"IVF1,PQ{dimension // 4}x4fs", faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False
    index.pq.cp.min_points_per_centroid = 1
    return index


def write(index: faiss.Index, to: Callable[[Any], int]) -> None:
    """Hand over the bytes of the index's file, piece by piece."""
    length = 0

    def counted(piece: Any) -> int:
        nonlocal length
        length += len(piece)
        return to(piece)

    whole, nothing = index.invlists, faiss.BlockInvertedLists(1, ROWS, ROWS * index.code_size)
    index.own_invlists = False
    index.replace_invlists(nothing, False)
    try:
        faiss.write_index(index, faiss.PyCallbackIOWriter(counted))
    finally:
        index.replace_invlists(whole, True)
    to(bytes(-length % ALIGNMENT))
    to(_packed(index).data)
    to(_numbers(index).data.cast("B"))


def read(path: str) -> faiss.Index:
    """The index in a file, its list memory-mapped; raises RuntimeError."""
    index = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
    if index.invlists.list_size(0) == index.ntotal:  # as FAISS writes it, and Parecido once did
        return index
    size, capacity = Path(path).stat().st_size, -(-index.ntotal // ROWS) * ROWS
    offset = size - capacity * index.code_size - index.ntotal * NUMBER_BYTES
    if offset < 0 or offset % ALIGNMENT:
        raise RuntimeError(f"its {size} bytes are not those of {index.ntotal} codes")
    rows = faiss.OnDiskOneList()
    rows.size, rows.capacity, rows.offset = index.ntotal, capacity, offset
    lists = faiss.OnDiskInvertedLists()
    lists.nlist, lists.code_size = 1, index.code_size
    lists.lists.push_back(rows)
    lists.filename, lists.totsize, lists.read_only = path, size, True
    lists.prefetch_nthread = 0  # or a thread reads the whole list before each search, beside it
    lists.do_mmap()
    index.replace_invlists(lists, True)
    lists.this.disown()
    return index


def unsound(index: faiss.Index) -> str | None:
    """What in an index would have a search name other rows; None where nothing does."""
    return None if np.array_equal(_numbers(index), np.arange(index.ntotal)) else "its rows are not numbered in order"


def as_near_as_can_be(index: faiss.Index, first: int, vectors: Vectors) -> npt.NDArray[np.bool_]:
    """Whether the code of each vector, `vectors` (n, d) being those from row `first` on, is the nearest there is.

    Or as near but for rounding.
    """
    kept = index.pq.decode(_repacked(unpacked(index, first, first + len(vectors))))
    best = index.pq.decode(index.pq.compute_codes(np.ascontiguousarray(vectors)))
    missed = ((vectors - kept) ** 2).sum(axis=1)
    near: npt.NDArray[np.bool_] = missed <= ((vectors - best) ** 2).sum(axis=1) + FARTHER
    return near


def unpacked(index: faiss.Index, first: int, last: int) -> Codes:
    """The 4-bit codes of some rows (last - first, sub-quantizers), out of the order in which fast scan reads them.

    32 rows are kept together. For each two sub-quantizers in turn there are 16 bytes of the first and 16 of the second;
    byte j has the codes of rows p(j) and p(j) + 16 in its lower and upper half, with p as in FAISS's pq4_pack_codes.
    """
    from_block, to_block = first // ROWS, -(-last // ROWS)
    blocks = _packed(index).reshape(-1, index.pq.M // 2, 2, 16)[from_block:to_block]
    rows = np.empty((len(blocks), ROWS, index.pq.M), dtype=np.uint8)
    for at, row in enumerate(_PERMUTED):
        for odd in (0, 1):
            rows[:, row, odd::2] = blocks[:, :, odd, at] & 15
            rows[:, row + 16, odd::2] = blocks[:, :, odd, at] >> 4
    start = first - from_block * ROWS
    return rows.reshape(-1, index.pq.M)[start : start + last - first]


def _repacked(codes: Codes) -> Codes:
    """Two codes to a byte, as a product quantizer has them."""
    return np.ascontiguousarray(codes[:, 0::2] | codes[:, 1::2] << 4)


def _packed(index: faiss.Index) -> Codes:
    """The codes as they lie."""
    blocks = -(-index.ntotal // ROWS)
    return np.asarray(faiss.rev_swig_ptr(index.invlists.get_codes(0), blocks * ROWS * index.code_size))


def _numbers(index: faiss.Index) -> npt.NDArray[np.int64]:
    """The number of each row as it lies."""
    return np.asarray(faiss.rev_swig_ptr(index.invlists.get_ids(0), index.ntotal))
