"""Which rows does a file of JSON Lines hold?

One JSON object a line (https://jsonlines.org), UTF-8, plain or gzip. Blank lines are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import orjson

from indexer.items import Place, Rejected
from indexer.sources.files import File, label, read_lines
from indexer.sources.row import MAX_ROW_BYTES, Row, known_id
from indexer.sources.wording import describe


@dataclass(frozen=True, slots=True)
class JsonLines:
    """JSON Lines files, one after the other."""

    files: tuple[File, ...]
    id_field: str
    """The field in which the id of a broken line is looked for."""

    textual: ClassVar[bool] = False
    default_id: ClassVar[str] = "id"

    def rows(self) -> Iterator[Row | Rejected]:
        """Every row of every file; raises SourceError where a file cannot be read to its end."""
        for file in self.files:
            name = label(file)
            for number, line in enumerate(read_lines(file), start=1):
                if line is None or line.strip():
                    yield _row(line, Place(name, number), self.id_field)


def _row(line: bytes | None, place: Place, id_field: str) -> Row | Rejected:
    if line is None:
        return Rejected(place, f"the line is longer than {MAX_ROW_BYTES} bytes")
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Rejected(place, _why_broken(line, error), _id_all_the_same(line, id_field))
    if not isinstance(fields, dict):
        return Rejected(place, f"the line holds {describe(fields)}, not an object")
    return Row(fields, place)


def _why_broken(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as undecodable:
        return f"the line is not UTF-8: byte 0x{line[undecodable.start]:02x} at offset {undecodable.start}"
    return f"the line is not JSON: {error.msg} at column {error.pos + 1}"


def _id_all_the_same(line: bytes, id_field: str) -> str | None:
    """The id of a line with bad bytes, NaN or half a surrogate pair elsewhere, which the stdlib lets through."""
    try:
        fields = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return known_id(fields.get(id_field)) if isinstance(fields, dict) else None
