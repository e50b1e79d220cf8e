"""How is an index built that finds what it shall?

The kind that `choose` names first is built of all but a few items, and asked for what is nearest to these; where it
finds enough they are added, and where it finds too little at every effort, the next kind is built, the exact one in the
end, which needs no asking. Vectors are read block by block, and let go of, so that what is held is the index alone, and
of the exact one not even that. What a trial took is given back before anything is added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.ann import kinds
from indexer.ann.choice import Choice, Kind, choose, in_turn
from indexer.ann.ladder import LIMITS, Frame, IndexEntry
from indexer.ann.opened import AnnIndex
from indexer.ann.passages import Logged, Passages, let_go, nothing_logged, spread
from indexer.ann.tuning import LEAST, measured
from indexer.config import MEMORY_BUDGET
from indexer.memory import give_back
from indexer.stages import Advance, Progress, stage
from indexer.storage import OutputFile
from indexer.vectors import Vectors

BLOCK = 8192
SAMPLED_FROM = 50_000
"""Vectors from which on a graph of a few is tried before one of all."""
SAMPLE, SAMPLE_EFFORT = 4096, 64
"""How many these are, and how far a walk among them may look: 16 to 32 in clusters, 128 where there are none."""
FRAME_PIECE = 64
"""FAISS writes what says how long something is by itself, in pieces of no more bytes."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What an index shall be like."""

    recall: float | None = None
    """How much of what is nearest it shall find; None for all."""
    memory_budget: float = MEMORY_BUDGET
    """Most that it shall take, as a share of what its vectors take; the recall goes before it."""
    logged: Logged = nothing_logged
    """Queries of a log, with which it is tuned besides."""


def build(passages: Passages, aim: Aim, file: OutputFile, progress: Progress | None = None) -> IndexEntry:
    """Build an index of some passages that finds as much as it shall, and write it."""
    count, dimension = passages.vectors.shape
    first = choose(count, dimension, round(aim.memory_budget * 4 * count * dimension), aim.recall)
    if first.kind != "exact" and _too_few(passages, aim.logged):
        first = Choice("exact", f"{passages.item_count:,} items are too few to measure another index with")
    for choice in in_turn(first, dimension):
        if choice.kind == "exact" or aim.recall is None:
            break
        if entry := _tried(choice, passages, aim, aim.recall, file, progress):
            return entry
    with _stage(progress, count) as advance:
        kinds.write_exact(_blocks(passages.vectors, advance), count, dimension, file.write)
    return IndexEntry("exact", choice.reason, aim.recall, memory_budget=aim.memory_budget)


def gathered(vectors: Vectors, rows: npt.NDArray[np.int64]) -> AnnIndex:
    """An exact index in memory of some of the vectors, in that order."""
    index = kinds.empty("exact", vectors.shape[1])
    for start in range(0, len(rows), BLOCK):
        index.add(vectors.take(rows[start : start + BLOCK], axis=0))
    return AnnIndex(index)


def _tried(
    choice: Choice, passages: Passages, aim: Aim, recall: float, file: OutputFile, progress: Progress | None
) -> IndexEntry | None:
    """An index of that kind, written; None where it finds too little, and then it is no longer held either."""
    if choice.kind in ("hnsw", "hnsw-sq8") and _hopeless(choice.kind, passages.vectors, recall):
        return None
    give_back()
    index = _empty(choice.kind, passages.vectors)
    known, items = passages.held_out()
    queries = items.and_logged(aim.logged())
    with _stage(progress, len(known.vectors)) as advance:
        _fill(index, passages.vectors[: len(known.vectors)], advance)
    ladder = measured(AnnIndex(index, choice.kind), known, queries, progress)
    entry = IndexEntry(
        choice.kind, choice.reason, recall, queries.items, ladder,
        logged=queries.logged, memory_budget=aim.memory_budget,
    )  # fmt: skip
    if not entry.finds(recall):
        return None
    give_back()
    with _stage(progress, len(passages.vectors) - len(known.vectors)) as advance:
        _fill(index, passages.vectors[len(known.vectors) :], advance)
    return _written(index, entry, file)


def _too_few(passages: Passages, logged: Logged) -> bool:
    """Whether an index could not be measured; a log is read only where items alone do not suffice."""
    return passages.to_hold_out < LEAST and passages.to_hold_out + len(logged()) < LEAST


def _hopeless(kind: Kind, vectors: Vectors, recall: float) -> bool:
    """Whether a graph of a few of many vectors, soon built, looks so far that one of all would find too little.

    Where all directions are alike, as in what no model has made, neighbours are hardly nearer than anything else.
    """
    if len(vectors) < SAMPLED_FROM:
        return False
    known, queries = Passages(spread(vectors, SAMPLE)).held_out()
    index = _empty(kind, known.vectors)
    _fill(index, known.vectors, lambda count: None)
    ladder = measured(AnnIndex(index, kind), known, queries)
    rung = IndexEntry(kind, "", ladder=ladder).rung(LIMITS[0], recall)
    return rung is None or rung.effort > SAMPLE_EFFORT


def _stage(progress: Progress | None, count: int) -> AbstractContextManager[Advance]:
    return stage(progress, "index", count, "passages")


def _empty(kind: Kind, vectors: Vectors) -> Any:
    """An index that has learnt what it has to of these vectors, with room for all of them where it is a graph."""
    index = kinds.empty(kind, vectors.shape[1])
    kinds.train(index, spread(vectors, kinds.TRAINING_VECTORS))
    if kind in ("hnsw", "hnsw-sq8"):
        kinds.reserve(index, len(vectors))
    return index


def _fill(index: Any, vectors: Vectors, advance: Advance) -> None:
    for block in _blocks(vectors, advance):
        index.add(block)


def _blocks(vectors: Vectors, advance: Advance) -> Iterator[Vectors]:
    """All vectors, some at a time; each block is let go of once it was used."""
    for start in range(0, len(vectors), BLOCK):
        block = np.ascontiguousarray(vectors[start : start + BLOCK])
        yield block
        advance(len(block))
        let_go(vectors)


def _written(index: Any, entry: IndexEntry, file: OutputFile) -> IndexEntry:
    """Write an index; its entry then knows which parts of the file say how long the others are."""
    regions: list[tuple[int, int]] = []
    digest, at = hashlib.sha256(), 0

    def write(piece: Any) -> int:
        nonlocal at
        length = file.write(piece)
        if length <= FRAME_PIECE:
            digest.update(piece)
            if regions and sum(regions[-1]) == at:
                regions[-1] = (regions[-1][0], regions[-1][1] + length)
            else:
                regions.append((at, length))
        at += length
        return length

    kinds.write(index, entry.kind, write)
    frame = Frame(tuple(regions), digest.hexdigest())
    return replace(entry, frame=frame)
