"""How alike are two vectors?

Every vector in Parecido is a float32 row of length 1, so that cosine similarity is a dot product. Similarity is
computed here and nowhere else; it is higher for what is more alike, and rounded so that equal texts tie exactly.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Similarities = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

DECIMALS = 6
"""Float32 vectors carry about seven digits: six decimals of a cosine are what can be told apart."""
_UNITS, _ZERO = np.array(10.0**DECIMALS), np.array(0.0)  # arrays, for a number is made one at every use
BLOCK_BYTES = 1 << 20
"""Of what is compared at a time, in float64."""


def normalise(vectors: npt.ArrayLike) -> Vectors:
    """Rows scaled to length 1, as float32 (n, d).

    Raises ValueError for a row that has no direction: all zeros, or with a NaN or an infinity in it.
    """
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
    with np.errstate(over="ignore"):  # an overflow makes an infinity, which is refused below
        lengths = np.sqrt(np.vecdot(rows, rows))
    good = (lengths > 0) & (lengths < np.inf)
    if np.count_nonzero(good) < len(rows):
        bad = int(np.flatnonzero(~good)[0])
        raise ValueError(f"row {bad} has no direction: it is all zeros or holds a NaN or an infinity")
    scaled: Vectors = (rows / lengths[:, None]).astype(np.float32, order="C")
    return scaled


def normalise_one(vector: Sequence[float]) -> Vectors:
    """The same of one vector, to the last bit and in a third of the time: (1, d)."""
    row = np.frombuffer(struct.pack(f"{len(vector)}d", *vector))  # reads a list in a third of np.array's time
    length = math.sqrt(np.vdot(row, row))  # says nothing of an overflow, which makes an infinity and is refused below
    if not 0 < length < math.inf:
        raise ValueError("the vector has no direction: it is all zeros or holds a NaN or an infinity")
    scaled: Vectors = (row / length).astype(np.float32)[None]
    return scaled


def similarity(a: Vectors, b: Vectors) -> Similarities:
    """Cosine similarity of each row of a (n, d) with each row of b (m, d): float64 (n, m) in [-1, 1].

    Summed in float64 one pair at a time, so that a pair's figure does not depend on what stands beside it.
    """
    return _rounded(np.vecdot(a.astype(np.float64)[:, None, :], b.astype(np.float64)))


def similarity_to_rows(a: Vectors, vectors: Vectors, rows: Rows, which: Rows | None = None) -> Similarities:
    """The same of some rows (m,) of the vectors: float64 (m,).

    Each is compared with the one row of a, or with that which `which` (m,) names.

    What is compared at a time fits into a core's own cache.
    """
    wide = a.astype(np.float64)
    block = max(1, BLOCK_BYTES // (2 * wide[:1].nbytes))
    if len(rows) <= block:
        return _rounded(_products(wide, vectors, rows, which))
    exact = np.empty(len(rows))
    for start in range(0, len(rows), block):
        some = slice(start, start + block)
        exact[some] = _products(wide, vectors, rows[some], None if which is None else which[some])
    return _rounded(exact)


def best_similarity_to_rows(a: Vectors, vectors: Vectors, rows: Rows) -> Similarities:
    """The same of some rows (m,) of the vectors, each with that of the rows of a to which it is most similar: (m,)."""
    best = np.empty(len(rows))
    block = max(1, BLOCK_BYTES // (8 * max(len(a), vectors.shape[1])))
    for start in range(0, len(rows), block):
        some = slice(start, start + block)
        best[some] = similarity(a, vectors.take(rows[some], axis=0)).max(axis=0)
    return best


def _products(wide: Similarities, vectors: Vectors, rows: Rows, which: Rows | None) -> Similarities:
    own = wide if which is None else wide.take(which, axis=0)
    products: Similarities = np.vecdot(vectors.take(rows, axis=0).astype(np.float64), own)
    return products


def _rounded(exact: Similarities) -> Similarities:
    """To what can be told apart, in place: what float32 makes a row longer than 1 does not reach the last digit."""
    exact *= _UNITS
    np.rint(exact, exact)
    exact += _ZERO  # turns -0.0 into 0.0
    exact /= _UNITS
    return exact
