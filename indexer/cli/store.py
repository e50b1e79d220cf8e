"""How is a store looked after from the command line?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from indexer import printing
from indexer.cli.group import FAILED, common, emit, main, settings_of
from indexer.errors import ParecidoError


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
