"""Which segments are folded into the one that is being written, and how without embedding anything?

Each run writes what changed as a segment of its own; without folding, a thousand small runs would leave a thousand
segments. Folding copies rows as they are: texts, metadata, passages and vectors, never those of deleted items. What
holds after every run, as far as the estimate of what it writes was right: of the small segments, of less than an eighth
of the full size, each that is kept has more than twice the passages of all smaller ones together, so that their number
grows with the logarithm of the collection, and so does what is written for an item over its life (the logarithmic
method of Bentley and Saxe, 1980). Where an estimate was wrong, the next run makes it good.

Larger ones, up to half of the full size, follow the same method but for its second half: they are folded where what a
run writes and folds comes to half as much, and never because they are few beside each other. A store of an earlier
version may have any number of them, whose indexes a run of a few items would otherwise build anew. So a run folds no
more of them than make one segment, and only once the small ones have come to half the size of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from indexer.columns import item_schema, numbers
from indexer.snapshot import LiveSegment
from indexer.writing import Rows, SegmentShape

RATIO = 2
"""A segment of no more than this many times the passages that are written anyway is written with them."""
FLOOR = 1024
"""Passages that are written at hardly any cost: less is taken for as much."""
HOLLOW = 1 / 8
"""Share of deleted passages above which a segment is rewritten: they are scanned in every search."""

SMALL = 1 / 8
"""Share of a full segment below which any that are few beside each other are folded: soon copied, and soon indexed."""

BLOCK_ITEMS = 4096
BLOCK_BYTES = 16_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """What the decision needs to know of a segment."""

    id: str
    passages: int
    live: int
    """Passages of items that are not deleted, as the generation that is being built has it."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A segment whose live items are written again, into a new segment."""

    segment: str
    passages: int
    """Those that are copied; 0 where nothing is left of it."""
    reason: str


def plan_merge(segments: Sequence[Size], incoming: int, full: int) -> list[Fold]:
    """Which segments to fold into what a run writes or to leave out, and why; hollow ones before small ones.

    `incoming` is how many passages the run writes anyway, or an estimate of it. Segments of at least half of `full`
    passages are left alone unless they are hollow; those without a live passage are left out, and come first.
    """
    empty = [s for s in segments if s.live == 0]
    rest = sorted((s for s in segments if s.live), key=lambda s: s.live)
    hollow = [s for s in rest if s.passages - s.live > HOLLOW * s.passages]
    small = [s for s in rest if s not in hollow and s.live < full / 2]
    written = incoming + sum(s.live for s in hollow)
    joining = small[: _joining(small, max(written, FLOOR), full)]
    if not hollow and not incoming and len(joining) == 1:
        joining = []  # a single small segment with nothing to join would only be copied
    written += sum(s.live for s in joining)
    return [
        *(Fold(s.id, 0, f"none of its {s.passages:,} passages is in use any more") for s in empty),
        *(Fold(s.id, s.live, _hollow(s)) for s in hollow),
        *(Fold(s.id, s.live, _small(s, written - s.live)) for s in joining),
    ]


def _hollow(s: Size) -> str:
    return f"{s.passages - s.live:,} of its {s.passages:,} passages are deleted or replaced"


def _small(s: Size, others: int) -> str:
    if s.live <= RATIO * others:
        return f"its {s.live:,} passages are few beside the {others:,} written with them"
    return f"it has only {s.live:,} passages"


def _joining(rising: Sequence[Size], written: int, full: int) -> int:
    """How many of the segments, in rising order of size, are few beside what is written.

    Of small ones all smaller ones count as written, and are if it comes to that. Of others only what is written does,
    and nothing once that is half of a full segment, so that no run folds more than a full one of them.
    """
    joining, with_joining, with_all = 0, written, written
    for count, s in enumerate(rising, 1):
        beside = with_all if s.live < SMALL * full else with_joining if with_joining < full / 2 else 0
        if s.live <= RATIO * beside:
            joining, with_joining = count, with_all + s.live
        with_all += s.live
    return joining


def copied(part: LiveSegment, shape: SegmentShape) -> Iterator[Rows]:
    """The live items of a segment in the shape of the next generation, some at a time, in their order."""
    segment = part.segment
    ids, contents = segment.ids.by_row()
    items = segment.items
    rows = np.arange(segment.entry.items) if part.live is None else np.flatnonzero(part.live)
    alive = np.ones(segment.entry.passages, dtype=bool) if part.live_passages is None else part.live_passages
    for block in _blocks(rows, items):
        first, last = np.searchsorted(segment.item_rows, [block[0], block[-1] + 1])
        passages = first + np.flatnonzero(alive[first:last])
        chosen = pa.array(passages)
        yield Rows(
            ids=ids[block],
            contents=contents[block],
            items=_items(_taken(items, block), shape),
            counts=np.bincount(segment.item_rows[passages] - block[0], minlength=len(block))[block - block[0]],
            starts=pa.array(segment.starts[passages]),
            ends=pa.array(segment.ends[passages]),
            hashes=segment.passage_hashes.take(chosen).combine_chunks(),
            vectors=[segment.vectors[passages]],
        )
        segment.release()


def _blocks(rows: npt.NDArray[np.int64], items: pa.Table) -> Iterator[npt.NDArray[np.int64]]:
    """The rows in pieces that are bounded in number and in bytes of text."""
    lengths = numbers(pc.binary_length(items["text"])) if "text" in items.column_names else np.zeros(items.num_rows)
    reach = np.cumsum(lengths[rows], dtype=np.int64)
    start = 0
    while start < len(rows):
        before = reach[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(reach, before + BLOCK_BYTES)))
        end = min(end, start + BLOCK_ITEMS)
        yield rows[start:end]
        start = end


def _taken(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Some rows of a table; of what lies before and behind them nothing is looked at, or copied."""
    first, last = int(rows[0]), int(rows[-1])
    return table.slice(first, last - first + 1).take(pa.array(rows - first))


def _items(table: pa.Table, shape: SegmentShape) -> pa.RecordBatch:
    """Rows of items.arrow with the columns of a newer schema: missing ones are null, integers may widen to floats.

    An integer beyond 2**53 becomes the float next to it, as in a row that is read anew.
    """
    schema = item_schema(shape.schema, shape.store_text)
    columns = [
        table[f.name].combine_chunks().cast(f.type, safe=False)
        if f.name in table.column_names
        else pa.nulls(len(table), f.type)
        for f in schema
    ]
    return pa.record_batch(columns, schema=schema)
