"""Which rows does a CSV or TSV file hold?

RFC 4180 with a header row, UTF-8 with or without a byte order mark, plain or gzip; an empty cell is a missing value.
What the header or an unclosed quote leaves open would change the meaning of all rows after it, so those are errors of
the source and not of a row.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from indexer.errors import SourceError
from indexer.items import Place, Rejected
from indexer.sources.files import File, label, read_lines
from indexer.sources.row import MAX_ROW_BYTES, Row, is_unicode, known_id

if TYPE_CHECKING:
    from _csv import Reader


@dataclass(frozen=True, slots=True)
class Delimited:
    """CSV or TSV files, one after the other, each with its own header."""

    files: tuple[File, ...]
    delimiter: str
    id_field: str
    """The field in which the id of a broken row is looked for."""

    textual: ClassVar[bool] = True
    default_id: ClassVar[str] = "id"

    def rows(self) -> Iterator[Row | Rejected]:
        """Every row of every file; raises SourceError for a bad header and where a file cannot be read to its end."""
        # The limit is the process's and 131,072 characters by default, less than many a text; _Lines has its own.
        csv.field_size_limit(MAX_ROW_BYTES)
        for file in self.files:
            yield from _rows(file, self.delimiter, self.id_field)


class _Lines:
    """The decoded lines of a file for csv.reader, which says nothing about where it is or how much it holds."""

    def __init__(self, file: File) -> None:
        self.name = label(file)
        self.ended = False
        self._lines = read_lines(file)
        self._row_start = 1
        self._row_size = 0

    def begin_row(self, line: int) -> Place:
        """Where the row that begins at a line is; from here on the row's size counts."""
        self._row_start, self._row_size = line, 0
        return Place(self.name, line)

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._row_size += MAX_ROW_BYTES + 1 if line is None else len(line)
            if line is None or self._row_size > MAX_ROW_BYTES:
                raise _source_error(
                    Place(self.name, self._row_start),
                    f"the row is longer than {MAX_ROW_BYTES} bytes, so a quote is probably not closed",
                )
            yield line.decode("utf-8", "surrogateescape")
        self.ended = True


def _rows(file: File, delimiter: str, id_field: str) -> Iterator[Row | Rejected]:
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _header(reader, lines)
    while True:
        place = lines.begin_row(reader.line_num + 1)
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.ended:
                raise _source_error(place, "a quote is opened in this row and never closed") from error
            yield Rejected(place, f"the row cannot be split into cells: {_cause(error)}")
            continue
        if cells:
            yield _row(header, cells, place, id_field)


def _header(reader: Reader, lines: _Lines) -> list[str]:
    place = lines.begin_row(1)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise _source_error(place, f"the header row cannot be split into names: {_cause(error)}") from error
    if not header:
        raise _source_error(place, "there is no header row with the fields' names")
    if not is_unicode("".join(header)):
        raise _source_error(place, "the header row is not UTF-8")
    if not all(name.strip() for name in header):
        raise _source_error(place, f"the header row leaves a field without a name: {header!r}")
    if repeated := [name for name, count in Counter(header).items() if count > 1]:
        raise _source_error(place, f"the header row has {repeated[0]!r} more than once")
    return header


def _row(header: list[str], cells: list[str], place: Place, id_field: str) -> Row | Rejected:
    if len(cells) != len(header):
        return Rejected(place, f"the row has {len(cells)} cells, but the header has {len(header)}")
    fields = {name: cell or None for name, cell in zip(header, cells, strict=True)}
    for name, cell in fields.items():
        if cell is not None and not is_unicode(cell):
            return Rejected(place, f"field {name!r} is not UTF-8", known_id(fields.get(id_field)))
    return Row(fields, place)


def _cause(error: csv.Error) -> str:
    return str(error).partition(" - ")[0]  # what follows is advice to programmers


def _source_error(place: Place, what: str) -> SourceError:
    return SourceError(
        f"{place.file!r}, line {place.line}: {what}. Nothing is published from this source: correct the file, saved as "
        "UTF-8, and run again.",
        param="source",
    )
