"""How does a source become the next generation?

A run takes in its source, embeds what is new, writes it as segments beside the old ones, reads them back, and
publishes. Until that last step nobody sees anything of it, and a run that is killed leaves only files that the next run
removes.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import orjson

from indexer import generation as generations
from indexer import last_run, storage
from indexer.batched import Batched
from indexer.batches import desk
from indexer.config import CacheSettings, CollectionSettings, check_collection_name
from indexer.content import Content
from indexer.errors import BrakeRefused, CollectionLocked, OnHold, StorageError
from indexer.generation import Counts, Deleted, Generation
from indexer.intake import Intake, Survivor, take_in, why_published
from indexer.kept import measured_again
from indexer.ledger import ledger
from indexer.meter import Meter
from indexer.models.cache import EmbeddingCache, cache_path
from indexer.providers import Providers
from indexer.prune import prune
from indexer.query_log import QueryLog
from indexer.recall import agreed
from indexer.report import (
    ByteCounts,
    Merged,
    PassageCounts,
    Report,
    SegmentCounts,
    Stopwatch,
    peak_rss_bytes,
)
from indexer.run import REJECTS, Run, begun
from indexer.segment import SegmentEntry
from indexer.snapshot import Snapshot, verify
from indexer.stages import Progress
from indexer.storage import CollectionFolder, OutputFile, collection_folder
from indexer.writing import write_segments

VANISHING = "vanishing.jsonl"

log = logging.getLogger("parecido")

T = TypeVar("T")


def build(
    store: Path,
    name: str,
    settings: CollectionSettings,
    progress: Progress,
    rebuild: bool = False,
    cache: CacheSettings = CacheSettings(),
    wait: float = 0.0,
    providers: Providers = Providers(),
) -> Report:
    """Bring the collection `name` up to its source, and publish if anything changed.

    Waits for another run that is at it, and for batches of the Batch API, for `wait` seconds. Raises SourceError where
    the source cannot be read to its end, CollectionLocked where another run is still at it, or has taken this one for
    dead and its place, OnHold after a rollback, BrakeRefused where too much would go or be paid, SchemaConflict,
    ConfigurationError, ModelUnavailable, CorruptGeneration and StorageError. The current generation is then what it
    was, unless the disk failed in the very last step: the new one may then be current, and is whole.
    """
    watch, deadline = Stopwatch(), time.monotonic() + wait
    folder = collection_folder(store, check_collection_name(name))
    with storage.lock(folder, wait), last_run.recorded(folder) as outcome:
        _check_hold(folder)
        with (
            EmbeddingCache(cache_path(store, cache)) as vectors,
            begun(folder, settings, providers, progress, rebuild, watch) as run,
            ledger(store) as paid,
            desk(folder, providers, vectors, paid, run.scratch.name) as bench,
        ):
            outcome.report = report = _go(run, vectors, Batched(run, bench, store, deadline))
            _tidy(run, vectors, cache, waits=report.pending > 0 and not report.published)
            return report


def _check_hold(folder: CollectionFolder) -> None:
    """Raise OnHold where a rollback holds the collection; a hold counts even where its generation is damaged."""
    newest = generations.newest_readable(folder)
    if newest and newest.hold:
        raise OnHold(
            f"Collection {folder.name!r} is on hold: its generation {newest.number} has the content of generation "
            f"{newest.origin} again, after a rollback. `parecido resume {folder.name}` lets runs go on.",
            param="collection",
        )


def _go(run: Run, cache: EmbeddingCache, batched: Batched) -> Report:
    batched.begin()
    taken = take_in(run)
    listed = _note_vanishing(run, taken)
    if taken.refused:
        raise BrakeRefused(f"Nothing was published: {taken.refused}.{listed}")
    later = batched.decide(taken)
    old, meter = run.published, batched.meter()
    asked = QueryLog(run.settings, run.fingerprint, run.providers, cache, run.folder)
    idle = old is not None and taken.idle and not run.due
    if later.publishes and not idle:
        taken = measured_again(run, taken, asked.vectors)
    content = Content(run, taken, cache, meter, batched.withheld, asked.vectors)
    if idle:
        return _Result(run, taken, content, meter, old, []).report("nothing changed", published=False)
    if not later.publishes:
        return _Result(run, taken, content, meter, old, [], later.pending).report(later.reason, published=False)
    shape = content.shape
    written = write_segments(content.batches(), shape, run.scratch, run.folder, run.watch, run.progress)
    run.progress.end()
    if old and content.idle:
        reason = later.reason or "nothing changed but what the model refuses"
        return _Result(run, taken, content, meter, old, [], later.pending).report(reason, published=False)
    generation = _assemble(run, taken, written)
    reason = "; ".join(filter(None, (why_published(run, taken), later.reason)))
    with run.watch.stage("verify"):
        verify(Snapshot(run.folder, generation), {entry.id for entry in written})
    result = _Result(run, taken, content, meter, generation, written, later.pending)
    manifest = generations.with_report(generation, result.report(reason, published=True))
    with run.watch.stage("publish"):
        if not generations.publish(run.folder, manifest):
            raise StorageError(
                f"Generation {run.number} of {run.folder.name!r} was published by somebody else meanwhile: "
                "run it again."
            )
    batched.desk.state.published()
    return result.report(reason, published=True)


def _note_vanishing(run: Run, taken: Intake) -> str:
    """Have the ids of the items that a refused run would have removed in a file; returns a sentence on where it is."""
    path = run.folder.path / VANISHING
    if not (taken.refused and taken.found.deleted):
        storage.remove(path)
        return ""
    with OutputFile(run.scratch / VANISHING) as file:
        for gone in taken.published.unseen_items(taken.found):
            file.write(orjson.dumps({"id": gone.segment.id(gone.row)}, option=orjson.OPT_APPEND_NEWLINE))
        file.seal()
    storage.replace_file(run.scratch / VANISHING, path)
    return f" What it would have removed is listed in {str(path)!r}."


def _assemble(run: Run, taken: Intake, written: list[SegmentEntry]) -> Generation:
    folding = {fold.segment for fold in taken.folds}
    kept = [s for s in taken.survivors if s.entry.id not in folding]
    segments = [*(s.entry for s in kept), *written]
    deleted = {s.entry.id: _write_deleted(run, s) for s in kept if s.dead.any()}
    return Generation(
        number=run.number,
        collection=run.folder.name,
        created_at=datetime.now(UTC),
        fingerprint=run.fingerprint,
        device=run.settings.device,
        schema=taken.schema,
        passages=run.settings.passages,
        store_text=run.settings.store_text,
        segments=tuple(segments),
        deleted=deleted,
        counts=Counts(
            items=sum(s.items for s in segments) - sum(d.items for d in deleted.values()),
            passages=sum(s.passages for s in segments) - sum(d.passages for d in deleted.values()),
        ),
        contract=agreed(segments, run.settings.least_recall),
    )


def _write_deleted(run: Run, survivor: Survivor) -> Deleted:
    entry, dead = survivor.entry, survivor.dead
    sealed = generations.write_deleted(run.folder, run.number, entry.id, dead)
    return Deleted(items=int(dead.sum()), passages=entry.passages - survivor.live_passages, file=sealed)


def _tidy(run: Run, vectors: EmbeddingCache, cache: CacheSettings, waits: bool) -> None:
    """Remove old generations by the collection's policy, and what the embedding cache has over its bound.

    What a run that `waits` for more has picked up is kept. The run has done what it was for, so that a disk that
    refuses is only a warning.
    """
    try:
        if not waits:
            vectors.finished(run.folder.path)
        vectors.evict(cache.max_bytes)
        prune(run.folder, run.settings.keep_generations, timedelta(days=run.settings.keep_days))
    except (StorageError, CollectionLocked) as error:
        log.warning("collection %s: what is not needed any more stays for now: %s", run.folder.name, error.message)


@dataclass(frozen=True, slots=True)
class _Result:
    """What a run came to."""

    run: Run
    taken: Intake
    content: Content
    meter: Meter
    generation: Generation | None
    """The current one after the run; None where nothing is published yet."""
    written: list[SegmentEntry]
    pending: int = 0
    """Texts that are with the Batch API."""

    def report(self, reason: str, *, published: bool) -> Report:
        """What is told of it, as far as it is by now."""
        run, old, now, items = self.run, self.run.published, self.generation, self.content.items
        if self.pending and not published:
            items = replace(items, added=0, changed=0, deleted=0, later=self.taken.to_write)
        merged = tuple(Merged(fold.segment, fold.passages, fold.reason) for fold in self.taken.folds)
        return Report(
            collection=run.folder.name,
            started_at=run.watch.started_at,
            generation=now.number if now else None,
            published=published,
            reason=reason,
            model=run.fingerprint.name,
            items=items,
            passages=PassageCounts(now.counts.passages if now else 0, **asdict(self.content.counter)),
            segments=SegmentCounts(
                len(old.segments) if old else 0, len(now.segments) if now else 0, merged, self.taken.measured
            ),
            bytes=ByteCounts(
                total=sum(entry.bytes for entry in now.segments) if now else 0,
                written=sum(entry.bytes for entry in self.written),
            ),
            seconds=run.watch.totals(),
            peak_rss_bytes=peak_rss_bytes(),
            paid=self.meter.paid,
            pending=self.pending,
            numeric_path=self.content.numeric_path,
            rejects_file=str(run.folder.path / REJECTS) if run.rejects.count else None,
        )
