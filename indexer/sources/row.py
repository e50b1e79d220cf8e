"""What does every source give, and which ids can be used?

A source gives rows in an order that never changes while its files do not. What a row's strings hold is valid Unicode,
so it can be hashed, stored and sent; a row of which that is not true is rejected by the source that read it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from indexer.items import MAX_ID_BYTES, Place, Rejected
from indexer.sources.wording import describe

MAX_ROW_BYTES = 64 * 2**20
"""Longest line, CSV row or text file; it bounds the memory of a run whatever a source holds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source, not yet an item."""

    fields: dict[str, Any]
    """Name to value as the format gives it; a missing field and None are the same."""
    place: Place


class Source(Protocol):
    """Files of one format, read as a stream."""

    @property
    def textual(self) -> bool:
        """Whether values are untyped text, as in CSV."""

    @property
    def default_id(self) -> str:
        """The field that holds the id where the settings name none."""

    def rows(self) -> Iterator[Row | Rejected]:
        """Every row from the first to the last; raises SourceError where they cannot be read to the last."""


def usable_id(value: object) -> str:
    """The id that a value stands for: a string itself, an integer in digits. Raises ValueError with the reason."""
    if isinstance(value, int) and not isinstance(value, bool):
        return usable_id(str(value))
    if not isinstance(value, str):
        raise ValueError(f"the id is {describe(value)}, not text or an integer")
    if not value:
        raise ValueError("the id is empty")
    if not is_unicode(value):
        raise ValueError("the id holds bytes that are not UTF-8")
    if (size := len(value.encode())) > MAX_ID_BYTES:
        raise ValueError(f"the id has {size} bytes, and {MAX_ID_BYTES} is the most")
    return value


def known_id(value: object) -> str | None:
    """The id that a value stands for, None where it cannot be one."""
    try:
        return usable_id(value)
    except ValueError:
        return None


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which no encoding can carry."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def name_of(path: Path) -> str:
    """A path as text that can be stored and sent: bytes of a name that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
