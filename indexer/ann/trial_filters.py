"""With which filters is an index tried?

With some that let items pass at random, which is how most fields lie. And where candidates are told apart by 4-bit
codes, with some that let items pass which are alike, as a section or a language does: from outside all of these are
about equally far, so that codes tell the nearest of them least. A walk of a graph, which comes to what is nearer first
and is masked afterwards, finds as much of either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from indexer.ann.choice import Kind
from indexer.ann.opened import Mask
from indexer.ann.passages import Passages, let_go, spread
from indexer.vectors import Vectors

SHARES = (1 / 2, 1 / 4, 1 / 8)
"""Of the passages that pass at random. The fewer pass, the farther and the less unlike are the nearest of them, and the
harder to tell by codes; where much fewer pass than an eighth, an exact search of these is quicker. With halves of each
other, walks are as long as those of other efforts, and the same."""
SECTIONS = (1 / 2, 1 / 4)
"""Of those that pass as a section does."""
SAMPLE = 512
"""Vectors that tell in which direction all differ the most."""
BLOCK = 8192


def trial_filters(passages: Passages, kind: Kind) -> list[Mask]:
    """Which items pass each of the filters that an index of that kind is tried with."""
    return [*drawn(passages), *(sections(passages) if kind == "pq" else ())]


def drawn(passages: Passages) -> list[Mask]:
    """Items taken at random, each share of the passages within that before it."""
    order = np.random.default_rng(passages.item_count).permutation(passages.counting)
    return [*_first_of(order, passages, SHARES)]


def sections(passages: Passages) -> list[Mask]:
    """Items taken from one end of the direction in which the vectors differ the most, in the same way."""
    some = spread(passages.vectors, SAMPLE)
    direction: Vectors = np.linalg.svd(some - some.mean(axis=0), full_matrices=False)[2][0]
    counting = passages.counting
    return [*_first_of(counting[np.argsort(-_along(direction, passages, counting))], passages, SECTIONS)]


def _along(direction: Vectors, passages: Passages, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """How far each item's first passage lies in that direction."""
    firsts, vectors = passages.firsts_of(items), np.asarray(passages.vectors)
    along = np.empty(len(items), dtype=np.float32)
    for start in range(0, len(items), BLOCK):
        along[start : start + BLOCK] = vectors[firsts[start : start + BLOCK]] @ direction
        let_go(passages.vectors)
    return along


def _first_of(order: npt.NDArray[np.int64], passages: Passages, shares: Sequence[float]) -> Iterator[Mask]:
    """The first of some items, up to each share of their passages."""
    reach = np.cumsum(passages.sizes[order])
    for share in shares:
        mask = np.zeros(passages.item_count, dtype=np.bool_)
        mask[order[: int(np.searchsorted(reach, share * reach[-1:].sum())) + 1]] = True
        yield mask
