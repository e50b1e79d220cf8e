"""How is a collection brought up to its source from the command line?"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import click
import orjson

from indexer import logs, printing
from indexer.cli.group import (
    OK,
    PENDING,
    REJECTS,
    common,
    emit,
    exit_code,
    log_error,
    log_format_option,
    main,
    settings_of,
    store_option,
    worst,
)
from indexer.cli.stop import stoppable
from indexer.cli.waiting import WaitingCommand, wait_option
from indexer.config import CONFIG_FILE, CollectionSettings, Format, Settings, chosen
from indexer.cores import limit_threads
from indexer.errors import ConfigurationError, ParecidoError
from indexer.logs import LogFormat
from indexer.providers import OPENAI

if TYPE_CHECKING:
    from indexer.estimate import Estimate
    from indexer.report import Report

    Act = Callable[..., Report | Estimate]

log = logging.getLogger("parecido")


@main.command(cls=WaitingCommand)
@click.argument("names", nargs=-1, metavar="[COLLECTION]... | SOURCE... --collection NAME")
@click.option("--collection", help="Index the given files, folders, globs or URLs into this collection.")
@click.option("--format", type=click.Choice(get_args(Format)), help="What the files are.")
@click.option("--query", help="SQL that gives the rows, where the source is a database's URL.")
@click.option("--id", help="Field that holds the id.")
@click.option("--text", multiple=True, help='Text field, repeatable, or a template: "{title}\\n\\n{body}".')
@click.option("--metadata", multiple=True, help="Field to keep as metadata, repeatable; all others by default.")
@click.option("--type", "types", multiple=True, metavar="FIELD=TYPE", help="Declared type of a metadata field.")
@click.option("--model", help="Embedding model: a name of the hub, a folder, or openai:NAME.")
@click.option("--dimensions", type=click.IntRange(1), help="How long vectors an API is asked for.")
@click.option("--query-prompt", help="Text put before every query.")
@click.option("--document-prompt", help="Text put before every passage.")
@click.option("--device", help="Where to embed: cpu, cuda, …")
@click.option("--store-text/--no-store-text", default=None, help="Keep the texts in the store (the default) or not.")
@click.option("--recall", help='How much of what is nearest searches find: 0.95, another number below 1, or "exact".')
@click.option("--max-shrink", type=click.FloatRange(0, 1), help="Largest share of the items that may go.")
@click.option("--allow-shrink", is_flag=True, help="Let go whatever the source no longer has, this once.")
@click.option("--max-rejects", type=click.FloatRange(0, 1), help="Largest share of the rows that may be bad.")
@click.option("--max-cost", type=click.FloatRange(0), help="Most dollars that the run may pay for embedding.")
@click.option(
    "--rebuild", is_flag=True, help="Write every item again, with vectors from the model or the embedding cache."
)
@click.option("--dry-run", is_flag=True, help="Say what would be added, changed, deleted and merged; publish nothing.")
@click.option("--schedule", metavar="CRON", help='Stay, and run by a cron expression in local time: "0 3 * * *".')
@click.option("--verbose", is_flag=True, help="Tell on the way how far a run is where there is no terminal.")
@wait_option
@log_format_option
@common
def index(
    names: tuple[str, ...],
    collection: str | None,
    rebuild: bool,
    allow_shrink: bool,
    dry_run: bool,
    schedule: str | None,
    verbose: bool,
    wait: float,
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
    were rejected; 4 the source could not be read to its end; 5 another run holds the collection; 6 a brake refused
    (max_shrink, max_rejects, max_cost); 7 on hold after a rollback; 8 texts are with the Batch API, and a later run
    picks them up.
    """
    logs.configure(log_format, verbose=verbose or schedule is not None, dated=schedule is not None)
    settings = settings_of(config, store)
    if allow_shrink:
        options["max_shrink"] = 1.0
    wanted = chosen(settings, names, collection, options)
    if schedule is not None:
        from indexer.cli.schedule import keep

        keep(click.get_current_context(), settings.store, schedule, tuple(wanted))
        return
    go_through(settings, wanted, dry_run, rebuild, wait, as_json, log_format)


@main.command(cls=WaitingCommand)
@click.argument("names", nargs=-1, metavar="[COLLECTION]...")
@click.option("--model", help="As if this were the model, with which every item is embedded again.")
@click.option("--dimensions", type=click.IntRange(1), help="As if an API were asked for vectors so long.")
@click.option("--rebuild", is_flag=True, help="As if every item were written again.")
@wait_option
@log_format_option
@common
def estimate(
    names: tuple[str, ...],
    rebuild: bool,
    wait: float,
    log_format: LogFormat,
    store: Path | None,
    config: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what a run over the configured collections would do and cost: those named, or all.

    Passages, which of them are new, tokens, the price at the normal rate and through the Batch API, and about how long
    it takes. Nothing is embedded, paid or published; `parecido index --dry-run` says the same of other sources.
    """
    settings = settings_of(config, store)
    wanted = chosen(settings, names, None, options)
    go_through(settings, wanted, True, rebuild, wait, as_json, log_format)


def go_through(
    settings: Settings,
    wanted: Mapping[str, CollectionSettings],
    dry_run: bool,
    rebuild: bool,
    wait: float,
    as_json: bool,
    log_format: LogFormat,
) -> NoReturn:
    """Index the collections one after the other, or say what that would do, and leave with the worst exit code."""
    limit_threads()
    with stoppable():
        from indexer.build import build
        from indexer.estimate import Estimate, estimate
        from indexer.progress import progress

        _warn_of_old_prices(wanted)
        codes = []
        for name, one in wanted.items():
            how_far = progress(name, bar=log_format == "human")
            act: Act = estimate if dry_run else build
            try:
                done = act(settings.store, name, one, how_far, rebuild, settings.cache, wait, settings.providers)
            except ParecidoError as error:
                if as_json:
                    emit({"collection": name, "error": error.to_json()})
                log_error(error, name)
                codes.append(exit_code(error))
                continue
            _tell(done, as_json, log_format)
            codes.append(OK if isinstance(done, Estimate) else _code(done))
    sys.exit(worst(codes))


def _warn_of_old_prices(wanted: Mapping[str, CollectionSettings]) -> None:
    from indexer.prices import warn_if_old

    asked = any(one.model.startswith(OPENAI) for one in wanted.values())
    if asked and (warning := warn_if_old(datetime.now(UTC).date())):
        log.warning("%s", warning, extra={"event": "old_prices"})


def _code(done: Report) -> int:
    return PENDING if done.pending else REJECTS if done.items.rejected else OK


def _tell(done: Report | Estimate, as_json: bool, log_format: LogFormat) -> None:
    """What was done is told on the standard output, and in the log where programs read that."""
    from indexer.report import Report

    event = "run" if isinstance(done, Report) else "estimate"
    text = printing.report(done) if isinstance(done, Report) else printing.estimate(done)
    if log_format == "json":
        level = logging.WARNING if done.items.rejected or done.items.held else logging.INFO
        log.log(level, "%s", text, extra={"event": event, **dataclasses.asdict(done)})
    if as_json:
        emit(done)
    elif log_format == "human":
        click.echo(text)


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
