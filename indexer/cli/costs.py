"""How is the ledger of what was paid shown on the command line?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from indexer.cli.group import common, emit, main, settings_of
from indexer.cli.table import table
from indexer.errors import ConfigurationError

if TYPE_CHECKING:
    from indexer.ledger import By, Line, Spent

DAY = click.DateTime(["%Y-%m-%d"])


@main.command()
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(["day", "month", "model", "collection", "mode", "run"]),
    default=("day", "model", "collection"),
    help="What to tell apart, repeatable; by default day, model and collection.",
)
@click.option("--since", type=DAY, metavar="DATE", help="From that day on, as 2026-11-25, in UTC.")
@click.option("--until", type=DAY, metavar="DATE", help="Up to that day and with it.")
@common
def costs(
    by: tuple[By, ...],
    since: datetime | None,
    until: datetime | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show what was paid to models behind an API: requests, tokens and money.

    What was paid at a price that nobody had named is "unknown"; `estimated` tokens were counted here, not by the API.
    """
    from indexer.ledger import ledger

    first, last = (since.date() if since else date.min), (until.date() if until else date.max)
    if first > last:
        raise ConfigurationError(f"--since {first} is after --until {last}: exchange them.", param="since")
    by = tuple(dict.fromkeys(by))
    with ledger(settings_of(config, store).store) as paid:
        lines, total = paid.by(by, first, last), paid.total(first, last)
    if as_json:
        told = [dict(zip(by, line.of, strict=True)) | _figures(line.spent) for line in lines]
        emit({"by": by, "lines": told, "total": _figures(total)})
    elif not lines:
        click.echo("Nothing was paid" + (" in that time." if since or until else " yet."))
    else:
        click.echo("\n".join(_table(by, lines, total)))


def _figures(spent: Spent) -> dict[str, Any]:
    """A sum for programs, with no number in the place of what is unknown."""
    return asdict(spent) | {"nano_dollars": None if spent.all_unpriced else spent.nano_dollars}


def _table(by: Sequence[By], lines: Sequence[Line], total: Spent) -> list[str]:
    """Names to the left, figures to the right."""
    rows = [(*by, "requests", "texts", "tokens", "cost")]
    rows += [(*line.of, *_cells(line.spent)) for line in lines]
    rows.append(("total", *[""] * (len(by) - 1), *_cells(total)))
    return list(table(rows, len(by)))


def _cells(spent: Spent) -> tuple[str, str, str, str]:
    about = " estimated" if spent.estimated_tokens == spent.tokens else " partly estimated"
    tokens = f"{spent.tokens:,}{about if spent.estimated_tokens else ''}"
    return f"{spent.requests:,}", f"{spent.texts:,}", tokens, _money(spent)


def _money(spent: Spent) -> str:
    from indexer.prices import dollars

    if not spent.unpriced_tokens:
        return dollars(spent.nano_dollars)
    return "unknown" if spent.all_unpriced else f"{dollars(spent.nano_dollars)} and unknown"
