"""How is a collection brought up to its source from the command line?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import click
import orjson

from indexer import printing
from indexer.cli.group import FAILED, OK, REJECTS, SOURCE, common, emit, exit_code, main, settings_of, store_option
from indexer.config import CONFIG_FILE, Format, chosen
from indexer.errors import ConfigurationError, ParecidoError


@main.command()
@click.argument("names", nargs=-1, metavar="[COLLECTION]... | SOURCE... --collection NAME")
@click.option("--collection", help="Index the given files, folders, globs or URLs into this collection.")
@click.option("--format", type=click.Choice(get_args(Format)), help="What the files are.")
@click.option("--query", help="SQL that gives the rows, where the source is a database's URL.")
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


def _toml(path: Path) -> str:
    """A path as a TOML string, whose escapes are JSON's."""
    return orjson.dumps(str(path)).decode()
