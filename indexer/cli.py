"""Which commands are there, apart from serving?

Every command reads its settings here, calls one verb, and prints the answer: for people, or with --json for programs.
Whatever is heavy is imported by the command that needs it, so that --help and `status` answer at once.

Exit codes: 0 published, or nothing to do · 1 failed · 2 a wrong command, option or setting · 3 published, but rows were
rejected · 4 the source could not be read to its end · 5 another run holds the collection.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
import orjson

from indexer import printing
from indexer.config import CONFIG_FILE, Settings, chosen, load
from indexer.errors import CallerError, CollectionLocked, ConfigurationError, ParecidoError, SourceError

if TYPE_CHECKING:
    from indexer.queries import ModelSource
    from indexer.snapshot import Snapshot

Command = TypeVar("Command", bound=Callable[..., Any])

OK, FAILED, USAGE, REJECTS, SOURCE, LOCKED = range(6)

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the store; else PARECIDO_STORE, else `store` in parecido.toml, else ./parecido-data.",
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Configuration file; ./{CONFIG_FILE} where it is not given and there is one.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def common(command: Command) -> Command:
    """The options of every command."""
    return store_option(config_option(json_option(command)))


class Group(click.Group):
    """Commands whose errors are sentences and exit codes, never tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what Parecido raises on purpose becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except ParecidoError as error:
            fail(error, "--json" in sys.argv)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parecido")
def main() -> None:
    """Similarity search: index documents, and find and compare them by meaning."""


def fail(error: ParecidoError, as_json: bool) -> NoReturn:
    """Say what is wrong and leave with the code for it."""
    if as_json:
        emit({"error": error.to_json()})
    click.echo(f"parecido: {error.message}", err=True)
    sys.exit(exit_code(error))


def exit_code(error: ParecidoError) -> int:
    """The exit code for an error."""
    if isinstance(error, CollectionLocked):
        return LOCKED
    if isinstance(error, SourceError):
        return SOURCE
    return USAGE if isinstance(error, CallerError) else FAILED


def emit(answer: Any) -> None:
    """Print an answer as one line of JSON."""
    click.echo(orjson.dumps(answer).decode())


def settings_of(config: Path | None, store: Path | None) -> Settings:
    """The settings of the given or the nearest configuration file, the environment and the options."""
    if config is None and Path(CONFIG_FILE).is_file():
        config = Path(CONFIG_FILE)
    return load(config, os.environ, store)


@main.command()
@click.argument("names", nargs=-1, metavar="[COLLECTION]... | FILE... --collection NAME")
@click.option("--collection", help="Index the given files, folders or globs into this collection.")
@click.option("--format", type=click.Choice(["jsonl", "csv", "tsv", "parquet", "folder"]), help="What the files are.")
@click.option("--id", help="Field that holds the id.")
@click.option("--text", multiple=True, help='Text field, repeatable, or a template: "{title}\\n\\n{body}".')
@click.option("--metadata", multiple=True, help="Field to keep as metadata, repeatable; all others by default.")
@click.option("--type", "types", multiple=True, metavar="FIELD=TYPE", help="Declared type of a metadata field.")
@click.option("--model", help="Embedding model: a name of the hub, or a folder.")
@click.option("--query-prompt", help="Text put before every query.")
@click.option("--document-prompt", help="Text put before every passage.")
@click.option("--device", help="Where to embed: cpu, cuda, …")
@click.option("--store-text/--no-store-text", default=None, help="Keep the texts in the store (the default) or not.")
@click.option("--rebuild", is_flag=True, help="Embed and write every item again.")
@common
def index(
    names: tuple[str, ...],
    collection: str | None,
    rebuild: bool,
    store: Path | None,
    config: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring collections up to their sources and publish what changed.

    Without --collection, indexes the collections of parecido.toml: those named, or all of them. With --json, one report
    a line.

    Exit codes: 0 published, or nothing to do; 1 failed; 2 a wrong command, option or setting; 3 published, but rows
    were rejected; 4 the source could not be read to its end; 5 another run holds the collection.
    """
    from indexer.build import build
    from indexer.progress import progress

    settings = settings_of(config, store)
    worst = OK
    for name, one in chosen(settings, names, collection, options).items():
        try:
            report = build(settings.store, name, one, progress(name), rebuild)
        except ParecidoError as error:
            if as_json:
                emit({"collection": name, "error": error.to_json()})
            click.echo(f"parecido: {name}: {error.message}", err=True)
            worst = worst if worst in (FAILED, SOURCE) else exit_code(error)
            continue
        emit(report) if as_json else click.echo(printing.report(report))
        worst = worst or (REJECTS if report.items.rejected else OK)
    sys.exit(worst)


@main.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default=CONFIG_FILE)
@store_option
def init(path: Path, store: Path | None) -> None:
    """Write a commented example configuration."""
    from indexer.example import EXAMPLE, STORE

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(EXAMPLE if store is None else EXAMPLE.replace(STORE, f"store = {_toml(store)}"))
    except FileExistsError as error:
        raise ConfigurationError(f"{path} exists: remove it first, or give another path.") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error
    click.echo(f"Wrote {path}: edit it, then run `parecido index`.")


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
    model: str | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Find the items of COLLECTION that are nearest to TEXT."""
    from indexer.queries import Query
    from indexer.queries import search as answer_search

    snapshot = open_collection(settings_of(config, store), collection)
    query = Query(
        text=text,
        id=id,
        limit=limit,
        offset=offset,
        min_similarity=min_similarity,
        filter=None if filter_ is None else _json(filter_),
        include=include,
        model=model,
    )
    answer = answer_search(snapshot, model_of(snapshot), query)
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

    snapshot = open_collection(settings_of(config, store), collection)
    left, right = (Side(text=side) if text else Side(id=side) for side in (a, b))
    answer = answer_compare(snapshot, model_of(snapshot), left, right, pairs, model)
    emit(answer) if as_json else click.echo(printing.comparison(answer))


@main.command()
@common
def status(store: Path | None, config: Path | None, as_json: bool) -> None:
    """Show every collection of the store: what it holds, its model, its age."""
    from indexer.describe import collections

    settings = settings_of(config, store)
    found = dict(collections(settings.store))
    if as_json:
        rows = [{"name": n, "error": c.to_json()} if isinstance(c, ParecidoError) else c for n, c in found.items()]
        emit({"store": str(settings.store), "collections": rows})
    else:
        click.echo(printing.status(settings.store, found))
    if any(isinstance(one, ParecidoError) for one in found.values()):
        sys.exit(FAILED)


@main.command()
@click.argument("collection")
@common
def generations(collection: str, store: Path | None, config: Path | None, as_json: bool) -> None:
    """List the generations of COLLECTION, newest first."""
    from indexer.describe import history

    found = history(settings_of(config, store).store, collection)
    emit(found) if as_json else click.echo(printing.history(found))


def open_collection(settings: Settings, collection: str) -> Snapshot:
    """The current generation of a collection, opened."""
    from indexer.config import check_collection_name
    from indexer.snapshot import open_newest
    from indexer.storage import collection_folder

    return open_newest(collection_folder(settings.store, check_collection_name(collection)))


def model_of(snapshot: Snapshot) -> ModelSource:
    """A way to the model of a snapshot, which is loaded when it is asked for."""
    from indexer import models

    return lambda: models.load(snapshot.generation.fingerprint, snapshot.generation.device)


def _toml(path: Path) -> str:
    """A path as a TOML string, whose escapes are JSON's."""
    return orjson.dumps(str(path)).decode()


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"--filter is not JSON ({error}): quote it for the shell.", param="filter") from error
