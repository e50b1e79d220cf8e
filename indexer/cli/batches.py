"""How are batches of the Batch API shown and cancelled on the command line?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from indexer.cli.group import PENDING, common, emit, main, settings_of
from indexer.cli.table import table
from indexer.errors import ConfigurationError
from indexer.storage import CollectionFolder, collection_folder, collection_names

if TYPE_CHECKING:
    from indexer.batches.batch import Batch
    from indexer.config import Settings

_STAGES = {
    "intended": "to be sent",
    "uploaded": "to be sent",
    "creating": "to be looked for",
    "ended": "picked up",
    "over": "picked up",
}


@main.command()
@click.argument("names", nargs=-1, metavar="[COLLECTION]...")
@click.option("--cancel", metavar="ID", help="Have this batch do no more, by either of its ids; keep what it has done.")
@common
def batches(names: tuple[str, ...], cancel: str | None, store: Path | None, config: Path | None, as_json: bool) -> None:
    """Show what is with the Batch API, and what it came to; of every collection, or of those named.

    Of each batch: how far it is, its texts, its age, its ids here and there, and what it cost. A run sends and picks up
    by itself where `mode` is "batch". The texts of a cancelled batch that it has not done are free: the next run sends
    them again, or embeds them at once where the mode is "normal". Exit code 8 where the API takes its time to cancel.
    """
    from indexer.batches import recorded

    settings = settings_of(config, store)
    folders = [collection_folder(settings.store, name) for name in names or collection_names(settings.store)]
    if cancel is not None:
        sys.exit(_cancel(settings, folders, cancel, as_json))
    found = [(folder.name, batch) for folder in folders for batch in recorded(folder)]
    if as_json:
        emit([_told(name, batch) for name, batch in found])
    elif not found:
        click.echo("Nothing was sent to the Batch API.")
    else:
        click.echo("\n".join(_lines(found)))


def _cancel(settings: Settings, folders: list[CollectionFolder], id: str, as_json: bool) -> int:
    """Cancel a batch of one of the collections; returns the exit code."""
    from indexer import storage
    from indexer.batches import cancel, desk, recorded
    from indexer.ledger import ledger
    from indexer.models.cache import EmbeddingCache, cache_path

    folder = next((f for f in folders for b in recorded(f, only_open=True) if id in (b.id, b.batch_id)), None)
    if folder is None:
        raise ConfigurationError(f"No batch {id!r} is under way: `parecido batches` lists them.", param="cancel")
    with (
        storage.lock(folder),
        EmbeddingCache(cache_path(settings.store, settings.cache)) as vectors,
        ledger(settings.store) as paid,
        desk(folder, settings.providers, vectors, paid, "cancel") as bench,
    ):
        batch = cancel(bench, id)
    ended = batch.ended_at is not None
    if as_json:
        emit(_told(folder.name, batch))
    else:
        click.echo(
            f"{folder.name}: batch {id} " + ("is cancelled" if ended else "is being cancelled; a later run ends it")
        )
    return 0 if ended else PENDING


def _told(collection: str, batch: Batch) -> dict[str, Any]:
    from indexer.prices import NANO

    told = asdict(batch)
    amount = None if batch.nano_dollars is None else batch.nano_dollars / NANO
    del told["fingerprint"], told["nano_dollars"], told["requests"]
    times = {name: _time(told.pop(name)) for name in ("made_at", "asked_at", "ended_at")}
    more = {"model": batch.fingerprint.name, "texts": batch.requests, "dollars": amount}
    return {"collection": collection, **more, **told, **times}


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _lines(found: list[tuple[str, Batch]]) -> Iterator[str]:
    from indexer.prices import dollars
    from indexer.report import duration

    now = datetime.now(UTC).timestamp()
    heads = ("collection", "state", "batch", "at the API", "texts", "tokens", "age", "cost")
    rows = [heads]
    for name, batch in found:
        state = f"{batch.status}, {batch.done:,} done" if batch.stage == "under way" else _STAGES[batch.stage]
        if batch.ended_at is not None and batch.status not in (None, "completed"):
            state += f" ({batch.status})"
        cost = dollars(batch.nano_dollars) if batch.nano_dollars is not None else "unknown" if batch.billed else "-"
        tokens = batch.tokens if batch.billed is None else batch.billed
        age = duration(max(0.0, now - batch.made_at))
        rows.append((name, state, batch.id, batch.batch_id or "-", f"{batch.requests:,}", f"{tokens:,}", age, cost))
    yield from table(rows, 4)
    yield from (f"batch {batch.id}: {batch.reason}" for _, batch in found if batch.reason)
