"""What would a run do, how long would it take, and what would it cost?

The source is read, compared and split as by a run, and the same decisions are made; nothing is embedded for keeping,
written or published. The time follows from how fast texts were embedded before: by the run that made a kept generation
in the same space, or else by trying a few of the texts at hand, unless each try is paid.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from indexer import generation as generations
from indexer import models, storage
from indexer.batches import not_sent
from indexer.chunking import document_chunker
from indexer.config import CacheSettings, CollectionSettings, check_collection_name
from indexer.errors import CorruptGeneration
from indexer.intake import Intake, take_in, why_published
from indexer.ledger import ledger
from indexer.meter import metered
from indexer.models import Model
from indexer.models.cache import EmbeddingCache, cache_path
from indexer.prices import NANO, cost, price_of
from indexer.providers import Providers
from indexer.report import ItemCounts, Merged, Stopwatch
from indexer.run import Run, begun
from indexer.stages import Progress
from indexer.storage import collection_folder
from indexer.windows import needs

TRIED_TEXTS = 64
TRIED_CHARACTERS = 1000
"""Of each: more would not fit into the window of many a model."""


TOKENS_A_MINUTE = 1_000_000
"""What an API lets an account have at first, about."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run would pay."""

    dollars: float | None
    """At the normal rate; None where the price is not known."""
    batch_dollars: float | None
    """Through the Batch API."""
    prices_as_of: date | None
    """The day on which the prices were known to be so; None where the configuration says them, or nothing is paid."""


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
    passages: int
    """Of the items that would be written."""
    to_embed: int
    """Distinct texts that neither the published version of their item has, nor the embedding cache, nor the Batch API;
    one that repeats more than some thousand items later is counted again."""
    cached: int
    """The other passages: their vectors are known, are on their way, or will be those of an equal text."""
    tokens: int
    """In these, counted as the report of the run does; of a model behind an API, prompts too, which are paid for."""
    tokens_estimated: bool
    """Whether the tokens, and all that follows from them, are estimated from the number of characters."""
    characters: int
    """The length of the same texts, in code points."""
    cost: Cost
    seconds: float
    """Of the whole run, about."""
    basis: str
    """What the time was told from, or that nothing is to be embedded."""


@dataclass(slots=True)
class _Needed:
    """What would have to be embedded, all in all."""

    passages: int = 0
    texts: int = 0
    tokens: int = 0
    characters: int = 0
    estimated: bool = False
    some: list[str] = field(default_factory=list)
    """The first few of the texts."""
    seconds: float = 0.0
    basis: str = "nothing is to be embedded"


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
        needed = _Needed() if reason or not taken.to_write else _needed(run, taken, vectors)
        with ledger(store) as paid:
            meter = metered(paid, name, "", settings, run.fingerprint, providers)
            reason = reason or meter.foresee(needed.tokens, not needed.estimated)
        found = taken.found
        return Estimate(
            collection=name,
            generation=run.published.number if run.published else None,
            publishes=reason is None,
            reason=reason or why_published(run, taken),
            model=run.fingerprint.name,
            items=ItemCounts(found.added, found.changed, found.unchanged, found.deleted, run.rejects.count, found.held),
            merged=tuple(Merged(fold.segment, fold.passages, fold.reason) for fold in taken.folds),
            passages=needed.passages,
            to_embed=needed.texts,
            cached=needed.passages - needed.texts,
            tokens=needed.tokens,
            tokens_estimated=needed.estimated,
            characters=needed.characters,
            cost=_cost(run, needed.tokens),
            seconds=round(watch.totals()["total"] + needed.seconds, 1),
            basis=needed.basis,
        )


def _why_not(run: Run, taken: Intake) -> str | None:
    """Why a run would publish nothing; None where it would."""
    newest = generations.newest_readable(run.folder)
    if newest and newest.hold:
        return "the collection is on hold after a rollback"
    if taken.refused:
        return taken.refused
    return "nothing changed" if run.published and taken.idle and not run.due else None


def _needed(run: Run, taken: Intake, cache: EmbeddingCache) -> _Needed:
    """Split the texts as a run would, and count those of which no vector is known."""
    model = models.load(run.fingerprint, run.settings.device, run.providers)
    chunker = document_chunker(model, run.settings.passages)
    paid = run.fingerprint.provider == "openai"
    each = model.tokenizer.count(run.fingerprint.document_prompt) + model.tokenizer.special if paid else 0
    needed = _Needed(estimated=not model.tokenizer.exact)
    for need in not_sent(
        run.folder, run.fingerprint, needs(taken.pending(), run.fingerprint, chunker, run.reuse, cache)
    ):
        needed.passages += need.passages
        needed.texts += len(need.texts)
        needed.tokens += sum(need.tokens) + each * len(need.texts)
        needed.characters += sum(map(len, need.texts))
        needed.some += need.texts[: TRIED_TEXTS - len(needed.some)]
    if needed.texts:
        speed, needed.basis = _past_rate(run) or _first_rate(model, needed)
        needed.seconds = needed.characters / speed
    return needed


def _cost(run: Run, tokens: int) -> Cost:
    price = price_of(run.fingerprint.name, run.fingerprint.provider, run.providers.models)
    if price is None:
        return Cost(None, None, None)
    return Cost(cost(tokens, price) / NANO, cost(tokens, price, "batch") / NANO, price.as_of)


def _past_rate(run: Run) -> tuple[float, str] | None:
    """Characters a second, as the newest kept generation of the same space that embedded anything had it."""
    for number in reversed(generations.numbers(run.folder)):
        try:
            manifest = generations.read(run.folder, number)
        except CorruptGeneration:
            continue
        report = manifest.report
        if manifest.fingerprint == run.fingerprint and report and report["passages"]["characters"]:
            speed = report["passages"]["characters"] / max(report["seconds"]["embed"], 0.001)
            return speed, f"the run that made generation {number}"
    return None


def _first_rate(model: Model, needed: _Needed) -> tuple[float, str]:
    """The same as a few of the texts show, cut to what most models read at once; of an API, what it allows."""
    if model.fingerprint.provider == "openai":
        share = TOKENS_A_MINUTE / 60 * needed.characters / needed.tokens
        return share, f"a limit of {TOKENS_A_MINUTE:,} tokens a minute"
    began = time.monotonic()
    cut = [text[:TRIED_CHARACTERS] for text in needed.some]
    model.embed_documents(cut)
    tried = "1 text that was tried" if len(cut) == 1 else f"{len(cut)} texts that were tried"
    return sum(map(len, cut)) / (time.monotonic() - began), tried
