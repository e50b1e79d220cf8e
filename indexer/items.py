"""What does a user store and get back, and when is it the same as before?

An item is an id, a text and metadata. Its two hashes decide everything that follows: the id hash says where it is
looked up, the content hash says whether it changed. Both are 128-bit BLAKE2b (RFC 7693), so that a collection of
billions has no collision by chance; a look-up compares the id itself all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypeAlias

import orjson

MAX_ID_BYTES = 512

Scalar: TypeAlias = str | int | float | bool | datetime
Value: TypeAlias = Scalar | list[str] | None


class FieldType(StrEnum):
    """The types a metadata field can have; a field keeps one type for the life of a collection."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    STRINGS = "strings"


Schema: TypeAlias = Mapping[str, FieldType]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a user stores."""

    id: str
    """Any text of 1 to 512 bytes in UTF-8."""
    text: str
    """What is embedded; never blank."""
    metadata: Mapping[str, Value]
    """Field to value; a missing field and None are the same."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a source something was read."""

    file: str
    line: int
    """Counted from 1; the row number in files without lines, 1 where a file is one item."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of a source that cannot become an item."""

    place: Place
    reason: str
    id: str | None = None
    """The row's id where it could be read: then the item's old version is kept."""


def hash_id(id: str) -> bytes:
    """The 16 bytes under which an id is looked up."""
    return hashlib.blake2b(id.encode(), digest_size=16).digest()


def hash_text(text: str) -> bytes:
    """The 16 bytes that identify an exact text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def hash_content(item: Item) -> bytes:
    """The 16 bytes that change when the item's text or metadata changes.

    Fields are taken in name order, missing ones and None left out; a whole float hashes like the integer, because a
    field that widens from integers to floats has not changed.
    """
    metadata = {k: _canonical(v) for k, v in item.metadata.items() if v is not None}
    encoded = orjson.dumps([item.text, metadata], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _canonical(value: Value) -> Value:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, datetime):
        return as_utc(value).isoformat()
    return value


def as_utc(value: date) -> datetime:
    """A date or date-time as a date-time in UTC; one without a zone is taken to be in UTC already."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
