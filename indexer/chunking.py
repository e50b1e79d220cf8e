"""Which pieces of a text does the model see?

A text that fits the window is one passage. A longer one is split by the model's own tokenizer, at paragraph, sentence
or word borders where it can (Unicode text segmentation, UAX #29), each passage sharing a little with the one before.
What always holds: passages lie in the text at their offsets, in order; everything but white space is in one of them;
none has more tokens than the model reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from indexer.config import PassageSettings
from indexer.errors import ConfigurationError, ModelUnavailable

if TYPE_CHECKING:
    from indexer.models import Model, Tokenizer


class Span(NamedTuple):
    """A piece of a text, in code points."""

    start: int
    end: int
    tokens: int = 0
    """What the model's tokenizer makes of it, special tokens and prompt left out; 0 where nobody counted."""


class Chunker:
    """Splits texts for one model, one prompt and one choice of passage settings."""

    def __init__(self, tokenizer: Tokenizer, tokens: int, overlap: int) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._splitter = tokenizer.splitter(tokens, overlap)

    def split(self, text: str) -> list[Span]:
        """The passages of a text that is not blank, first to last."""
        if (tokens := self._tokenizer.fits(text, self._tokens)) is not None:
            return [Span(0, len(text), tokens)]
        count = self._tokenizer.count
        spans = [Span(start, start + len(chunk), count(chunk)) for start, chunk in self._splitter.chunk_indices(text)]
        if self._tokenizer.exact and (over := next((span for span in spans if span.tokens > self._tokens), None)):
            raise ModelUnavailable(
                f"The tokenizer makes more than {self._tokens} tokens of the characters {over.start} to {over.end} "
                "however they are split: set a smaller passages.tokens."
            )
        return spans


_made: WeakKeyDictionary[Model, dict[tuple[int, int], Chunker]] = WeakKeyDictionary()
"""Chunkers in use: one takes milliseconds to make, a query no more than that in all."""


def _chunker(model: Model, tokens: int, overlap: int) -> Chunker:
    made = _made.setdefault(model, {})
    if (tokens, overlap) not in made:
        made[tokens, overlap] = Chunker(model.tokenizer, tokens, overlap)
    return made[tokens, overlap]


def document_chunker(model: Model, settings: PassageSettings) -> Chunker:
    """The chunker for items' texts; raises ConfigurationError for settings that the model cannot hold."""
    name = model.fingerprint.name
    room = room_for_text(model.tokenizer, model.window, model.fingerprint.document_prompt, name)
    tokens = settings.tokens or room
    if tokens > room:
        raise ConfigurationError(
            f"passages.tokens is {tokens}, but model {name!r} reads {room} tokens of text at once: set {room} or less.",
            param="passages.tokens",
        )
    overlap = tokens // 8 if settings.overlap is None else settings.overlap
    if overlap > tokens // 2:
        raise ConfigurationError(
            f"passages.overlap is {overlap}, more than half of a passage's {tokens} tokens: set {tokens // 2} or less.",
            param="passages.overlap",
        )
    return _chunker(model, tokens, overlap)


def query_chunker(model: Model) -> Chunker:
    """The chunker for query texts, which take as much of the window as they can."""
    room = room_for_text(model.tokenizer, model.window, model.fingerprint.query_prompt, model.fingerprint.name)
    return _chunker(model, room, room // 8)


def room_for_text(tokenizer: Tokenizer, window: int, prompt: str, name: str) -> int:
    """Tokens that are left for the text itself; one more is kept free, for a token that a prompt's end may break.

    Raises ConfigurationError where the prompt of the model of that name leaves too few.
    """
    room = window - tokenizer.special
    if prompt:
        room -= tokenizer.count(prompt) + 1
    if room < 8:
        raise ConfigurationError(
            f"The prompt {prompt!r} leaves {max(room, 0)} of model {name!r}'s {window} tokens for the text: shorten "
            "the prompt.",
            param="prompt",
        )
    return room
