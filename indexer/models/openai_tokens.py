"""How are the tokens counted that OpenAI's models see?

With tiktoken, where the vocabulary lies on this machine under its name for it; nothing is ever fetched, and a
file that is not the vocabulary, byte for byte, is left as it is and not used. Without it a token is taken for four
characters, and `exact` says that every figure made of that is estimated. The embedding models, and those of other
servers, of which nobody knows better, are counted by cl100k_base; only for the former are the figures exact.

What always holds: "<|endoftext|>" and the like are plain text, as the API takes them, whose inputs are texts and not
conversations; no passage has more tokens than asked for, and passages are the same with and without the file, because
what splits texts carries the vocabulary in itself.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from semantic_text_splitter import TextSplitter

from indexer.errors import ModelUnavailable
from indexer.providers import OPENAI

if TYPE_CHECKING:
    from tiktoken import Encoding

VOCABULARY = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""What tiktoken calls the file of cl100k_base: the SHA-1 of its address."""
CHARACTERS_A_TOKEN = 4
"""About, in English."""
WORDS_OF_100_TOKENS = 75
"""The same rule, in words."""
WINDOW = 8191
"""The most tokens that OpenAI's embedding models read at once."""
LONGEST_TOKEN = 128
"""Bytes of the longest token of cl100k_base."""
PART = 1 << 20
"""Characters of a long text that are counted at once, about."""

_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_COUNTED_BY_IT = frozenset({"text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"})
_SPLITTER = "text-embedding-3-small"
"""A model that is counted by cl100k_base; it names the vocabulary to the splitter."""
_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)
"""What cl100k_base takes for words; no token reaches over the end of one."""
_BETWEEN_WORDS = re.compile(r"(?<=[A-Za-z])(?= [A-Za-z])|(?<=\n)(?=[^\W_])")
"""Places where a word of `_PATTERN` ends whatever stands before and behind."""


@functools.lru_cache(maxsize=4)
def vocabulary(folder: Path | None) -> Encoding | None:
    """cl100k_base without its special tokens, from the file in that folder; None where it is not there, or damaged."""
    try:
        content = b"" if folder is None else (folder / VOCABULARY).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != _SHA256:
        return None
    from tiktoken import Encoding

    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, content.splitlines())}
    return Encoding("cl100k_base", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})


def window(model: str) -> int | None:
    """The most tokens that a model of that configured name reads; None where it is not OpenAI's."""
    return WINDOW if model.removeprefix(OPENAI) in _COUNTED_BY_IT else None


def estimated_tokens(characters: int) -> int:
    """About how many tokens so many characters are."""
    return -(-characters // CHARACTERS_A_TOKEN)


def tokens_of_words(words: int) -> int:
    """About how many tokens so many words are."""
    return -(-words * 100 // WORDS_OF_100_TOKENS)


class OpenAITokenizer:
    """Counts for one model, by its configured name or by that which the API knows."""

    special = 0

    def __init__(self, model: str, folder: Path | None) -> None:
        """`folder` is where tiktoken keeps vocabularies; the file is read when it is first needed."""
        self._model = model.removeprefix(OPENAI)
        self._folder = folder

    @property
    def exact(self) -> bool:
        """Whether it counts as the model does; of a model that OpenAI does not offer nobody here knows how."""
        return self._model in _COUNTED_BY_IT and vocabulary(self._folder) is not None

    def count(self, text: str) -> int:
        """The tokens of a text, exact or not."""
        encoding = vocabulary(self._folder)
        if encoding is None:
            return estimated_tokens(len(text))
        return sum(len(encoding.encode_ordinary(part)) for part in _parts(text))

    def fits(self, text: str, tokens: int) -> int | None:
        """The tokens of a text that surely has no more than so many of cl100k_base; None for a longer one.

        What splits texts has the last word, so that the answer is the same without the vocabulary.
        """
        if len(text) > tokens * LONGEST_TOKEN:
            return None
        count = self.count(text)
        if len(text.encode()) <= tokens:  # no token is less than a byte
            return count
        if vocabulary(self._folder) is not None and count > tokens:
            return None
        return min(count, tokens) if len(_whole(tokens).chunks(text)) == 1 else None

    def pieces(self, text: str) -> list[tuple[int, str]]:
        """Its tokens: ids, and pieces as `readable` shows them; raises ModelUnavailable where there is no vocabulary.

        Those of a model that OpenAI does not offer are unknown as well.
        """
        encoding = vocabulary(self._folder)
        if encoding is None or not self.exact:
            raise ModelUnavailable(self._why_not(), param="model")
        ids = [id for part in _parts(text) for id in encoding.encode_ordinary(part)]
        return [(id, readable(encoding.decode_single_token_bytes(id))) for id in ids]

    def splitter(self, tokens: int, overlap: int) -> TextSplitter:
        """What splits texts into pieces of at most so many tokens of cl100k_base."""
        return TextSplitter.from_tiktoken_model(_SPLITTER, tokens, overlap)

    def _why_not(self) -> str:
        if self._model not in _COUNTED_BY_IT:
            return f"How the model {self._model!r} makes tokens is not known here: their number is estimated."
        where = "TIKTOKEN_CACHE_DIR" if self._folder is None else repr(str(self._folder / VOCABULARY))
        return (
            f"The vocabulary of the model {self._model!r}, cl100k_base, is not on this machine, or damaged: put "
            f"tiktoken's file of it at {where}, with the SHA-256 {_SHA256}, or set TIKTOKEN_CACHE_DIR to its folder."
        )


def readable(piece: bytes) -> str:
    r"""Some bytes of a text as text; those that are no whole character as `\xf0`, and a backslash as two.

    `original` of the pieces of a text, joined, is the text.
    """
    try:
        return piece.decode().replace("\\", "\\\\")
    except UnicodeDecodeError:
        return piece.replace(b"\\", b"\\\\").decode(errors="backslashreplace")


def original(shown: str) -> bytes:
    """The bytes of what `readable` shows."""
    return re.sub(rb"\\(\\|x([0-9a-f]{2}))", lambda m: bytes.fromhex(m[2].decode()) if m[2] else b"\\", shown.encode())


@functools.lru_cache(maxsize=4)
def _whole(tokens: int) -> TextSplitter:
    """What makes one piece, with all its white space, of a text that has no more than so many tokens."""
    return TextSplitter.from_tiktoken_model(_SPLITTER, tokens, 0, trim=False)


def _parts(text: str) -> Iterator[str]:
    """A text in parts of bounded length, where it has words or lines, which have the same tokens as the whole."""
    start = 0
    while len(text) - start > PART and (cut := _BETWEEN_WORDS.search(text, start + PART)):
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:]
