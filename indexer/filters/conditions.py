"""May this field be asked this, with this value?

Whatever the spelling, a condition is a field, an operator and an operand, and is checked here against the schema and
the limits. What comes out is a node of the tree; what cannot be asked is refused with a sentence that says what can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from indexer.errors import InvalidFilter
from indexer.filters.tree import Compare, Contains, Exists, Filter, Not, OneOf, Or, Order, Prefix
from indexer.items import FieldType, Scalar, Schema, as_utc

MAX_DEPTH = 32
"""Levels of filters within filters, the outermost one included."""
MAX_CONDITIONS = 1_000
"""Conditions in one filter; an empty filter counts as one."""
MAX_VALUES = 10_000
"""Values in one list of alternatives."""

EQUALITY = ("eq", "ne", "in", "nin", "exists")
ORDER = tuple(Order)
TEXT = ("contains", "prefix")
OPERATORS = ("eq", "ne", *ORDER, "in", "nin", "exists", *TEXT)

_TAKES = {
    FieldType.STRING: (*EQUALITY, *ORDER, *TEXT),
    FieldType.INTEGER: (*EQUALITY, *ORDER),
    FieldType.FLOAT: (*EQUALITY, *ORDER),
    FieldType.BOOLEAN: EQUALITY,
    FieldType.DATETIME: (*EQUALITY, *ORDER),
    FieldType.STRINGS: (*EQUALITY, "contains"),
}
_WANTS = {
    FieldType.STRING: "a string",
    FieldType.INTEGER: "a number",
    FieldType.FLOAT: "a number",
    FieldType.BOOLEAN: "true or false",
    FieldType.DATETIME: "an ISO 8601 string such as '2026-01-31T12:00:00Z'",
    FieldType.STRINGS: "one string, that of an element",
}


@dataclass(slots=True)
class Conditions:
    """Makes the conditions of one filter, and counts them."""

    schema: Schema
    """The metadata fields; `id` is always the item's own id, whatever a schema says of it."""
    sign: str = ""
    """What the spelling puts before an operator's name; messages put it there too."""
    count: int = 0

    def type_of(self, field: str, param: str) -> FieldType:
        """The field's type; InvalidFilter if the collection has no such field."""
        if field == "id":
            return FieldType.STRING
        if field in self.schema:
            return self.schema[field]
        known = {**self.schema, "id": FieldType.STRING}
        names = ", ".join(f"{name} ({known[name]})" for name in sorted(known))
        raise InvalidFilter(f"This collection has no field {shown_key(field)}; its fields are {names}.", param=param)

    def add(self, field: str, operator: str, operand: object, param: str) -> Filter:
        """The node for one of OPERATORS; InvalidFilter if the field does not take the operator or the operand."""
        self.tally(param)
        type_ = self.type_of(field, param)
        if operator not in _TAKES[type_]:
            takes = self.signed(_TAKES[type_])
            message = (
                f"Field {field!r} is of type {type_}, which does not take {self.sign}{operator}; it takes {takes}."
            )
            raise InvalidFilter(message, param=param)
        match operator:
            case "exists":
                return _exists(field, operand, param)
            case "eq" | "ne":
                condition = _one_of(field, type_, [(operand, param)])
            case "in" | "nin":
                condition = _one_of(field, type_, self._alternatives(operator, operand, param))
            case "contains" | "prefix":
                return _text(field, type_, operator, operand, param)
            case _:
                return Compare(field, Order(operator), checked(field, type_, operand, param))
        return condition if operator in ("eq", "in") else Not(condition)

    def tally(self, param: str) -> None:
        """Count one condition; InvalidFilter beyond the maximum."""
        self.count += 1
        if self.count > MAX_CONDITIONS:
            message = f"A filter takes at most {MAX_CONDITIONS:,} conditions; ask for many values of one field"
            raise InvalidFilter(f"{message} with {self.sign}in.", param=param)

    def signed(self, operators: Sequence[str]) -> str:
        """Operators as the spelling writes them, for a message."""
        return ", ".join(self.sign + operator for operator in operators)

    def _alternatives(self, operator: str, operand: object, param: str) -> list[tuple[object, str]]:
        if not isinstance(operand, list):
            raise InvalidFilter(f"{self.sign}{operator} needs a list of values, not {shown(operand)}.", param=param)
        if len(operand) > MAX_VALUES:
            message = (
                f"{self.sign}{operator} takes at most {MAX_VALUES:,} values, not {len(operand):,}; split the list."
            )
            raise InvalidFilter(message, param=param)
        return [(value, f"{param}[{place}]") for place, value in enumerate(operand)]


def check_depth(depth: int, param: str) -> None:
    """InvalidFilter where a filter lies deeper within others than is allowed."""
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"A filter is nested at most {MAX_DEPTH} levels deep; write it flatter.", param=param)


def checked(field: str, type_: FieldType, value: object, param: str) -> Scalar:
    """The value as the field's column is compared with it; InvalidFilter if it is of another type."""
    match type_, value:
        case (FieldType.STRING | FieldType.STRINGS, str()) if _is_unicode(value):
            return value
        case (FieldType.INTEGER | FieldType.FLOAT, int() | float()) if _is_number(value):
            return value
        case (FieldType.BOOLEAN, bool()):
            return value
        case (FieldType.DATETIME, str()) if (moment := _moment(value)) is not None:
            return moment
    message = f"Field {field!r} is of type {type_} and is compared with {_WANTS[type_]}, not with {shown(value)}."
    raise InvalidFilter(message, param=param)


def shown(value: object) -> str:
    """A JSON value in a few words, however large it is."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() if value.bit_length() > 256:  # Python refuses to print integers beyond 4,300 digits
            return f"an integer of {value.bit_length():,} bits"
        case float() if not math.isfinite(value):
            return f"{value!r}, which is not finite"
        case int() | float():
            return f"the number {value!r}"
        case str() if not _is_unicode(value):
            return f"{shown_key(value)}, which is not valid Unicode"
        case str():
            return f"the string {shown_key(value)}"
        case list():
            return "a list"
        case dict():
            return "an object"
    return f"a {type(value).__name__}"


def shown_key(key: str) -> str:
    """A name from outside, quoted and cut to a length that fits in a message."""
    return repr(key if len(key) <= 80 else key[:79] + "…")


def _exists(field: str, operand: object, param: str) -> Filter:
    if not isinstance(operand, bool):
        raise InvalidFilter(f"Whether field {field!r} exists is true or false, not {shown(operand)}.", param=param)
    return Exists(field) if operand else Not(Exists(field))


def _one_of(field: str, type_: FieldType, alternatives: list[tuple[object, str]]) -> Filter:
    values = tuple(checked(field, type_, value, param) for value, param in alternatives if value is not None)
    if len(values) == len(alternatives):
        return OneOf(field, values)
    missing = Not(Exists(field))
    return Or((OneOf(field, values), missing)) if values else missing


def _text(field: str, type_: FieldType, operator: str, operand: object, param: str) -> Filter:
    text = str(checked(field, type_, operand, param))
    if type_ is FieldType.STRINGS:
        return OneOf(field, (text,))
    return Contains(field, text) if operator == "contains" else Prefix(field, text)


def _is_unicode(text: str) -> bool:
    # JSON can spell half a surrogate pair; no stored text holds one, and Arrow cannot be asked about it.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(value: int | float) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or math.isfinite(value))


def _moment(text: str) -> datetime | None:
    try:
        return as_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):  # the second where a zone moves it before year 1 or past 9999
        return None
