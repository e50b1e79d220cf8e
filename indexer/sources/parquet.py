"""Which rows does a Parquet file hold?

Read a few rows at a time through a buffer of fixed size, so that neither a file nor a row group is ever whole in
memory. Rows are counted from 1 through all row groups of a file. A file elsewhere is copied into the folder for
temporary files first: its columns lie apart, and would be fetched piece by piece, over and over.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import SourceError
from indexer.items import Place, Rejected
from indexer.sources.files import File, label, open_bytes, unreadable
from indexer.sources.row import Row, known_id
from indexer.sources.values import plain

BATCH_ROWS = 64
BUFFER_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Parquet:
    """Parquet files, one after the other."""

    files: tuple[File, ...]
    id_field: str
    """The field in which the id of a row with an unreadable value is looked for."""

    textual: ClassVar[bool] = False
    default_id: ClassVar[str] = "id"

    def rows(self) -> Iterator[Row | Rejected]:
        """Every row of every file; raises SourceError where a file cannot be read to its end."""
        for file in self.files:
            yield from _rows(file, self.id_field)


def _rows(source: File, id_field: str) -> Iterator[Row | Rejected]:
    name, number = label(source), 1
    # pre_buffer, on by default, fetches a whole row group; a memory map would crash if the file were cut meanwhile.
    options = {"pre_buffer": False, "buffer_size": BUFFER_BYTES, "page_checksum_verification": True}
    try:
        with _at_hand(source) as path, pq.ParquetFile(path, **options) as file:
            names = _names(file, name)
            for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                columns = [_cells(column) for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    yield _row(dict(zip(names, cells, strict=True)), Place(name, number), id_field)
                    number += 1
    except (OSError, pa.ArrowException) as error:
        raise unreadable(source, error, f"row {number} or soon after") from error


@contextlib.contextmanager
def _at_hand(file: File) -> Iterator[Path]:
    """The file itself, or a copy of one elsewhere for as long as it is read."""
    if isinstance(file, Path):
        yield file
        return
    with tempfile.NamedTemporaryFile(prefix="parecido-") as copy:
        with open_bytes(file) as opened:
            shutil.copyfileobj(opened, copy, BUFFER_BYTES)
        copy.flush()
        yield Path(copy.name)


def _names(file: pq.ParquetFile, name: str) -> list[str]:
    names: list[str] = file.schema_arrow.names
    for column in names:
        if names.count(column) > 1:
            raise SourceError(
                f"{name!r} has more than one column {column!r}: rename all but one, and run again.", param="source"
            )
    return names


def _row(fields: dict[str, Any], place: Place, id_field: str) -> Row | Rejected:
    for name, value in fields.items():
        if isinstance(value, _Unreadable):
            return Rejected(place, f"field {name!r} cannot be read: {value.reason}", known_id(fields.get(id_field)))
    return Row(fields, place)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands for a cell that Python cannot hold: a string that is not UTF-8, a year beyond 9999."""

    reason: str


def _cells(column: pa.Array) -> list[Any]:
    try:
        return [plain(value) for value in _in_python_units(column).to_pylist()]
    except (ValueError, OverflowError):
        return [_cell(column.slice(row, 1)) for row in range(len(column))]


def _cell(column: pa.Array) -> Any:
    try:
        return plain(_in_python_units(column)[0].as_py())
    except (ValueError, OverflowError) as error:
        return _Unreadable(str(error))


def _in_python_units(column: pa.Array) -> pa.Array:
    """The column with dictionaries decoded and timestamps without a zone, no finer than a datetime can hold."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_timestamp(column.type):
        return column
    unit = "us" if column.type.unit == "ns" else column.type.unit
    # With a zone the stored instant is in UTC (Arrow's Schema.fbs); without the zone no zone database is asked for it.
    return column.cast(pa.timestamp(unit), safe=unit == column.type.unit)
