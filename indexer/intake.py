"""What would a run do?

It reads the source into a spool, compares it with what is published, and decides: whether everything must be written
again, whether a brake forbids it, and which segments are folded into the new one. Nothing is embedded or published
here, so that a dry run and a run decide alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from indexer.brakes import too_much_rejected, too_much_shrinks
from indexer.changes import Comparison, Pending, Published, all_items, changed_items, compare
from indexer.config import CollectionSettings
from indexer.errors import CorruptGeneration
from indexer.generation import Bits, Generation
from indexer.items import FieldType, Rejected, Schema
from indexer.merge import Fold, Size, plan_merge
from indexer.models import Fingerprint
from indexer.report import MeasuredAgain
from indexer.run import REJECTS, Run
from indexer.segment import ITEMS, SegmentEntry
from indexer.snapshot import LiveSegment, Snapshot, check_all
from indexer.sources import open_source
from indexer.sources.mapping import read_items
from indexer.sources.schema import SchemaInference
from indexer.spool import Spool
from indexer.writing import SegmentShape

ROWS_A_STEP = 1000
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Survivor:
    """A published segment and which of its items do not count any more after this run."""

    part: LiveSegment
    dead: Bits
    live_passages: int
    entry: SegmentEntry
    """As it will stand in the next generation."""


@dataclass(frozen=True, slots=True)
class Intake:
    """The whole source against what is published, and what follows from it."""

    spool: Spool
    published: Published
    found: Comparison
    schema: Schema
    """The columns to write."""
    rows: int
    """Of the source, the rejected ones too."""
    rebuild: str | None
    """Why every item is written again; None where the published segments can stay."""
    survivors: list[Survivor]
    """The published segments that still hold a live item; none in a rebuild."""
    folds: list[Fold]
    """The published segments that are written again with what is new, or left out; none in a rebuild."""
    refused: str | None
    """Why the run must not go on."""
    measured: tuple[MeasuredAgain, ...] = ()
    """The survivors whose indexes were measured again."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to publish."""
        return not (self.rebuild or self.found.to_write or self.found.deleted)

    @property
    def to_write(self) -> int:
        """How many items the run splits, embeds and writes."""
        return self.found.to_rewrite if self.rebuild else self.found.to_write

    def pending(self) -> Iterator[Pending]:
        """Those items; may be asked for more than once."""
        if self.rebuild:
            return all_items(self.spool, self.published, self.found, self.schema)
        return changed_items(self.spool, self.published, self.schema)


def rebuild_reason(
    current: Generation, settings: CollectionSettings, fingerprint: Fingerprint, asked: bool
) -> str | None:
    """Why every item must be written again; None where the published segments can stay."""
    if asked:
        return "a rebuild was asked for"
    if current.fingerprint != fingerprint:
        old, new = current.fingerprint.name, fingerprint.name
        return (
            f"the model changed from {old!r} to {new!r}" if old != new else f"the files or prompts of {new!r} changed"
        )
    if current.passages != settings.passages:
        return "the passage settings changed"
    if current.store_text != settings.store_text:
        return "texts are to be stored" if settings.store_text else "texts are no longer to be stored"
    return None


def take_in(run: Run) -> Intake:
    """Read the whole source and decide; raises SourceError where it cannot be read to its end, and SchemaConflict."""
    old = run.published
    rebuild = rebuild_reason(old, run.settings, run.fingerprint, run.fresh) if old else None
    published = Published(run.current.segments if run.current else ())
    spool = Spool(run.scratch / "spool", published.nothing_unchanged if rebuild else published.unchanged)
    inferred, rows = _read(run, spool)
    with run.watch.stage("compare"):
        found = compare(spool, published, run.rejects, run.settings.allow_unread_deletions)
        survivors = [] if rebuild else _survivors(published, found)
        if rebuild and run.current and (found.kept or found.held):
            _check_carried(run.current)
    run.rejects.keep(run.folder.path / REJECTS)
    schema = _schema(run, inferred, found)
    return Intake(
        spool=spool,
        published=published,
        found=found,
        schema=schema,
        rows=rows,
        rebuild=rebuild,
        survivors=survivors,
        folds=[] if rebuild else _folds(run, survivors, found),
        refused=_refused(run, found, published, rows),
    )


def _check_carried(current: Snapshot) -> None:
    """Raise CorruptGeneration unless the published items can be carried over into a rebuild as they are."""
    try:
        check_all(current, ITEMS)
    except CorruptGeneration as error:
        raise CorruptGeneration(
            f"{error.message} Items of it would be kept, because rows of the source were rejected: mend those, and run "
            "it again.",
            path=error.path,
        ) from error


def why_published(run: Run, taken: Intake) -> str:
    """Why there is a new generation."""
    if taken.rebuild:
        return taken.rebuild
    if run.published is None:
        return "nothing was published before" if run.number == 1 else "what was published before is damaged"
    if not taken.idle:
        return "the source changed"
    return f"generation {run.number - 1} is damaged" if run.passed_over else "another recall is asked for"


def _read(run: Run, spool: Spool) -> tuple[Schema, int]:
    """Spool the whole source; returns the types of its fields and the number of its rows."""
    known = run.current.generation.schema if run.current and not run.fresh else {}
    inference = SchemaInference(run.settings.types, known)
    run.progress.begin("read", None, "rows")
    count = 0
    with run.watch.stage("read"):
        for count, row in enumerate(read_items(open_source(run.settings), run.settings, inference), 1):
            if not isinstance(row, Rejected):
                spool.add(*row)
            else:
                run.rejects.add(row)
                if row.id is not None:
                    spool.keep(row.id, row.place)
            if count % ROWS_A_STEP == 0:
                run.progress.advance(ROWS_A_STEP)
    run.progress.end()
    return inference.schema, count


def _survivors(published: Published, found: Comparison) -> list[Survivor]:
    survivors = []
    for part, dead in published.dead(found):
        if not dead.all():
            gone = int(dead[part.segment.item_rows].sum()) if dead.any() else 0
            part.segment.release()
            entry = part.segment.entry
            survivors.append(Survivor(part, dead, entry.passages - gone, entry))
    return survivors


def _folds(run: Run, survivors: list[Survivor], found: Comparison) -> list[Fold]:
    """What to fold or to leave out; how many passages are new is estimated from how many an item has so far."""
    old = run.published
    if not old or not (found.to_write or found.deleted):
        return []
    each = old.counts.passages / old.counts.items if old.counts.items else 1
    live = {s.part.segment.entry.id: s.live_passages for s in survivors}
    sizes = [Size(entry.id, entry.passages, live.get(entry.id, 0)) for entry in old.segments]
    shape = SegmentShape(run.number, old.schema, run.fingerprint.dimension, old.store_text)
    return plan_merge(sizes, round(found.to_write * each), shape.most_passages)


def _schema(run: Run, inferred: Schema, found: Comparison) -> Schema:
    """The columns to write; those of items that stay as published must be among them."""
    if not run.current or not (found.kept or found.held):
        return inferred
    old, declared = run.current.generation.schema, run.settings.types
    floats = {
        name: FieldType.FLOAT
        for name, kind in inferred.items()
        if kind is FieldType.INTEGER and old.get(name) is FieldType.FLOAT and name not in declared
    }
    return {**old, **inferred, **floats}


def _refused(run: Run, found: Comparison, published: Published, rows: int) -> str | None:
    items = run.current.generation.counts.items if run.current else 0
    going = itertools.islice(published.unseen_items(found), EXAMPLES)
    examples = [each.segment.id(each.row) for each in going]
    if reason := too_much_rejected(run.rejects.count, rows, run.settings.max_rejects):
        return f"{reason}, see {str(run.folder.path / REJECTS)!r}: mend the source, or set max_rejects higher"
    if reason := too_much_shrinks(found.deleted, items, run.settings.max_shrink, examples):
        return f"{reason}: mend the source, or let them go with --allow-shrink"
    return None
