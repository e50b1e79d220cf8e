"""Which type does each metadata field have?

A declared type holds, then the published collection's, then that of the first value seen. Only an integer field that
nobody declared can change: it widens to float when a float comes. A row that does not fit is rejected and teaches
nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from indexer.errors import SchemaConflict
from indexer.items import FieldType, Schema, Value, as_utc
from indexer.sources.row import is_unicode
from indexer.sources.wording import describe

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,20}\s*")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class SchemaInference:
    """The types of the metadata fields, as far as the rows that were fitted tell them."""

    def __init__(self, declared: Schema, known: Schema) -> None:
        """Begin with the types the user declared and those of the published collection, which may be none.

        Raises SchemaConflict where the two contradict each other; an integer field may be declared float.
        """
        self._declared = dict(declared)
        self._types = {name: _agreed(name, type, declared.get(name, type)) for name, type in known.items()}

    @property
    def schema(self) -> dict[str, FieldType]:
        """Field to type: those of the published collection first, then in the order in which they were first seen."""
        return dict(self._types)

    def fit(self, metadata: Mapping[str, Any], *, textual: bool) -> dict[str, Value]:
        """A row's metadata in the types of its fields; with `textual`, text is read as the type that is wanted.

        An integer field may widen later: values fitted before stay integers. Raises ValueError with the reason where
        the row does not fit, and then has learnt nothing from it.
        """
        fitted: dict[str, Value] = {}
        learnt: dict[str, FieldType] = {}
        for name, value in metadata.items():
            if not is_unicode(name):
                raise ValueError(f"the name of field {name!r} is not Unicode")
            type, fitted[name] = self._fit_one(name, value, textual)
            if type is not None:
                learnt[name] = type
        self._types.update(learnt)
        return fitted

    def _fit_one(self, name: str, value: Any, textual: bool) -> tuple[FieldType | None, Value]:
        """A field's type after a value was seen, None where there is still none, and the value in that type."""
        type = self._types.get(name, self._declared.get(name))
        if value is None:
            return type, None
        if isinstance(value, str) and type is not None:
            value = _parse(value, type, textual)
        natural = _natural_type(name, value)
        if type is None or type is natural:
            return natural, _in_utc(name, value)
        if (type, natural) == (FieldType.FLOAT, FieldType.INTEGER):
            return type, float(value)
        if (type, natural) == (FieldType.INTEGER, FieldType.FLOAT) and name not in self._declared:
            return natural, value
        raise ValueError(f"field {name!r} holds {describe(value)}, but the column is {type}")


def _agreed(name: str, known: FieldType, declared: FieldType) -> FieldType:
    if declared is known or (known is FieldType.INTEGER and declared is FieldType.FLOAT):
        return declared
    raise SchemaConflict(
        f"Field {name!r} is declared as {str(declared)!r}, but in the published collection it is {str(known)!r}: "
        "correct `types`, or build the collection anew with `--rebuild`.",
        param="types",
    )


def _natural_type(name: str, value: Any) -> FieldType:
    """The type of a value by itself; raises ValueError for one that metadata cannot hold."""
    if isinstance(value, bool):
        return FieldType.BOOLEAN
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"field {name!r} holds an integer beyond 64 bits: write it as text")
        return FieldType.INTEGER
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"field {name!r} holds {value}, which is no number: leave the field out")
        return FieldType.FLOAT
    if isinstance(value, date):
        return FieldType.DATETIME
    if isinstance(value, list):
        for element in value:
            _check_text(name, element, "a list with ")
        return FieldType.STRINGS
    _check_text(name, value, "")
    return FieldType.STRING


def _check_text(name: str, value: Any, within: str) -> None:
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} holds {within}{describe(value)}: make it text, or leave it out of `metadata`")
    if not is_unicode(value):
        raise ValueError(f"field {name!r} holds {within}half a surrogate pair, which is not Unicode: correct the text")


def _in_utc(name: str, value: Any) -> Any:
    if not isinstance(value, date):
        return value
    try:
        return as_utc(value)
    except OverflowError as error:
        raise ValueError(
            f"field {name!r} holds {describe(value)}, which in UTC is not in the years 1 to 9999"
        ) from error


def _parse(text: str, type: FieldType, textual: bool) -> Any:
    """The value that a text spells, or the text itself where it spells none or is to stay text."""
    parser = _PARSERS.get(type) if textual or type is FieldType.DATETIME else None
    if parser is None:
        return text
    try:
        return parser(text)
    except (ValueError, OverflowError, KeyError):
        return text


def _parse_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _parse_float(text: str) -> float:
    if "_" in text:  # float() takes "1_000", which no CSV means as a number
        raise ValueError(text)
    return float(text)


def _parse_boolean(text: str) -> bool:
    return _BOOLEANS[text.strip().lower()]


def _parse_datetime(text: str) -> datetime:
    return as_utc(datetime.fromisoformat(text.strip()))


def _parse_strings(text: str) -> list[str]:
    return [part for part in map(str.strip, text.split(",")) if part]


_PARSERS: dict[FieldType, Callable[[str], Value]] = {
    FieldType.INTEGER: _parse_integer,
    FieldType.FLOAT: _parse_float,
    FieldType.BOOLEAN: _parse_boolean,
    FieldType.DATETIME: _parse_datetime,
    FieldType.STRINGS: _parse_strings,
}
