"""How much of what is nearest does a search of a generation find?

Each index was measured when it was built, with queries that were not in it, and is asked with the least effort that
surely reaches the collection's target. The whole finds at least what its worst segment finds: of what is nearest to
all, a segment has to find its own nearest ones alone, and these are found first. Segments that are searched exactly
find everything. What is deleted later is passed over, and more is fetched for it; where that has become much, an index
is measured again.
"""

from __future__ import annotations

from collections.abc import Sequence

from indexer.ann import LIMITS, Figure
from indexer.generation import Contract, Whole
from indexer.segment import SegmentEntry

EVERYTHING = Figure(1.0, 1.0, 1.0)
CHANGED = 0.05
"""Share of the items that counted when an index was measured which may go before it is measured again."""


def agreed(segments: Sequence[SegmentEntry], target: float | None) -> Contract:
    """What searches of these segments find where they shall find `target`; everything where it is None."""
    if target is None:
        return Contract(None)
    wholes = (_whole(segments, limit, target) for limit in LIMITS)
    return Contract(target, tuple(whole for whole in wholes if whole))


def _whole(segments: Sequence[SegmentEntry], limit: int, target: float) -> Whole | None:
    """The worst figures; None where every segment is searched exactly."""
    indexes = [entry.index for entry in segments if entry.index and entry.index.kind != "exact"]
    plain = [rung.figure for index in indexes if (rung := index.rung(limit, target))]
    filtered = [rung.filtered for index in indexes if (rung := index.rung(limit, target, filtered=True))]
    if not plain and not filtered:
        return None
    return Whole(limit, min(plain, default=EVERYTHING), min(filtered, default=EVERYTHING))


def why_again(entry: SegmentEntry, gone: int, target: float | None) -> str | None:
    """Why a segment's index is measured again, now that `gone` of its items do not count; None where it is not."""
    index = entry.index
    if target is None or index is None or index.kind == "exact":
        return None
    counted, changed = entry.items - index.gone, gone - index.gone
    if changed <= CHANGED * counted:
        return None
    return f"{changed:,} of the {counted:,} items that it was measured with are deleted or replaced"


def too_little(entry: SegmentEntry, target: float) -> str | None:
    """Why a segment's index does not suit any more; None where it finds enough."""
    index = entry.index
    if index is None or index.kind == "exact" or index.finds(target):
        return None
    if not index.ladder:
        return "too few of its items are left to measure its index with"
    gone = f"{index.gone:,} of its {entry.items:,} items are gone"
    return f"its index finds less than {target:g} of what is nearest, now that {gone}"
