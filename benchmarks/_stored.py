"""What does a store hold, in a form that other servers can be filled from?

A row is a passage. An item's first passage goes under the item's id, each further one under the id, a line break and
its number, so that a server that knows no passages can hold them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from indexer.snapshot import LiveSegment, Snapshot
from indexer.vectors import Vectors

VECTORS, ROWS = "vectors.npy", "rows.jsonl"


@dataclass(frozen=True)
class Stored:
    """The rows of a store, as they stand in its segments."""

    items: list[str]
    """The id of each row's item."""
    vectors: Vectors
    shares: npt.NDArray[Any]
    """The item's number from 0 to 99, see `stores`."""

    @property
    def ids(self) -> list[str]:
        """An id of its own for each row."""
        numbers: dict[str, Iterator[int]] = {}
        named = ((item, next(numbers.setdefault(item, count()))) for item in self.items)
        return [f"{item}\n{number}" if number else item for item, number in named]


def read(snapshot: Snapshot) -> Stored:
    """All live rows."""
    parts = [(part, _live(part)) for part in snapshot.segments]
    items, shares = (
        np.concatenate([_column(part, name)[part.segment.item_rows[rows]] for part, rows in parts])
        for name in ("id", "share")
    )
    return Stored(items.tolist(), np.concatenate([part.segment.vectors[rows] for part, rows in parts]), shares)


def shares(part: LiveSegment) -> npt.NDArray[Any]:
    """The number from 0 to 99 of each item of a segment."""
    return _column(part, "share")


def write(snapshot: Snapshot, stored: Stored, folder: Path) -> None:
    """Vectors, float32, and beside them their ids, texts and metadata, one JSON object a line."""
    np.save(folder / VECTORS, stored.vectors)
    with (folder / ROWS).open("wb") as file:
        for id, (text, metadata) in zip(stored.ids, _contents(snapshot), strict=True):
            row = {"id": id, "text": text, "metadata": metadata}
            file.write(orjson.dumps(row) + b"\n")


def _contents(snapshot: Snapshot) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in snapshot.segments:
        segment = part.segment
        for row in _live(part).tolist():
            item = int(segment.item_rows[row])
            text = segment.text(item) or ""
            yield text[segment.starts[row] : segment.ends[row]], segment.metadata(item)


def _live(part: LiveSegment) -> npt.NDArray[np.intp]:
    if part.live_passages is None:
        return np.arange(part.segment.entry.passages)
    return np.flatnonzero(part.live_passages)


def _column(part: LiveSegment, name: str) -> npt.NDArray[Any]:
    column = part.segment.column(name)
    if column is None:
        raise ValueError(f"The store has no field {name!r}: let `stores` make it, which numbers the items.")
    return np.array(column.to_pylist())
