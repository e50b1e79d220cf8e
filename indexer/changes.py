"""What is new, changed, unchanged and gone?

The source, in order of id hash, meets the look-ups of the published segments, which are sorted the same way. What is
held for the whole collection is two flags an item ("the source has it", "in a new version"), never the items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.columns import Hashes
from indexer.errors import SchemaConflict, SourceError
from indexer.items import Item, Place, Rejected, Schema
from indexer.rejects import Rejects
from indexer.segment import ITEMS
from indexer.snapshot import Found, LiveSegment
from indexer.sources.schema import SchemaInference
from indexer.spool import Bits, Partition, Spool


@dataclass(frozen=True, slots=True)
class Pending:
    """An item to be written, and its published version where there is one."""

    item: Item
    old: Found | None
    place: Place
    """Where in the source it was read; of one that stays as published, where it stands in the store."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the rows of one partition; every array has one entry a row."""

    segment: npt.NDArray[np.int64]
    """Position of the segment that has the item published; -1 where none has."""
    row: npt.NDArray[np.int64]
    """Its item row there."""
    added: Bits
    changed: Bits
    unchanged: Bits
    duplicate: Bits
    kept: Bits
    """Rejected rows whose published item stays."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The whole source against what is published."""

    added: int
    changed: int
    unchanged: int
    kept: int
    """Published items whose rows were rejected; they stay as they are."""
    unseen: Sequence[Bits]
    """For each published segment, the live items that the source does not give any more."""
    hold: bool
    """Whether those stay too, because some rows' ids could not be read."""

    @property
    def missing(self) -> int:
        """How many published items the source does not give any more."""
        return sum(int(rows.sum()) for rows in self.unseen)

    @property
    def deleted(self) -> int:
        """How many of them go."""
        return 0 if self.hold else self.missing

    @property
    def held(self) -> int:
        """How many of them stay."""
        return self.missing - self.deleted

    @property
    def to_write(self) -> int:
        """How many items a run that keeps the published segments writes."""
        return self.added + self.changed

    @property
    def to_rewrite(self) -> int:
        """How many items a rebuild writes."""
        return self.added + self.changed + self.unchanged + self.kept + self.held


class Published:
    """The live items of the published segments, by id hash; none at all before the first generation."""

    def __init__(self, parts: Sequence[LiveSegment]) -> None:
        self._parts = parts
        self._seen = [np.zeros(part.segment.entry.items, dtype=bool) for part in parts]
        self._replaced = [np.zeros(part.segment.entry.items, dtype=bool) for part in parts]

    def unchanged(self, ids: Hashes, contents: Hashes) -> Bits:
        """Which rows are published with exactly this content."""
        _, _, published = self._find(ids)
        same: Bits = (published == contents).all(axis=1) & contents.any(axis=1)
        return same

    def nothing_unchanged(self, ids: Hashes, contents: Hashes) -> Bits:
        """No row: for a rebuild, which writes every one again."""
        return np.zeros(len(ids), dtype=bool)

    def judge(self, partition: Partition) -> Verdict:
        """Judge every row of a partition."""
        segment, row, published = self._find(partition.ids)
        known, valid = segment >= 0, partition.first & ~partition.kept
        same = known & (published == partition.contents).all(axis=1)
        return Verdict(
            segment=segment,
            row=row,
            added=valid & ~known,
            changed=valid & known & ~same,
            unchanged=valid & same,
            duplicate=~partition.first & ~partition.kept,
            kept=partition.first & partition.kept & known,
        )

    def note(self, verdict: Verdict) -> None:
        """Remember which items the source still has, and which of them it has in a new version."""
        for position, (seen, replaced) in enumerate(zip(self._seen, self._replaced, strict=True)):
            here = verdict.segment == position
            replaced[verdict.row[here & verdict.changed]] = True
            seen[verdict.row[here & (verdict.changed | verdict.unchanged | verdict.kept)]] = True

    def unseen(self) -> list[Bits]:
        """For each segment, the live items that the source no longer has."""
        return [
            ~seen if part.live is None else part.live & ~seen
            for part, seen in zip(self._parts, self._seen, strict=True)
        ]

    def unseen_items(self, found: Comparison) -> Iterator[Found]:
        """The items that the source does not give any more."""
        for part, rows in zip(self._parts, found.unseen, strict=True):
            yield from (Found(part.segment, int(row)) for row in np.flatnonzero(rows))

    def held(self, found: Comparison) -> Iterator[Found]:
        """The items that stay although the source does not give them."""
        return self.unseen_items(found) if found.hold else iter(())

    def dead(self, found: Comparison) -> Iterator[tuple[LiveSegment, Bits]]:
        """Each published segment with the items that no longer count: deleted before, replaced now, or gone."""
        for part, replaced, unseen in zip(self._parts, self._replaced, found.unseen, strict=True):
            dead = replaced if found.hold else replaced | unseen
            yield part, dead if part.live is None else dead | ~part.live

    def found(self, verdict: Verdict, row: int) -> Found:
        """The published item of a verdict's row."""
        return Found(self._parts[int(verdict.segment[row])].segment, int(verdict.row[row]))

    def _find(self, ids: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Hashes]:
        segment = np.full(len(ids), -1, dtype=np.int64)
        row = np.full(len(ids), -1, dtype=np.int64)
        contents = np.zeros((len(ids), 2), dtype=np.uint64)
        for position, part in enumerate(self._parts):
            rows, found = part.segment.ids.find(ids)
            here = rows >= 0
            if part.live is not None:
                here[here] = part.live[rows[here]]
            segment[here], row[here], contents[here] = position, rows[here], found[here]
            part.segment.release()
        return segment, row, contents


def compare(spool: Spool, published: Published, rejects: Rejects, allow_unread_deletions: bool) -> Comparison:
    """Judge every row, count, and put rows whose id comes twice on the rejects list."""
    added = changed = unchanged = kept = 0
    for partition in spool.partitions():
        verdict = published.judge(partition)
        published.note(verdict)
        added += int(verdict.added.sum())
        changed += int(verdict.changed.sum())
        unchanged += int(verdict.unchanged.sum())
        kept += int(verdict.kept.sum())
        for rejected in _duplicates(partition, verdict):
            rejects.add(rejected)
    hold = rejects.unread > 0 and not allow_unread_deletions
    return Comparison(added, changed, unchanged, kept, published.unseen(), hold)


def _duplicates(partition: Partition, verdict: Verdict) -> Iterator[Rejected]:
    """The rows whose id an earlier row has."""
    first = 0
    for row in np.flatnonzero(partition.first | verdict.duplicate):
        if partition.first[row]:
            first = int(row)
            continue
        at = partition.place(first)
        id = partition.id(int(row))
        yield Rejected(partition.place(int(row)), f"id {id!r} comes twice; first in {at.file}, line {at.line}", id)


def changed_items(spool: Spool, published: Published, schema: Schema) -> Iterator[Pending]:
    """The items that are new or changed."""
    for partition in spool.partitions():
        yield from _rows(partition, published.judge(partition), published, schema, rewrite=False)


def all_items(spool: Spool, published: Published, found: Comparison, schema: Schema) -> Iterator[Pending]:
    """Every item that the next generation holds, for a rebuild: the source's, and the published ones that stay."""
    for partition in spool.partitions():
        verdict = published.judge(partition)
        yield from _rows(partition, verdict, published, schema, rewrite=True)
        for row in map(int, np.flatnonzero(verdict.kept)):
            yield _carried(published.found(verdict, row), schema)
    for stays in published.held(found):
        yield _carried(stays, schema)


def _rows(
    partition: Partition, verdict: Verdict, published: Published, schema: Schema, rewrite: bool
) -> Iterator[Pending]:
    known = verdict.changed | verdict.unchanged
    for row in map(int, np.flatnonzero(verdict.added | (known if rewrite else verdict.changed))):
        yield Pending(
            partition.item(row, schema), published.found(verdict, row) if known[row] else None, partition.place(row)
        )


def _carried(found: Found, schema: Schema) -> Pending:
    """A published item that a rebuild takes over as it is, for the source does not give it; its text is stored.

    Raises SchemaConflict where its metadata no longer fits the schema.
    """
    segment, row = found.segment, found.row
    id, text = segment.id(row), segment.text(row)
    if text is None:
        raise SourceError(
            f"The source no longer gives item {id!r}, and its published version cannot be carried into a rebuild, "
            "because the store keeps no texts: mend the rejected rows and run it again."
        )
    try:
        metadata = SchemaInference(schema, {}).fit(segment.metadata(row), textual=False)
    except ValueError as error:
        raise SchemaConflict(
            f"Item {id!r} is kept as published, but {error}: mend its row and run it again."
        ) from error
    return Pending(Item(id, text, metadata), found, Place(str(segment.folder / ITEMS), row + 1))
