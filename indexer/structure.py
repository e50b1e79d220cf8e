"""Can what a segment's files say be right?

For files whose checksums are as published: a segment that was written wrongly has right checksums. Each file is asked
what the others rely on: Arrow's own rules, ids where the look-up says, passages in the order of the items and inside
their texts, vectors of length 1, and an index of those vectors. Everything is read, block by block; no order of the
checks lets one stumble over what another would have named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexer.columns import item_schema, to_hashes
from indexer.items import hash_id
from indexer.segment import ANN, IDS, ITEMS, PASSAGES, VECTORS, Segment
from indexer.vectors import Vectors

BLOCK = 65_536
LENGTH_ERROR = 1e-3
"""How far the length of a vector may be from 1."""


def faults(segment: Segment) -> Iterator[tuple[str, str]]:
    """The files of a segment that cannot be right, and why; what follows from another fault is not named."""
    checks: tuple[tuple[str, Callable[[Segment], str | None], tuple[str, ...]], ...] = (
        (ITEMS, _wrong_items, ()),
        (IDS, _wrong_ids, (ITEMS,)),
        (PASSAGES, _wrong_passages, (ITEMS,)),
        (VECTORS, _wrong_vectors, ()),
        (ANN, _wrong_index, (VECTORS,)),
    )
    wrong: set[str] = set()
    for name, check, needs in checks:
        if wrong.isdisjoint(needs) and (reason := check(segment)):
            wrong.add(name)
            yield name, reason


def _wrong_items(segment: Segment) -> str | None:
    try:
        segment.items.validate(full=True)
    except pa.ArrowException as error:
        return f"it is not valid Arrow: {error}"
    names = segment.items.column_names
    for expected in item_schema({}, "text" in names):
        if expected.name not in names or segment.items.field(expected.name).type != expected.type:
            return f"it has no column {expected.name!r} of type {expected.type}"
        if segment.items[expected.name].null_count:
            return f"it has items without {expected.name!r}"
    return None


def _wrong_ids(segment: Segment) -> str | None:
    if not segment.ids.ordered:
        return "its entries are not in the order of their hashes"
    if not segment.ids.names_each_row_once:
        return "its entries do not name every item once"
    ids, contents = segment.ids.by_row()
    start = 0
    for batch in segment.items.select(["id", "content"]).to_batches():
        end = start + len(batch)
        if not np.array_equal(to_hashes(map(hash_id, batch["id"].to_pylist())), ids[start:end]):
            return "its entries do not match the items' ids"
        if not np.array_equal(to_hashes(batch["content"].to_pylist()), contents[start:end]):
            return "its entries do not match the items' content hashes"
        start = end
    return None


def _wrong_passages(segment: Segment) -> str | None:
    rows = segment.item_rows.astype(np.int64)
    if not np.array_equal(np.unique(rows), np.arange(segment.entry.items)) or (np.diff(rows) < 0).any():
        return "its passages are not those of every item, in their order"
    if not (segment.starts < segment.ends).all():
        return "it has passages without a text"
    if "text" in segment.items.column_names:
        lengths = pc.utf8_length(segment.items["text"]).to_numpy()
        if not (segment.ends <= lengths[rows]).all():
            return "its passages reach beyond their texts"
    return None


def _wrong_vectors(segment: Segment) -> str | None:
    for start, vectors in _blocks(segment):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.abs(lengths - 1) < LENGTH_ERROR))  # so that NaN is wrong, too
        if len(wrong):
            return f"the vector at row {start + int(wrong[0]):,} is not of length 1"
    return None


def _wrong_index(segment: Segment) -> str | None:
    for start, vectors in _blocks(segment):
        if (row := segment.ann.first_unlike(start, vectors)) is not None:
            return f"it has another vector at row {row:,} than {VECTORS}"
    return None


def _blocks(segment: Segment) -> Iterator[tuple[int, Vectors]]:
    """The vectors, some at a time, each time with the row of the first."""
    for start in range(0, segment.entry.passages, BLOCK):
        yield start, segment.vectors[start : start + BLOCK]
