"""How is the embedding cache looked at and emptied from the command line?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from indexer import printing
from indexer.cli.group import common, emit, main, settings_of
from indexer.errors import ConfigurationError


@main.command()
@click.option("--empty", is_flag=True, help="Remove the vectors; what is indexed later is then embedded again.")
@click.option("--model", metavar="NAME", help="Only those of the models of that name.")
@click.option("--all", "pinned", is_flag=True, help="Also those of runs that have not published.")
@common
def cache(empty: bool, model: str | None, pinned: bool, store: Path | None, config: Path | None, as_json: bool) -> None:
    """Show what the embedding cache holds, or empty it.

    The vectors that a failed, killed or running run has used or made stay until its collection publishes, or until they
    are removed with --empty --all. Published collections do not need the cache.
    """
    from indexer.models import cache_contents
    from indexer.models.cache import cache_path

    settings = settings_of(config, store)
    path = cache_path(settings.store, settings.cache)
    if empty:
        done = cache_contents.empty(path, model, pinned)
        emit({"path": str(path), **asdict(done)}) if as_json else click.echo(printing.emptied(done))
        return
    if model is not None or pinned:
        raise ConfigurationError("--model and --all say what --empty removes: give it too.")
    found, bound = cache_contents.statistics(path), settings.cache.max_bytes
    emit({**asdict(found), "max_bytes": bound}) if as_json else click.echo(printing.cache(found, bound))
