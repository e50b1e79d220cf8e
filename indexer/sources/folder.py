"""Which rows do the text files and documents of a folder hold?

A file is a row: `path` (relative, with slashes), `text`, for Markdown what the YAML front matter says, and for HTML,
PDF and Word the `title` that the document states. Files of other kinds are no part of the source. Hidden files
and folders are passed over; so are links to folders, which could lead in circles, while links to files are followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from indexer.items import Place, Rejected
from indexer.sources.documents import DOCUMENT_FILES, read_document
from indexer.sources.files import unreadable
from indexer.sources.front_matter import split_front_matter
from indexer.sources.paths import Found
from indexer.sources.row import MAX_ROW_BYTES, Row, known_id, name_of

MARKDOWN = (".md", ".markdown")
READ_FILES = (".txt", *MARKDOWN, *DOCUMENT_FILES)


@dataclass(frozen=True, slots=True)
class Folder:
    """Text files and documents, named one by one or by the folder that they are somewhere under."""

    found: tuple[Found, ...]
    id_field: str

    textual: ClassVar[bool] = False
    default_id: ClassVar[str] = "path"

    def rows(self) -> Iterator[Row | Rejected]:
        """Every file, in the order of its relative path.

        Raises SourceError where a file or folder cannot be read, and ConfigurationError at the first document where
        the packages that read documents are not installed.
        """
        for found in self.found:
            for file in _files(found.path) if os.path.isdir(found.path) else (found.path,):
                yield _row(file, file.relative_to(found.root).as_posix(), self.id_field)


def _files(folder: Path) -> Iterator[Path]:
    """The files to read under a folder, sorted by relative path with no more than the open folders' names in memory."""
    waiting = _entries(folder)
    while waiting:
        entry = waiting.pop()
        if entry.is_dir(follow_symlinks=False):
            waiting.extend(_entries(Path(entry.path)))
        elif entry.name.lower().endswith(READ_FILES) and _is_meant_as_file(entry):
            yield Path(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, last first; a folder sorts by its name and the slash that follows it in every path."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise unreadable(folder, error, "its list of files") from error
    return sorted(visible, key=lambda e: e.name + "/" * e.is_dir(follow_symlinks=False), reverse=True)


def _is_meant_as_file(entry: os.DirEntry[str]) -> bool:
    """Not a pipe, a device or a link to a folder; but a link that leads nowhere, which is then an unreadable file."""
    path = Path(entry.path)
    try:
        return path.is_file() or not path.exists()
    except OSError as error:
        raise unreadable(path, error, "its first byte") from error


def _row(file: Path, path: str, id_field: str) -> Row | Rejected:
    place = Place(name_of(file), 1)
    try:
        fields = _fields(file)
    except ValueError as error:
        return Rejected(place, str(error), known_id(path) if id_field == "path" else None)
    return Row({"path": path, **fields}, place)


def _fields(file: Path) -> dict[str, Any]:
    """The text of a file and what it says of itself; raises ValueError with the reason where it cannot be used."""
    name = file.name.lower()
    if name.endswith(DOCUMENT_FILES):
        document = read_document(file)
        return {"text": document.text, **({"title": document.title} if document.title else {})}
    text = _read(file)
    if not name.endswith(MARKDOWN):
        return {"text": text}
    front, body = split_front_matter(text)
    if taken := {"path", "text"} & front.keys():
        raise ValueError(f"the front matter sets {min(taken)!r}, which is the file's own: rename it")
    return {"text": body, **front}


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_ROW_BYTES + 1)
    except OSError as error:
        raise unreadable(file, error, "its first byte") from error
    if len(data) > MAX_ROW_BYTES:
        raise ValueError(f"the file is longer than {MAX_ROW_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the file is not UTF-8: byte 0x{error.object[error.start]:02x}") from error
