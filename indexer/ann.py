"""Which passages are worth a closer look?

The only module that imports faiss. An index proposes candidates for the exact rescoring that follows in `search`, and
states how far its own figures can be off, so that the caller can prove that nothing better was left out. What is built
today is an exhaustive scan of half-precision codes: half the memory of the vectors and more than twice the speed.

File: FAISS's own format, read memory-mapped (IO_FLAG_MMAP_IFC), so that every process on a machine shares one copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from indexer.errors import CorruptGeneration
from indexer.storage import OutputFile
from indexer.vectors import Vectors

ERROR = 2.0**-10
"""Most that a candidate's figure differs from its cosine: half precision keeps 11 bits of each component, so that the
dot product of two rows of length 1 is off by at most 2**-11 (Cauchy-Schwarz); as much again for float32 sums."""

ROUNDING = 2.0**-11
"""Most that half precision moves a component of a row of length 1."""

Mask = npt.NDArray[np.bool_]
Candidates = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


class AnnIndex:
    """An opened index; searching changes nothing in it, so that threads may share it."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    @property
    def count(self) -> int:
        """How many vectors it holds."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """The length of its vectors."""
        return int(self._index.d)

    def first_unlike(self, first: int, vectors: Vectors) -> int | None:
        """The first row that is not what it was built of, `vectors` (n, d) being those of the rows from `first` on."""
        kept = self._index.reconstruct_n(first, len(vectors))
        unlike = np.flatnonzero(~(np.abs(kept - vectors) <= ROUNDING).all(axis=1))
        return first + int(unlike[0]) if len(unlike) else None

    def search(self, queries: Vectors, k: int, mask: Mask | None) -> Candidates:
        """The k rows nearest to each query, best first: figures (n, k) float32 and rows (n, k) int64.

        Only rows whose mask is true are proposed; row -1 stands where there are fewer than k.
        """
        with _threads_for(len(queries)):
            if mask is None:
                figures, rows = self._index.search(queries, k)
                return figures, rows
            bits = np.packbits(mask, bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
            figures, rows = self._index.search(queries, k, params=parameters)
            return figures, rows


@contextlib.contextmanager
def _threads_for(queries: int) -> Iterator[None]:
    """Let one query be answered by this thread alone.

    FAISS divides a scan by queries, so that the others would have nothing to do but make this one wait for them; on a
    busy machine that takes longer than the scan. How many threads OpenMP uses is remembered for each thread by itself.
    """
    before = faiss.omp_get_max_threads()
    if queries == 1:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def write(vectors: Vectors, file: OutputFile) -> None:
    """Build the index of `vectors` (n, d), rows of length 1, and write it."""
    index = _empty(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def open_index(path: Path, count: int, dimension: int) -> AnnIndex:
    """The index in a file, memory-mapped; raises CorruptGeneration where it is not one of so many vectors.

    What the file says of its own size is compared before FAISS reads it: FAISS takes lengths on trust, and a damaged
    one could ask for more memory than there is.
    """
    head = _head(count, dimension)
    with path.open("rb") as file:
        if file.read(len(head)) != head:
            raise CorruptGeneration(
                f"{str(path)!r} is not an index of {count} vectors of {dimension} dimensions.", path=path
            )
    try:
        return AnnIndex(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise CorruptGeneration(f"{str(path)!r} is not an index that FAISS can read ({reason}).", path=path) from error


def _empty(dimension: int) -> faiss.IndexScalarQuantizer:
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _head(count: int, dimension: int) -> bytes:
    """How the file of an index begins: that of an empty one with the number of vectors and the bytes of their codes.

    Four letters, the dimension (int32) and the number (int64) come first, the length of the codes (int64) last.
    """
    empty = faiss.serialize_index(_empty(dimension)).tobytes()
    size = count * dimension * 2
    return bytes(empty[:8] + count.to_bytes(8, "little") + empty[16:-8] + size.to_bytes(8, "little"))
