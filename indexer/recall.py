"""How much of what is nearest does a search of a generation find?

Each index was measured when it was built, with queries that were not in it, and is asked with the least effort that
surely reaches the collection's target. The whole finds at least what its worst segment finds: of what is nearest to
all, a segment has to find its own nearest ones alone, and these are found first. Segments that are searched exactly
find everything. What is deleted later is passed over, and more is fetched for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from indexer.ann import LIMITS
from indexer.generation import Contract, Whole
from indexer.segment import SegmentEntry


def agreed(segments: Sequence[SegmentEntry], target: float | None) -> Contract:
    """What searches of these segments find where they shall find `target`; everything where it is None."""
    if target is None:
        return Contract(None)
    wholes = (_whole(segments, limit, target) for limit in LIMITS)
    return Contract(target, tuple(whole for whole in wholes if whole))


def _whole(segments: Sequence[SegmentEntry], limit: int, target: float) -> Whole | None:
    """The worst figures; None where every segment is searched exactly."""
    found = [entry.index.rung(limit, target) for entry in segments if entry.index and entry.index.kind != "exact"]
    rungs = [rung for rung in found if rung]
    if not rungs:
        return None
    plain, filtered = min(r.figure for r in rungs), min(r.filtered for r in rungs)
    return Whole(limit, plain, filtered)
