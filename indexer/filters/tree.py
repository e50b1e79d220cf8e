"""What can a filter say?

Three nodes combine filters and five ask something of one field. There is no node for `eq` (one of one value), `ne` and
`nin` (not one of) or "the field is missing" (not exists): one meaning has one shape. The types of fields are not
repeated here; whoever builds a tree has checked them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from indexer.items import Scalar

Filter: TypeAlias = "And | Or | Not | Compare | OneOf | Exists | Contains | Prefix"


class Order(StrEnum):
    """The four ways to ask on which side of a value something lies."""

    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"


@dataclass(frozen=True, slots=True)
class And:
    """Every part matches; without parts, every item does."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part matches; without parts, no item does."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not match: also where it does not because the field is missing."""

    part: Filter


@dataclass(frozen=True, slots=True)
class Compare:
    """The field is present and lies on that side of the value; strings are ordered by code point."""

    field: str
    order: Order
    value: Scalar
    """Never a boolean; a date-time has a zone."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field equals one of the values; a list of strings has an element that does."""

    field: str
    values: tuple[Scalar, ...]
    """Of the field's type, except that integers and floats mix; none of them: no item matches."""


@dataclass(frozen=True, slots=True)
class Exists:
    """The item has the field; an empty list or string counts."""

    field: str


@dataclass(frozen=True, slots=True)
class Contains:
    """The string field has this text somewhere in it, in the same case."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """The string field starts with this text, in the same case."""

    field: str
    text: str
