"""Which passages of each segment count for a filter, and what is remembered of that?

The parts of a snapshot are made once for each filter that came lately, and shared by all who send it again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import pyarrow as pa

from indexer import filters
from indexer.candidates import Items, Part
from indexer.filters import Filter
from indexer.segment import Segment
from indexer.snapshot import Snapshot

FILTERS_KEPT = 16
"""Filters of a snapshot whose passing items are kept, a byte for each item and passage: whoever turns a page, or asks
within one section, sends the same filter again."""
KEPT_BYTES = 8 << 20
"""Of codes that are kept of what passes a filter, in all segments: to scan them where they lie together takes a third
of the time of looking each up; that much of them takes about as long as a walk of a graph of which a tenth passes."""

_turn = threading.Lock()


def parts(snapshot: Snapshot, filter: Filter | None) -> list[Part]:
    """The segments of a snapshot with what passes the filter; the same ones where it was asked for lately."""
    known: OrderedDict[Hashable, list[Part]] = snapshot.kept
    with _turn:
        if found := known.get(filter):
            known.move_to_end(filter)
            return found
    made = [Part(part, None if filter is None else _passing(part.segment, filter)) for part in snapshot.segments]
    room = 0 if filter is None else KEPT_BYTES
    for one in made:
        one.may_keep = one.code_bytes <= room
        room -= one.code_bytes * one.may_keep
    with _turn:
        known[filter] = made
        if len(known) > FILTERS_KEPT:
            known.popitem(last=False)
    return made


def _passing(segment: Segment, filter: Filter) -> Items:
    return filters.evaluate(filter, _columns(segment), segment.entry.items)


def _columns(segment: Segment) -> Callable[[str], pa.ChunkedArray | pa.Array]:
    def column(field: str) -> pa.ChunkedArray | pa.Array:
        found = segment.column(field)
        return pa.nulls(segment.entry.items) if found is None else found

    return column
