"""How is a collection brought up to its source from the command line?"""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from indexer import logs, printing
from indexer.cli.group import (
    FAILED,
    OK,
    REJECTS,
    SOURCE,
    common,
    emit,
    exit_code,
    log_error,
    log_format_option,
    main,
    settings_of,
    store_option,
)
from indexer.cli.stop import stoppable
from indexer.config import CONFIG_FILE, chosen
from indexer.errors import ConfigurationError, ParecidoError
from indexer.logs import LogFormat

if TYPE_CHECKING:
    from indexer.report import Report

log = logging.getLogger("parecido")


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
@click.option("--schedule", metavar="CRON", help='Stay, and run by a cron expression in local time: "0 3 * * *".')
@click.option("--verbose", is_flag=True, help="Tell on the way how far a run is where there is no terminal.")
@log_format_option
@common
def index(
    names: tuple[str, ...],
    collection: str | None,
    rebuild: bool,
    schedule: str | None,
    verbose: bool,
    log_format: LogFormat,
    store: Path | None,
    config: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring collections up to their sources and publish what changed.

    Without --collection, indexes the collections of parecido.toml: those named, or all of them. With --json, one report
    a line.

    With --schedule, runs by a cron expression until SIGTERM or Ctrl-C, and at once where nothing is published yet; each
    run reads parecido.toml anew. So stopped, a schedule exits with 0, a single run with 143 or 130.

    A run with nothing wrong prints one line a collection. With --log-format json that line, and every other, is a JSON
    object on the standard error.

    Exit codes: 0 published, or nothing to do; 1 failed; 2 a wrong command, option or setting; 3 published, but rows
    were rejected; 4 the source could not be read to its end; 5 another run holds the collection.
    """
    logs.configure(log_format, verbose=verbose or schedule is not None, dated=schedule is not None)
    settings = settings_of(config, store)
    wanted = chosen(settings, names, collection, options)
    if schedule is not None:
        from indexer.cli.schedule import keep

        keep(click.get_current_context(), settings.store, schedule, tuple(wanted))
        return
    worst = OK
    with stoppable():
        from indexer.build import build
        from indexer.progress import progress

        for name, one in wanted.items():
            try:
                report = build(settings.store, name, one, progress(name, bar=log_format == "human"), rebuild)
            except ParecidoError as error:
                if as_json:
                    emit({"collection": name, "error": error.to_json()})
                log_error(error, name)
                worst = worst if worst in (FAILED, SOURCE) else exit_code(error)
                continue
            _tell(report, as_json, log_format)
            worst = worst or (REJECTS if report.items.rejected else OK)
    sys.exit(worst)


def _tell(report: Report, as_json: bool, log_format: LogFormat) -> None:
    """A report is told on the standard output, and in the log where programs read that."""
    if log_format == "json":
        level = logging.WARNING if report.items.rejected or report.items.held else logging.INFO
        log.log(level, "%s", printing.report(report), extra={"event": "run", **dataclasses.asdict(report)})
    if as_json:
        emit(report)
    elif log_format == "human":
        click.echo(printing.report(report))


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
