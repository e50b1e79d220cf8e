"""How are the lines of a file read, plain or gzip, whatever their length and number?

No more than one line is in memory. A file that cannot be read to its end is a SourceError, never a short file: what
is missing from a source is deleted from the index.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

from indexer.errors import SourceError
from indexer.sources.row import MAX_ROW_BYTES, name_of

BOM = b"\xef\xbb\xbf"


def read_lines(path: Path) -> Iterator[bytes | None]:
    """The lines of a file with their ends, without a byte order mark; None for a line of over MAX_ROW_BYTES.

    Raises SourceError, with the number of the line that was being read, where the file cannot be opened, is cut or is
    damaged.
    """
    number = 1
    try:
        with _open(path) as file:
            while line := file.readline(MAX_ROW_BYTES + 1):
                if len(line) > MAX_ROW_BYTES:
                    _skip_line(file, line)
                    yield None
                else:
                    yield line.removeprefix(BOM) if number == 1 else line
                number += 1
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error, f"line {number}") from error


def unreadable(path: Path, error: Exception, where: str) -> SourceError:
    """The error of a file that could not be read to its end; `where` says how far it was read."""
    cause = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
    return SourceError(
        f"{name_of(path)!r} cannot be read to its end: at {where}: {cause}. Nothing is published from a part of a "
        "source: make the file whole and readable, or leave it out of `source`, and run again.",
        param="source",
    )


def _open(path: Path) -> BufferedIOBase:
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    # Python reads a file of no bytes as an empty gzip file, but it is what a failed copy leaves behind.
    if path.is_file() and path.stat().st_size == 0:
        raise EOFError("the file is empty, and even nothing compressed has a header")
    return gzip.open(path, "rb")


def _skip_line(file: BufferedIOBase, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(MAX_ROW_BYTES)
