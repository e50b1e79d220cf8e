"""How is a collection asked from the command line, without a server?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from indexer import printing
from indexer.cli.group import common, emit, main, settings_of
from indexer.config import Settings
from indexer.errors import ConfigurationError

if TYPE_CHECKING:
    from indexer.providers import Providers
    from indexer.queries import ModelSource
    from indexer.snapshot import Snapshot

log = logging.getLogger("parecido")


@main.command()
@click.argument("collection")
@click.argument("text", required=False)
@click.option("--id", help="Search by an item instead of a text.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1), help="Most hits.")
@click.option("--offset", default=0, show_default=True, type=click.IntRange(0), help="Hits to pass over.")
@click.option("--min-similarity", type=click.FloatRange(-1, 1), help="Least similarity of a hit.")
@click.option("--filter", "filter_", metavar="JSON", help="""For example '{"section": "games"}'.""")
@click.option(
    "--include",
    multiple=True,
    default=("metadata",),
    show_default=True,
    type=click.Choice(["text", "metadata", "passages", "vector"]),
    help="What a hit shows, repeatable.",
)
@click.option(
    "--recall",
    type=float,
    help="How much of what is nearest to find on average, where the collection promises less.",
)
@click.option("--exact", is_flag=True, help="Find all of what is nearest, however long it takes.")
@click.option("--model", help="Refuse unless this is the collection's model.")
@common
def search(
    collection: str,
    text: str | None,
    id: str | None,
    limit: int,
    offset: int,
    min_similarity: float | None,
    filter_: str | None,
    include: tuple[Any, ...],
    recall: float | None,
    exact: bool,
    model: str | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Find the items of COLLECTION that are nearest to TEXT."""
    from indexer.queries import Query
    from indexer.queries import search as answer_search

    settings = settings_of(config, store)
    snapshot = open_collection(settings, collection)
    query = Query(
        text=text,
        id=id,
        limit=limit,
        offset=offset,
        min_similarity=min_similarity,
        filter=None if filter_ is None else _json(filter_),
        include=include,
        model=model,
        recall=recall,
        exact=exact,
    )
    answer = answer_search(snapshot, model_of(snapshot, settings.providers), query)
    emit(answer) if as_json else click.echo(printing.hits(answer))


@main.command()
@click.argument("collection")
@click.argument("a")
@click.argument("b")
@click.option("--text", is_flag=True, help="A and B are texts, not ids.")
@click.option("--pairs", default=3, show_default=True, type=click.IntRange(1, 100), help="Most passage pairs.")
@click.option("--model", help="Refuse unless this is the collection's model.")
@common
def compare(
    collection: str,
    a: str,
    b: str,
    text: bool,
    pairs: int,
    model: str | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Say how alike the items A and B of COLLECTION are."""
    from indexer.compare import Side
    from indexer.compare import compare as answer_compare

    settings = settings_of(config, store)
    snapshot = open_collection(settings, collection)
    left, right = (Side(text=side) if text else Side(id=side) for side in (a, b))
    answer = answer_compare(snapshot, model_of(snapshot, settings.providers), left, right, pairs, model)
    emit(answer) if as_json else click.echo(printing.comparison(answer))


def open_collection(settings: Settings, collection: str) -> Snapshot:
    """The newest generation of a collection that can be opened; what is wrong with a newer one is told."""
    from indexer.config import check_collection_name
    from indexer.snapshot import open_good
    from indexer.storage import collection_folder

    snapshot, problems = open_good(collection_folder(settings.store, check_collection_name(collection)))
    for number, problem in problems.items():
        told = {"event": "passed_over", "collection": collection, "generation": number}
        log.warning("generation %d of %r is passed over: %s", number, collection, problem.message, extra=told)
    return snapshot


def model_of(snapshot: Snapshot, providers: Providers) -> ModelSource:
    """A way to the model of a snapshot, which is loaded when it is asked for."""
    from indexer import models

    return lambda: models.load(snapshot.generation.fingerprint, snapshot.generation.device, providers)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"--filter is not JSON ({error}): quote it for the shell.", param="filter") from error
