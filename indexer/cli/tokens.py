"""How is a text looked at, token by token, on the command line?"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from indexer.cli.group import common, emit, main, settings_of
from indexer.cli.table import table
from indexer.config import DEFAULT_MODEL
from indexer.errors import ConfigurationError, SourceError

if TYPE_CHECKING:
    from indexer.tokens import Priced, Reader, Seen, Training

SHOWN_PIECES = 100
SHOWN_PASSAGES = 10
SHOWN_OF = 50_000
"""Characters of which the first pieces are shown, at least."""
DEAREST = 10_000

log = logging.getLogger("parecido")


def _price(context: click.Context, option: click.Parameter, value: str | None) -> Decimal | None:
    """Dollars as they are written."""
    try:
        price = None if value is None else Decimal(value)
    except InvalidOperation:
        price = Decimal("nan")
    if price is not None and not (price.is_finite() and 0 <= price <= DEAREST):
        raise click.BadParameter(f"{value!r} is no number of dollars from 0 to {DEAREST:,}.", context, option)
    return price


@main.command()
@click.argument("text", required=False)
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Read the text from a file, in UTF-8.")
@click.option("--words", type=click.IntRange(0, 10**10), help="No text, only how many words it has.")
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Whose tokens; as a collection names it.")
@click.option("--epochs", type=click.IntRange(1, 100), help="Passes of training over it; 1 by default.")
@click.option("--price-per-million", callback=_price, metavar="DOLLARS", help="What a million tokens of training cost.")
@common
def tokens(
    text: str | None,
    file: Path | None,
    words: int | None,
    model: str,
    epochs: int | None,
    price_per_million: Decimal | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show TEXT as a model sees it, and what embedding it costs; "-" reads the standard input.

    Its tokens, whether and where it would be split into passages, the price by model, and with --price-per-million that
    of training on it. Nothing is sent anywhere. Where a model's vocabulary is not on this machine, a token is taken for
    about 4 characters (100 tokens are about 75 words), and every figure that depends on it says "estimated".
    """
    from indexer import tokens as verbs

    if [text is None, file is None, words is None].count(False) != 1:
        raise ConfigurationError("Give one of TEXT, --file and --words.", param="text")
    if epochs is not None and price_per_million is None:
        raise ConfigurationError("--epochs is of training: give --price-per-million too.", param="price_per_million")
    providers = settings_of(config, store).providers
    by = verbs.reader(model, providers)
    read = None if words is not None else _read(text, file)
    seen = verbs.see(read, by, providers) if read is not None else verbs.foresee(words or 0, by, providers)
    training = None if price_per_million is None else verbs.train(seen, epochs or 1, price_per_million)
    _warn_of_old_prices()
    if as_json:
        emit(_answer(read, by, seen, training))
    else:
        click.echo("\n".join(_lines(read, by, seen, training)))


def _read(text: str | None, file: Path | None) -> str:
    """The text itself; raises SourceError where it cannot be read, and ConfigurationError where it is none."""
    if text is not None and text != "-":
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError("TEXT is not UTF-8: check the terminal's encoding, or use --file.") from error
        return text
    name = repr(str(file)) if file else "The standard input"
    try:
        content: bytes = file.read_bytes() if file else sys.stdin.buffer.read()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror or error}. Check path and permissions.") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name} is not UTF-8: byte {error.start} is {content[error.start]:#04x}. Convert it first."
        ) from error


def _warn_of_old_prices() -> None:
    from indexer.prices import warn_if_old

    if warning := warn_if_old(datetime.now(UTC).date()):
        log.warning("%s", warning, extra={"event": "old_prices"})


def _answer(text: str | None, by: Reader, seen: Seen, training: Training | None) -> dict[str, Any]:
    """All of it, for programs; a piece is its id and its text."""
    from indexer.tokens import pieces

    found, unknown = (None, None) if text is None else pieces(text, by)
    passages = None if seen.passages is None else [span._asdict() for span in seen.passages]
    return asdict(seen) | {
        "passages": passages,
        "pieces": found,
        "pieces_unknown": unknown,
        "training": None if training is None else asdict(training),
    }


def _lines(text: str | None, by: Reader, seen: Seen, training: Training | None) -> Iterator[str]:
    special = f" and {seen.special} special ones a passage" if seen.special else ""
    about = _about(seen.estimated)
    size = "" if seen.characters is None else f", {seen.characters:,} characters, {seen.bytes:,} bytes"
    yield f"{seen.model}: {seen.tokens:,} tokens{about}{special}, {seen.words:,} words{size}"
    if text is not None:
        yield from _passages(seen)
        yield from _pieces(text, by)
    yield ""
    yield from _prices(seen.prices)
    if training is not None:
        passes = "1 pass" if training.epochs == 1 else f"{training.epochs} passes"
        yield (
            f"training, {passes} over {training.tokens:,} tokens at ${training.price_per_million} a million: "
            f"{_dollars(training.nano_dollars)}{about}"
        )


def _passages(seen: Seen) -> Iterator[str]:
    passages, about = seen.passages, _about(seen.estimated)
    if passages is None:
        yield f'  how much the model reads at once is unknown: set window in [models."{seen.model}"] of parecido.toml'
    elif len(passages) == 1:
        yield f"  not split: it fits into the {seen.window:,} tokens that the model reads at once"
    elif passages:
        yield f"  split into {len(passages):,} passages, for the model reads {seen.window:,} tokens at once:"
        yield from (f"    [{one.start}:{one.end}] {one.tokens:,} tokens{about}" for one in passages[:SHOWN_PASSAGES])
        if len(passages) > SHOWN_PASSAGES:
            yield f"    and {len(passages) - SHOWN_PASSAGES:,} more (--json shows all)"


def _pieces(text: str, by: Reader) -> Iterator[str]:
    """The first pieces, those of a part of a long text."""
    from indexer.tokens import WORD, pieces

    after = WORD.search(text, SHOWN_OF)  # a word is not cut, for its pieces are then others
    part = text if after is None else text[: after.end()]
    found, unknown = pieces(part, by)
    if found is None:
        yield f"  {unknown}"
        return
    shown = [f"{id} '{_printable(piece)}'" for id, piece in found[:SHOWN_PIECES]]
    if shown:
        yield "  " + "  ".join(shown)
    if len(found) > SHOWN_PIECES or part != text:
        yield f"  and more, after these {SHOWN_PIECES} (--json shows all)"


def _printable(piece: str) -> str:
    """A piece on one line of a terminal, whatever is in it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in piece)


def _prices(prices: Sequence[Priced]) -> Iterator[str]:
    rows = [
        (
            one.model,
            f"{one.tokens:,}{_about(one.estimated)}",
            _money(one.nano_dollars, one),
            _money(one.batch_nano_dollars, one),
        )
        for one in prices
    ]
    yield from table([("to embed it with", "tokens sent", "costs", "in a batch"), *rows], 1)
    if dates := sorted({str(one.as_of) for one in prices if one.as_of}):
        yield f"prices of {', '.join(dates)}"


def _money(nano_dollars: int | None, one: Priced) -> str:
    return "unknown" if nano_dollars is None else f"{_dollars(nano_dollars)}{_about(one.estimated)}"


def _about(estimated: bool) -> str:
    return " estimated" if estimated else ""


def _dollars(nano_dollars: int) -> str:
    from indexer.prices import dollars

    return dollars(nano_dollars)
