"""How is a store looked after from the command line?"""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from pathlib import Path

import click

from indexer import printing
from indexer.cli.group import FAILED, common, emit, exit_code, log_error, main, settings_of, worst
from indexer.config import MOST_DAYS, Settings, check_collection_name
from indexer.cores import limit_threads
from indexer.errors import CollectionNotFound, ParecidoError
from indexer.storage import CollectionFolder, collection_folder, collection_names


@main.command()
@common
def status(store: Path | None, config: Path | None, as_json: bool) -> None:
    """Show every collection of the store: what it holds, its age, its last run, what is wrong.

    Exit code 1 where anything is wrong with a generation or the last run failed.
    """
    from indexer.status import status as collections

    settings = settings_of(config, store)
    found = list(collections(settings.store))
    if as_json:
        emit({"store": str(settings.store), "collections": found})
    else:
        click.echo(printing.status(settings.store, found))
    if any(one["problems"] or (one["last_run"] and one["last_run"]["error"]) for one in found):
        sys.exit(FAILED)


@main.command()
@click.argument("collection")
@common
def generations(collection: str, store: Path | None, config: Path | None, as_json: bool) -> None:
    """List the generations of COLLECTION, newest first."""
    from indexer.status import history

    found = history(settings_of(config, store).store, collection)
    emit(found) if as_json else click.echo(printing.history(found))


@main.command()
@click.argument("collection")
@click.argument("generation", type=click.IntRange(1), required=False)
@common
def rollback(collection: str, generation: int | None, store: Path | None, config: Path | None, as_json: bool) -> None:
    """Go back to an earlier GENERATION of COLLECTION; by default to the one before the current one.

    Its content is published under a new number, and the collection is put on hold: `parecido index` leaves it alone,
    with exit code 7, until `parecido resume`.
    """
    from indexer.describe import describe
    from indexer.rollback import rollback as go_back

    done = go_back(settings_of(config, store).store, collection, generation)
    emit(describe(done)) if as_json else click.echo(
        f"{collection}: generation {done.number} published with the content of generation {done.origin}; on hold "
        f"until `parecido resume {collection}`"
    )


@main.command()
@click.argument("collection")
@common
def resume(collection: str, store: Path | None, config: Path | None, as_json: bool) -> None:
    """Lift the hold that a rollback put on COLLECTION; the next run brings it up to its source again."""
    from indexer.rollback import resume as go_on

    done = go_on(settings_of(config, store).store, collection)
    if as_json:
        emit({"collection": collection, "resumed": done is not None, "generation": done and done.number})
    else:
        click.echo(f"{collection}: " + (f"generation {done.number} published, hold lifted" if done else "not on hold"))


def _number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """What `float` takes for a number and is in no range."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is not a number.", context, option)
    return value


@main.command()
@click.argument("names", nargs=-1, metavar="[COLLECTION]...")
@click.option("--keep", type=click.IntRange(1), help="Keep the last N; else keep_generations of parecido.toml, else 5.")
@click.option(
    "--days",
    type=click.FloatRange(0, MOST_DAYS),
    callback=_number,
    help="Keep those younger than D days; else keep_days, else 1.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@common
def prune(
    names: tuple[str, ...],
    keep: int | None,
    days: float | None,
    dry_run: bool,
    store: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Remove old generations and the segments that only they used; of every collection, or those named.

    Every run of `parecido index` does this by itself. The current generation always stays, and who reads one that goes
    reads on undisturbed. A collection that cannot be pruned, as one that is being indexed (exit code 5), does not keep
    the others from it.
    """
    from indexer import storage
    from indexer.prune import prune as remove

    settings, codes = settings_of(config, store), []
    for folder in _folders(settings, names):
        configured = settings.collections.get(folder.name)
        most = keep or (configured.keep_generations if configured else 5)
        age = days if days is not None else (configured.keep_days if configured else 1.0)
        try:
            with storage.lock(folder):
                done = remove(folder, most, timedelta(days=age), dry_run=dry_run)
        except ParecidoError as error:
            if as_json:
                emit({"collection": folder.name, "error": error.to_json()})
            log_error(error, folder.name)
            codes.append(exit_code(error))
            continue
        emit({"collection": folder.name, "dry_run": dry_run, "pruned": done}) if as_json else click.echo(
            printing.pruned(folder.name, done, dry_run)
        )
    sys.exit(worst(codes))


@main.command()
@click.argument("names", nargs=-1, metavar="[COLLECTION]...")
@common
def verify(names: tuple[str, ...], store: Path | None, config: Path | None, as_json: bool) -> None:
    """Compare every file of every kept generation with its checksum and its structure.

    Of every collection and the embedding cache, or of the collections named. Exit code 1 where anything is wrong, with
    each file and what is wrong with it.
    """
    from indexer.models.cache import cache_path
    from indexer.models.cache_check import verify_cache
    from indexer.verify import verify as look

    settings = settings_of(config, store)
    found = [look(folder) for folder in _folders(settings, names)]
    cache = None if names else verify_cache(cache_path(settings.store, settings.cache))
    if not found and not (cache and cache.bytes):
        raise _nothing(settings)
    if as_json:
        emit({"collections": found, "cache": cache})
    else:
        click.echo(printing.verifications(found, cache))
    if any(one.damages for one in found) or (cache and cache.damages):
        sys.exit(FAILED)


@main.command()
@click.argument("names", nargs=-1, metavar="[COLLECTION]...")
@common
def repair(names: tuple[str, ...], store: Path | None, config: Path | None, as_json: bool) -> None:
    """Build look-ups and indexes that are damaged anew from items and vectors.

    Of every collection, or those named. Deletes nothing. Exit code 1 where something stays damaged.
    """
    limit_threads()
    from indexer.repair import repair as mend

    settings = settings_of(config, store)
    done = [mend(folder) for folder in _folders(settings, names)]
    if not done:
        raise _nothing(settings)
    emit(done) if as_json else click.echo("\n".join(map(printing.repaired, done)))
    if any(one.damages for one in done):
        sys.exit(FAILED)


def _nothing(settings: Settings) -> CollectionNotFound:
    """Said instead of that all is well, for nobody asks about a store that is not there on purpose."""
    return CollectionNotFound(
        f"There is nothing in the store {str(settings.store)!r}: index a collection, or choose another with --store."
    )


def _folders(settings: Settings, names: tuple[str, ...]) -> list[CollectionFolder]:
    """The named collections of the store, or all; raises CollectionNotFound for one that is not there."""
    there = collection_names(settings.store)
    for name in names:
        if check_collection_name(name) not in there:
            known = ", ".join(there) or "none yet"
            raise CollectionNotFound(
                f"There is no collection {name!r} in {str(settings.store)!r}; there is {known}.",
                param="collection",
            )
    return [collection_folder(settings.store, name) for name in names or there]
