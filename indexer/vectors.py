"""How alike are two vectors?

Every vector in Parecido is a float32 row of length 1, so that cosine similarity is a dot product. Similarity is
computed here and nowhere else; it is higher for what is more alike, and rounded so that equal texts tie exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Similarities = npt.NDArray[np.float64]

DECIMALS = 6
"""Float32 vectors carry about seven digits: six decimals of a cosine are what can be told apart."""
_UNITS = 10.0**DECIMALS


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
    """The same of one vector, to the last bit and in half the time: (1, d)."""
    row = np.array(vector, dtype=np.float64)
    with np.errstate(over="ignore"):
        length = math.sqrt(np.dot(row, row))
    if not 0 < length < math.inf:
        raise ValueError("the vector has no direction: it is all zeros or holds a NaN or an infinity")
    scaled: Vectors = (row / length).astype(np.float32)[None]
    return scaled


def similarity(a: Vectors, b: Vectors) -> Similarities:
    """Cosine similarity of each row of a (n, d) with each row of b (m, d): float64 (n, m) in [-1, 1].

    Summed in float64 one pair at a time, so that a pair's figure does not depend on what stands beside it.
    """
    return similarity_of_pairs(a[:, None, :], b[None, :, :])


def similarity_of_pairs(a: Vectors, b: Vectors) -> Similarities:
    """The same of each row of a (…, d) with the row of b (…, d) at its place: float64 (…)."""
    return _rounded(np.vecdot(a.astype(np.float64), b.astype(np.float64)))


def similarity_of_groups(a: Vectors, groups: Iterable[Vectors]) -> Similarities:
    """The same of each row of a (n, d) with its own group of rows (m, d), one group after the other: float64 (Σ m).

    What is compared at a time fits into a core's own cache.
    """
    exact = [np.vecdot(row, group.astype(np.float64)) for row, group in zip(a.astype(np.float64), groups, strict=True)]
    return _rounded(np.concatenate([np.empty(0), *exact]))


def _rounded(exact: Similarities) -> Similarities:
    rounded: Similarities = np.rint(exact * _UNITS) / _UNITS  # what np.round does, in a third less time
    return np.minimum(np.maximum(rounded, -1.0), 1.0) + 0.0  # turns -0.0 into 0.0
