"""What would a run do, and about how long would it take?

The source is read and compared as by a run, and the same decisions are made; nothing is embedded for keeping, written
or published. The time follows from how fast texts were embedded before: by the run that made a kept generation in the
same space, or else by trying a few of the texts at hand.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexer import generation as generations
from indexer import models, storage
from indexer.config import CacheSettings, CollectionSettings, check_collection_name
from indexer.errors import CorruptGeneration
from indexer.intake import Intake, Run, begun, take_in, why_published
from indexer.models.cache import LOOKUP, EmbeddingCache, cache_path, text_key
from indexer.providers import Providers
from indexer.report import ItemCounts, Merged, Progress, Stopwatch
from indexer.storage import collection_folder

TRIED_TEXTS = 64
TRIED_CHARACTERS = 1000
"""Of each: more would not fit into the window of many a model."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do."""

    collection: str
    generation: int | None
    """The current one; None before the first."""
    publishes: bool
    """Whether there would be a new one."""
    reason: str
    """Why, or why not."""
    model: str
    items: ItemCounts
    merged: tuple[Merged, ...]
    """The segments that would be folded into the new one."""
    characters: int
    """To be embedded at most: texts that neither the published version of their item nor the embedding cache has."""
    seconds: float
    """Of the whole run, about."""
    basis: str
    """What the time was told from."""


@dataclass(frozen=True, slots=True)
class _Rate:
    """How fast texts are embedded."""

    characters_a_second: float
    model_seconds: float
    """To load the model."""
    basis: str


def estimate(
    store: Path,
    name: str,
    settings: CollectionSettings,
    progress: Progress,
    rebuild: bool = False,
    cache: CacheSettings = CacheSettings(),
    wait: float = 0.0,
    providers: Providers = Providers(),
) -> Estimate:
    """What `build` would do with the same arguments; raises what it does before it embeds."""
    watch = Stopwatch()
    folder = collection_folder(store, check_collection_name(name))
    with (
        storage.lock(folder, wait),
        EmbeddingCache(cache_path(store, cache)) as vectors,
        begun(folder, settings, providers, progress, rebuild, watch) as run,
    ):
        taken = take_in(run)
        reason = _why_not(run, taken)
        characters = 0 if reason else sum(map(len, _to_embed(run, taken, vectors)))
        elapsed = watch.totals()["total"]
        rate = _rate(run, taken, vectors) if characters else _Rate(1.0, 0.0, "nothing is to be embedded")
        found = taken.found
        return Estimate(
            collection=name,
            generation=run.published.number if run.published else None,
            publishes=reason is None,
            reason=reason or why_published(run, taken),
            model=run.fingerprint.name,
            items=ItemCounts(found.added, found.changed, found.unchanged, found.deleted, run.rejects.count, found.held),
            merged=tuple(Merged(fold.segment, fold.passages, fold.reason) for fold in taken.folds),
            characters=characters,
            seconds=round(elapsed + characters / rate.characters_a_second + rate.model_seconds, 1),
            basis=rate.basis,
        )


def _why_not(run: Run, taken: Intake) -> str | None:
    """Why a run would publish nothing; None where it would."""
    newest = generations.newest_readable(run.folder)
    if newest and newest.hold:
        return "the collection is on hold after a rollback"
    if taken.refused:
        return taken.refused
    return "nothing changed" if run.published and taken.idle and not run.passed_over else None


def _to_embed(run: Run, taken: Intake, cache: EmbeddingCache) -> Iterator[str]:
    """The texts of which no vector is known; one of several passages is taken to be all new."""
    reuse = not run.fresh and run.published is not None and run.published.fingerprint == run.fingerprint
    new = (
        pending.item.text
        for pending in taken.pending()
        if not (reuse and pending.old and pending.old.segment.text(pending.old.row) == pending.item.text)
    )
    prompt = run.fingerprint.document_prompt
    while texts := list(itertools.islice(new, LOOKUP)):
        known = cache.known(run.fingerprint, {text_key(prompt + text) for text in texts})
        yield from (text for text in texts if text_key(prompt + text) not in known)


def _rate(run: Run, taken: Intake, cache: EmbeddingCache) -> _Rate:
    return _past_rate(run) or _tried_rate(run, list(itertools.islice(_to_embed(run, taken, cache), TRIED_TEXTS)))


def _past_rate(run: Run) -> _Rate | None:
    """As the newest kept generation of the same space that embedded anything had it."""
    for number in reversed(generations.numbers(run.folder)):
        try:
            manifest = generations.read(run.folder, number)
        except CorruptGeneration:
            continue
        report = manifest.report
        if manifest.fingerprint == run.fingerprint and report and report["seconds"]["embed"]:
            seconds, characters = report["seconds"], report["passages"]["characters"]
            if characters:
                speed = characters / seconds["embed"]
                return _Rate(speed, seconds["model"], f"the run that made generation {number}")
    return None


def _tried_rate(run: Run, texts: list[str]) -> _Rate:
    """As a few of the texts show, cut to what most models read at once."""
    began = time.monotonic()
    model = models.load(run.fingerprint, run.settings.device, run.providers)
    loaded = time.monotonic()
    cut = [text[:TRIED_CHARACTERS] for text in texts]
    model.embed_documents(cut)
    seconds = time.monotonic() - loaded
    return _Rate(sum(map(len, cut)) / seconds, loaded - began, f"{len(cut)} texts that were tried")
