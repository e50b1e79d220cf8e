"""What does a model see of a text, and what would embedding it, or training on it, cost?

Nothing is asked of an API, and no model is loaded where its files tell. What always holds: a figure that depends on
tokens which nobody counted says that it is estimated; a price that nobody named is unknown, never 0. Passages that
overlap are paid for as they are sent, so that a long text costs a little more than its own tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from indexer import models
from indexer.chunking import Chunker, Span, room_for_text
from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError, ModelUnavailable
from indexer.models import Tokenizer, openai_tokens
from indexer.prices import Price, cost, price_list, price_of
from indexer.providers import OPENAI, Providers

OVERLAP = 8
"""A passage shares this part of its tokens with the one before, unless a collection says otherwise."""
WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Reader:
    """How a model reads, without the model."""

    name: str
    """As a collection has it."""
    provider: str
    tokenizer: Tokenizer
    window: int | None
    """The most tokens that it reads at once; None where that is unknown."""
    prompt: str
    """What it has before every passage."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What it costs to have a text embedded by one model."""

    model: str
    tokens: int
    """Of all its passages."""
    estimated: bool
    nano_dollars: int | None
    """None where the price is unknown."""
    batch_nano_dollars: int | None
    as_of: date | None
    """The day of the price; None where the configuration says it, nobody is paid, or it is unknown."""


@dataclass(frozen=True, slots=True)
class Training:
    """What it costs to train on a text."""

    tokens: int
    """Of one pass."""
    epochs: int
    price_per_million: Decimal
    nano_dollars: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model sees of a text."""

    model: str
    tokens: int
    """Of the text, special ones left out."""
    special: int
    """Those that the model puts around each passage."""
    estimated: bool
    words: int
    """Runs of characters that are not white space."""
    characters: int | None
    """Code points; None where only the number of words was given."""
    bytes: int | None
    """In UTF-8."""
    window: int | None
    """The most tokens that the model reads at once, special ones among them; None where that is unknown."""
    passages: tuple[Span, ...] | None
    """What it would be split into; None where that is unknown."""
    prices: tuple[Priced, ...]
    """That of the model first."""


def reader(name: str, providers: Providers) -> Reader:
    """How the model of that name reads.

    Raises ModelUnavailable where it is not there, and ConfigurationError where its name lacks the provider.
    """
    if (meant := f"{OPENAI}{name}") in price_list().prices:
        raise ConfigurationError(f"{name!r} is a model behind an API: write {meant!r}.", param="model")
    if name.startswith(OPENAI):
        tokenizer = openai_tokens.OpenAITokenizer(name, providers.vocabularies)
        window = providers.of(name).window or openai_tokens.window(name)
        return Reader(name, "openai", tokenizer, window, "")
    from indexer.models.files import describe
    from indexer.models.tokenizer import read_tokenizer

    files = describe(name)
    tokenizer_alone = read_tokenizer(files.folder)
    if tokenizer_alone is not None and files.window is not None:
        return Reader(name, "sentence-transformers", tokenizer_alone, files.window, files.document_prompt)
    model = models.load(models.identify(CollectionSettings(source=(), model=name)), "cpu")
    return Reader(name, model.fingerprint.provider, model.tokenizer, model.window, files.document_prompt)


def see(text: str, by: Reader, providers: Providers) -> Seen:
    """What the model sees of a text, which may be blank, and what each of the models known by price asks for it."""
    passages = _passages(text, by)
    return Seen(
        model=by.name,
        tokens=by.tokenizer.count(text),
        special=by.tokenizer.special,
        estimated=not by.tokenizer.exact,
        words=sum(1 for _ in WORD.finditer(text)),
        characters=len(text),
        bytes=len(text.encode()),
        window=by.window,
        passages=passages,
        prices=tuple(_prices(text, by, passages, providers)),
    )


def foresee(words: int, by: Reader, providers: Providers) -> Seen:
    """What about so many words are, with no text at hand: 75 of them are about 100 tokens."""
    tokens = openai_tokens.tokens_of_words(words)
    prices = (
        _priced(name, "openai" if name.startswith(OPENAI) else by.provider, tokens, True, providers)
        for name in _names(by, providers)
    )
    return Seen(by.name, tokens, by.tokenizer.special, True, words, None, None, by.window, None, tuple(prices))


def train(seen: Seen, epochs: int, price_per_million: Decimal) -> Training:
    """What so many passes over it cost, at that many dollars for a million tokens."""
    price = Price(price_per_million, price_per_million, None)
    paid = cost(seen.tokens * epochs, price)
    return Training(seen.tokens, epochs, price_per_million, paid, seen.estimated)


def pieces(text: str, by: Reader) -> tuple[list[tuple[int, str]] | None, str | None]:
    """The ids and pieces that the model makes of a text, or why they are unknown."""
    try:
        return by.tokenizer.pieces(text), None
    except ModelUnavailable as error:
        return None, error.message


def _passages(text: str, by: Reader) -> tuple[Span, ...] | None:
    if not text.strip():
        return ()
    if by.window is None:
        return None
    room = room_for_text(by.tokenizer, by.window, by.prompt, by.name)
    return tuple(Chunker(by.tokenizer, room, room // OVERLAP).split(text))


def _names(by: Reader, providers: Providers) -> Iterator[str]:
    """The models whose price is told: the chosen one, then all whose price is known."""
    configured = (name for name, settings in providers.models.items() if settings.price_per_million is not None)
    yield from dict.fromkeys([by.name, *price_list().prices, *(n for n in configured if n.startswith(OPENAI))])


def _prices(text: str, by: Reader, passages: tuple[Span, ...] | None, providers: Providers) -> Iterator[Priced]:
    """Models that read alike are asked once."""
    known = {(by.provider, by.window): _sent(text, by, passages)}
    for name in _names(by, providers):
        each = by if name == by.name else reader(name, providers)
        if (each.provider, each.window) not in known:
            known[each.provider, each.window] = _sent(text, each, _passages(text, each))
        tokens = known[each.provider, each.window]
        yield _priced(name, each.provider, tokens, not each.tokenizer.exact, providers)


def _sent(text: str, by: Reader, passages: tuple[Span, ...] | None) -> int:
    """The tokens of all that is sent to the model."""
    return by.tokenizer.count(text) if passages is None else sum(span.tokens for span in passages)


def _priced(name: str, provider: str, tokens: int, estimated: bool, providers: Providers) -> Priced:
    price = price_of(name, provider, providers.models)
    if price is None:
        return Priced(name, tokens, estimated, None, None, None)
    return Priced(name, tokens, estimated, cost(tokens, price), cost(tokens, price, "batch"), price.as_of)
