"""How does a model of this machine count tokens?"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from semantic_text_splitter import TextSplitter

from indexer.errors import ModelUnavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend


class LocalTokenizer:
    """A model's own tokenizer, without truncation and padding."""

    exact = True

    def __init__(self, backend: Backend) -> None:
        self._backend: Backend = copy.deepcopy(backend)
        self._backend.no_truncation()
        self._backend.no_padding()
        self.special: int = self._backend.num_special_tokens_to_add(False)

    def count(self, text: str) -> int:
        """The tokens of a text, special ones left out."""
        return len(self._backend.encode(text, add_special_tokens=False))

    def fits(self, text: str, tokens: int) -> int | None:
        """The tokens of a text that has no more than so many; None for a longer one."""
        count = self.count(text)
        return count if count <= tokens else None

    def pieces(self, text: str) -> list[tuple[int, str]]:
        """Its tokens, ids and pieces, special ones too."""
        encoded = self._backend.encode(text)
        return list(zip(encoded.ids, encoded.tokens, strict=True))

    def splitter(self, tokens: int, overlap: int) -> TextSplitter:
        """What splits texts into pieces of at most so many tokens."""
        return TextSplitter.from_huggingface_tokenizer(self._backend, tokens, overlap)

    def cutting(self, window: int) -> Backend:
        """The same that cuts texts at so many tokens, special ones included."""
        backend = copy.deepcopy(self._backend)
        backend.enable_truncation(window)
        return backend

    def to_json(self) -> bytes:
        """As `read_tokenizer` reads it."""
        text: str = self._backend.to_str()
        return text.encode()


def read_tokenizer(folder: Path) -> LocalTokenizer | None:
    """The tokenizer of the model in that folder, without the model; None where only that tells.

    Raises ModelUnavailable where its file is damaged.
    """
    from tokenizers import Tokenizer as Backend

    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        return LocalTokenizer(Backend.from_file(str(file)))
    except Exception as error:  # the library raises nothing more particular
        raise ModelUnavailable(f"The model's file {str(file)!r} cannot be read: {error}.", param="model") from error
