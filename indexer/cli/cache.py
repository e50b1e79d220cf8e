"""How is the embedding cache looked at and emptied from the command line?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from indexer.cli.group import common, emit, main, settings_of
from indexer.errors import ConfigurationError
from indexer.printing import megabytes

if TYPE_CHECKING:
    from indexer.models.cache_contents import Emptied, ModelVectors, Statistics


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
        emit({"path": str(path), **asdict(done)}) if as_json else click.echo(_emptied(done))
        return
    if model is not None or pinned:
        raise ConfigurationError("--model and --all say what --empty removes: give it too.")
    found, bound = cache_contents.statistics(path), settings.cache.max_bytes
    emit({**asdict(found), "max_bytes": bound}) if as_json else click.echo(_shown(found, bound))


def _shown(found: Statistics, max_bytes: int) -> str:
    """Where the embedding cache is and how full, then one space a line, for each way in which vectors were computed."""
    if not found.vectors:
        return f"There is nothing in the embedding cache {found.path}."
    lines = [
        f"{found.path}: {found.vectors:,} vectors, {megabytes(found.bytes)} of at most {megabytes(max_bytes)}, "
        f"the oldest last used on {found.oldest_use}"
    ]
    lines += map(_space, found.models)
    if found.pinned:
        lines.append(f"  {found.pinned:,} are kept for a run of {', '.join(found.unfinished)} that has not published")
    return "\n".join(lines)


def _space(one: ModelVectors) -> str:
    """What tells a space from others of its model, and what is in it."""
    told = [one.revision[:12], one.space, "queries of a query_log" if one.of_queries else ""]
    told += [f"prompt {one.document_prompt!r}" if one.document_prompt else ""]
    told += [f"query prompt {one.query_prompt!r}" if one.query_prompt and not one.of_queries else ""]
    return (
        f"  {one.name} ({', '.join(filter(None, told))}): {one.vectors:,} vectors of {one.dimension} dimensions, "
        f"{megabytes(one.bytes)}, made by {one.numeric_path}"
    )


def _emptied(done: Emptied) -> str:
    """How many vectors went, and why others did not."""
    kept = f"; {done.kept:,} stay for a run that has not published (--all removes them too)" if done.kept else ""
    return f"{done.removed:,} vectors removed{kept}"
