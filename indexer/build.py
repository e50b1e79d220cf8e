"""How does a source become the next generation?

A run reads the source into a spool, compares it with what is published, embeds what is new, writes it as segments
beside the old ones, reads them back, and publishes. Until that last step nobody sees anything of it, and a run that is
killed leaves only files that the next run removes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from indexer import generation as generations
from indexer import models, storage
from indexer.changes import Comparison, Pending, Published, all_items, changed_items, compare
from indexer.chunking import document_chunker
from indexer.config import CacheSettings, CollectionSettings, check_collection_name
from indexer.embedding import Counter, prepare
from indexer.errors import StorageError
from indexer.generation import Bits, Counts, Deleted, Generation
from indexer.items import FieldType, Rejected, Schema
from indexer.models import Fingerprint
from indexer.models.cache import EmbeddingCache, cache_path
from indexer.rejects import Rejects
from indexer.report import ItemCounts, PassageCounts, Progress, Report, Stopwatch, peak_rss_bytes
from indexer.segment import SegmentEntry
from indexer.snapshot import Snapshot, open_newest, verify
from indexer.sources import open_source
from indexer.sources.mapping import read_items
from indexer.sources.schema import SchemaInference
from indexer.spool import Spool
from indexer.storage import CollectionFolder, collection_folder
from indexer.writing import SegmentShape, write_segments

REJECTS = "rejects.jsonl"
ROWS_A_STEP = 1000


def build(
    store: Path,
    name: str,
    settings: CollectionSettings,
    progress: Progress,
    rebuild: bool = False,
    cache: CacheSettings = CacheSettings(),  # noqa: B008 – frozen
) -> Report:
    """Bring the collection `name` up to its source, and publish if anything changed.

    Raises SourceError where the source cannot be read to its end, CollectionLocked where another run is at it,
    SchemaConflict, ConfigurationError, ModelUnavailable and StorageError. The current generation is then what it was,
    unless the disk failed in the very last steps, when publishing or making room in the embedding cache: the new one
    may then be current, and is whole.
    """
    watch = Stopwatch()
    folder = collection_folder(store, check_collection_name(name))
    with storage.lock(folder):
        _remove_leftovers(folder)
        current = open_newest(folder) if generations.numbers(folder) else None
        with watch.stage("model"):
            fingerprint = models.identify(settings)
        scratch = storage.make_folder(folder.runs / secrets.token_hex(4))
        try:
            with Rejects(scratch / REJECTS) as rejects, EmbeddingCache(cache_path(store, cache)) as vectors:
                report = _Run(
                    settings, folder, scratch, current, fingerprint, rebuild, progress, watch, rejects, vectors
                ).go()
                vectors.finished(folder.path)
                if report.published:
                    vectors.evict(cache.max_bytes)
                return report
        finally:
            storage.remove(scratch)


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


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, from the open source to the report."""

    settings: CollectionSettings
    folder: CollectionFolder
    scratch: Path
    current: Snapshot | None
    fingerprint: Fingerprint
    fresh: bool
    """Whether a rebuild was asked for, in which nothing published is relied on; the embedding cache, checked, is."""
    progress: Progress
    watch: Stopwatch
    rejects: Rejects
    cache: EmbeddingCache

    def go(self) -> Report:
        """Read, compare, and write and publish what there is to publish."""
        old = self.current.generation if self.current else None
        rebuild = rebuild_reason(old, self.settings, self.fingerprint, self.fresh) if old else None
        published = Published(self.current.segments if self.current else ())
        spool = Spool(self.scratch / "spool", published.nothing_unchanged if rebuild else published.unchanged)
        inferred = self._read(spool)
        with self.watch.stage("compare"):
            found = compare(spool, published, self.rejects, self.settings.allow_unread_deletions)
        self.rejects.keep(self.folder.path / REJECTS)
        if old and not rebuild and not found.to_write and not found.deleted:
            return self._report(found, Counter(), old, "nothing changed", published=False)
        schema = self._schema(inferred, found)
        counter = Counter()
        if rebuild:
            segments = self._write(all_items(spool, published, found, schema), found.to_rewrite, schema, counter)
            generation = self._assemble(segments, {}, schema)
        else:
            segments = self._write(changed_items(spool, published, schema), found.to_write, schema, counter)
            kept, deleted = self._surviving(published, found)
            generation = self._assemble([*kept, *segments], deleted, schema)
        self._publish(generation, {entry.id for entry in segments})
        reason = rebuild or ("the source changed" if old else "nothing was published before")
        return self._report(found, counter, generation, reason, published=True)

    @property
    def _number(self) -> int:
        return self.current.generation.number + 1 if self.current else 1

    def _read(self, spool: Spool) -> Schema:
        """Spool the whole source; returns the types of its fields."""
        known = self.current.generation.schema if self.current and not self.fresh else {}
        inference = SchemaInference(self.settings.types, known)
        self.progress.begin("read", None, "rows")
        with self.watch.stage("read"):
            for count, row in enumerate(read_items(open_source(self.settings), self.settings, inference), 1):
                if not isinstance(row, Rejected):
                    spool.add(*row)
                else:
                    self.rejects.add(row)
                    if row.id is not None:
                        spool.keep(row.id, row.place)
                if count % ROWS_A_STEP == 0:
                    self.progress.advance(ROWS_A_STEP)
        self.progress.end()
        return inference.schema

    def _schema(self, inferred: Schema, found: Comparison) -> Schema:
        """The columns to write; those of items that stay as published must be among them."""
        if not self.current or not (found.kept or found.held):
            return inferred
        old, declared = self.current.generation.schema, self.settings.types
        floats = {
            name: FieldType.FLOAT
            for name, kind in inferred.items()
            if kind is FieldType.INTEGER and old.get(name) is FieldType.FLOAT and name not in declared
        }
        return {**old, **inferred, **floats}

    def _write(self, items: Iterator[Pending], total: int, schema: Schema, counter: Counter) -> list[SegmentEntry]:
        """Embed the items and write their segments; a run that only deletes needs no model."""
        if total == 0:
            return []
        self.progress.begin("model", None, "")
        with self.watch.stage("model"):
            model = models.load(self.fingerprint, self.settings.device)
            chunker = document_chunker(model, self.settings.passages)
        self.progress.end()
        reuse = not self.fresh and self.current is not None and self.current.generation.fingerprint == self.fingerprint
        shape = SegmentShape(self._number, schema, self.fingerprint.dimension, self.settings.store_text)
        self.progress.begin("embed", total, "items")
        cache = self.cache.for_run(self.fingerprint, self.folder.path)
        batches = prepare(items, model, chunker, reuse, cache, counter, self.progress)
        segments = write_segments(batches, shape, self.scratch, self.folder, self.watch)
        self.progress.end()
        return segments

    def _surviving(self, published: Published, found: Comparison) -> tuple[list[SegmentEntry], dict[str, Deleted]]:
        """The published segments that still hold a live item, and which of their items do not count any more."""
        entries: list[SegmentEntry] = []
        deleted: dict[str, Deleted] = {}
        for part, dead in published.dead(found):
            if dead.all():
                continue
            entry = part.segment.entry
            entries.append(entry)
            if dead.any():
                deleted[entry.id] = self._write_deleted(entry, dead, int(dead[part.segment.item_rows].sum()))
        return entries, deleted

    def _write_deleted(self, entry: SegmentEntry, dead: Bits, passages: int) -> Deleted:
        sealed = generations.write_deleted(self.folder, self._number, entry.id, dead)
        return Deleted(items=int(dead.sum()), passages=passages, file=sealed)

    def _assemble(self, segments: list[SegmentEntry], deleted: dict[str, Deleted], schema: Schema) -> Generation:
        items = sum(s.items for s in segments) - sum(d.items for d in deleted.values())
        passages = sum(s.passages for s in segments) - sum(d.passages for d in deleted.values())
        return Generation(
            number=self._number,
            collection=self.folder.name,
            created_at=datetime.now(UTC),
            fingerprint=self.fingerprint,
            device=self.settings.device,
            schema=schema,
            passages=self.settings.passages,
            store_text=self.settings.store_text,
            segments=tuple(segments),
            deleted=deleted,
            counts=Counts(items=items, passages=passages),
        )

    def _publish(self, generation: Generation, new: set[str]) -> None:
        """Read back what was written, then make it current."""
        storage.make_folder(self.folder.generations)
        with self.watch.stage("verify"):
            verify(Snapshot(self.folder, generation), new)
        with self.watch.stage("publish"):
            if not generations.publish(self.folder, generation):
                raise StorageError(
                    f"Generation {generation.number} of {self.folder.name!r} was published by somebody else meanwhile: "
                    "run it again."
                )

    def _report(
        self, found: Comparison, counter: Counter, generation: Generation, reason: str, *, published: bool
    ) -> Report:
        rejects_file = str(self.folder.path / REJECTS) if self.rejects.count else None
        return Report(
            collection=self.folder.name,
            generation=generation.number,
            published=published,
            reason=reason,
            model=self.fingerprint.name,
            items=ItemCounts(
                added=found.added,
                changed=found.changed,
                unchanged=found.unchanged,
                deleted=found.deleted,
                rejected=self.rejects.count,
                held=found.held,
            ),
            passages=PassageCounts(
                total=generation.counts.passages,
                embedded=counter.embedded,
                cached=counter.cached,
                tokens=counter.tokens,
                characters=counter.characters,
            ),
            seconds=self.watch.totals(),
            peak_rss_bytes=peak_rss_bytes(),
            rejects_file=rejects_file,
        )


def _remove_leftovers(folder: CollectionFolder) -> None:
    """Remove what killed runs left: their folders, and segments and bitmaps that no generation refers to."""
    storage.remove(folder.runs)
    published = generations.numbers(folder)
    used = {entry.id for number in published for entry in generations.read(folder, number).segments}
    for name in storage.file_names(folder.segments):
        if name not in used:
            storage.remove(folder.segments / name)
    for name in storage.file_names(folder.generations):
        number = name.partition(".")[0]
        if not (number.isdigit() and int(number) in published):
            storage.remove(folder.generations / name)
