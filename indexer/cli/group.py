"""What do all commands share: the group they belong to, their common options, and what becomes of errors?"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import orjson

from indexer import logs
from indexer.config import CONFIG_FILE, Settings, load
from indexer.errors import BrakeRefused, CallerError, CollectionLocked, OnHold, ParecidoError, SourceError

Command = TypeVar("Command", bound=Callable[..., Any])

log = logging.getLogger("parecido")

OK, FAILED, USAGE, REJECTS, SOURCE, LOCKED, BRAKE, HOLD, PENDING = range(9)

_CODES: tuple[tuple[type[ParecidoError], int], ...] = (
    (CollectionLocked, LOCKED),
    (OnHold, HOLD),
    (BrakeRefused, BRAKE),
    (SourceError, SOURCE),
    (CallerError, USAGE),
)
"""The first that fits decides."""

_WORST_FIRST = (FAILED, SOURCE, BRAKE, USAGE, HOLD, LOCKED, PENDING, REJECTS, OK)

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
log_format_option = click.option(
    "--log-format",
    type=click.Choice(logs.FORMATS),
    default="human",
    show_default=True,
    help="What the standard error gets: sentences, or one JSON object a line.",
)


def common(command: Command) -> Command:
    """The options of every command."""
    return store_option(config_option(json_option(command)))


class Group(click.Group):
    """Commands whose errors are sentences and exit codes, never tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what Parecido raises on purpose becomes a message and an exit code."""
        logs.configure()
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
    log_error(error)
    sys.exit(exit_code(error))


def log_error(error: ParecidoError, collection: str | None = None) -> None:
    """One line of the log for what went wrong, with the collection in which it did."""
    told = {"event": "error", "collection": collection, **error.to_json()}
    message = told.pop("message")
    log.error("%s", message if collection is None else f"{collection}: {message}", extra=told)


def exit_code(error: ParecidoError) -> int:
    """The exit code for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def worst(codes: Iterable[int]) -> int:
    """The exit code of a command that did several things; that of nothing is OK."""
    return min((OK, *codes), key=_WORST_FIRST.index)


def emit(answer: Any) -> None:
    """Print an answer as one line of JSON."""
    click.echo(orjson.dumps(answer, default=str).decode())  # paths as text


def settings_of(config: Path | None, store: Path | None) -> Settings:
    """The settings of the given or the nearest configuration file, the environment and the options."""
    if config is None and Path(CONFIG_FILE).is_file():
        config = Path(CONFIG_FILE)
    return load(config, os.environ, store)
