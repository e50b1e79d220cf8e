"""How are the lines of a file read, plain or gzip, here or elsewhere, whatever their length and number?

No more than one line is in memory. A file that cannot be read to its end is a SourceError, never a short file: what
is missing from a source is deleted from the index.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase, BufferedReader
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from indexer.errors import SourceError
from indexer.sources.remote import RemoteFile
from indexer.sources.row import MAX_ROW_BYTES, name_of

BOM = b"\xef\xbb\xbf"

File: TypeAlias = Path | RemoteFile


def label(file: File) -> str:
    """A file as it is named in messages and places."""
    return name_of(file) if isinstance(file, Path) else file.label


def open_bytes(file: File) -> BufferedReader:
    """The bytes of a file, as they are; raises OSError."""
    return file.open("rb") if isinstance(file, Path) else file.open()


def read_lines(file: File) -> Iterator[bytes | None]:
    """The lines of a file with their ends, without a byte order mark; None for a line of over MAX_ROW_BYTES.

    Raises SourceError, with the number of the line that was being read, where the file cannot be opened, is cut or is
    damaged.
    """
    number = 1
    try:
        with _opened(file) as opened:
            while line := opened.readline(MAX_ROW_BYTES + 1):
                if len(line) > MAX_ROW_BYTES:
                    _skip_line(opened, line)
                    yield None
                else:
                    yield line.removeprefix(BOM) if number == 1 else line
                number += 1
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(file, error, f"line {number}") from error


def unreadable(file: File, error: Exception, where: str) -> SourceError:
    """The error of a file that could not be read to its end; `where` says how far it was read."""
    cause = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
    return SourceError(
        f"{label(file)!r} cannot be read to its end: at {where}: {cause}. Nothing is published from a part of a "
        "source: make the file whole and readable, or leave it out of `source`, and run again.",
        param="source",
    )


@contextlib.contextmanager
def _opened(file: File) -> Iterator[BufferedIOBase]:
    with open_bytes(file) as opened:
        if PurePosixPath(file.name).suffix.lower() != ".gz":
            yield opened
            return
        # Python reads a file of no bytes as an empty gzip file, but it is what a failed copy leaves behind.
        if not opened.peek(1):
            raise EOFError("the file is empty, and even nothing compressed has a header")
        with gzip.GzipFile(fileobj=opened) as unpacked:
            yield unpacked


def _skip_line(file: BufferedIOBase, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(MAX_ROW_BYTES)
