"""How do prepared items become segments on disk?

Nobody refers to a segment before a manifest does, so that a half-written one is only a leftover. Segments are closed at
a size that bounds the memory in which their indexes are built.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexer import storage
from indexer.items import Schema
from indexer.report import Stopwatch
from indexer.segment import Prepared, SegmentEntry, SegmentWriter
from indexer.storage import CollectionFolder

SEGMENT_BYTES = 256 << 20
"""Vectors in one segment."""


@dataclass(frozen=True, slots=True)
class SegmentShape:
    """What all segments of one generation have in common."""

    number: int
    """The generation that they are written for; the first part of their ids."""
    schema: Schema
    dimension: int
    store_text: bool


def write_segments(
    batches: Iterator[list[Prepared]], shape: SegmentShape, scratch: Path, folder: CollectionFolder, watch: Stopwatch
) -> list[SegmentEntry]:
    """Write all batches as segments, in `scratch` first and under their final names when they are on disk."""
    entries: list[SegmentEntry] = []
    batch = _next(batches, watch)
    while batch is not None:
        id = f"{shape.number:06d}-{secrets.token_hex(4)}"
        with SegmentWriter(scratch / id, shape.schema, shape.dimension, shape.store_text) as writer:
            while batch is not None and writer.vector_bytes < SEGMENT_BYTES:
                with watch.stage("write"):
                    writer.add(batch)
                batch = _next(batches, watch)
            with watch.stage("write"):
                entries.append(_finish(writer, scratch, folder))
    return entries


def _next(batches: Iterator[list[Prepared]], watch: Stopwatch) -> list[Prepared] | None:
    with watch.stage("embed"):
        return next(batches, None)


def _finish(writer: SegmentWriter, scratch: Path, folder: CollectionFolder) -> SegmentEntry:
    entry = writer.finish()
    storage.make_folder(folder.segments)
    storage.move_folder(scratch / entry.id, folder.segments / entry.id)
    return entry
