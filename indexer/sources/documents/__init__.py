"""What do HTML, PDF and Word files say?

One library a kind takes the text out; they are the optional extra `documents`, imported at the first document. The text
is what a reader sees, paragraphs apart. A document that is damaged, encrypted or without text is a ValueError with the
reason; one that cannot be read from its disk is a SourceError, as any other file.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from indexer.errors import ConfigurationError
from indexer.sources.documents.document import Document
from indexer.sources.files import unreadable
from indexer.sources.row import name_of

DOCUMENT_FILES = (".html", ".htm", ".pdf", ".docx")

__all__ = ["DOCUMENT_FILES", "Document", "read_document"]


def read_document(path: Path) -> Document:
    """The text and the title of a file that its name says to be one of these kinds.

    Raises ValueError with the reason where the document is of no use, SourceError where the file cannot be read, and
    ConfigurationError where the extra is not installed.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except OSError as error:
        raise unreadable(path, error, "its first byte") from error


def _read(path: Path, file: BinaryIO) -> Document:
    try:
        match path.suffix.lower():
            case ".pdf":
                from indexer.sources.documents.pdf import read_pdf as read
            case ".docx":
                from indexer.sources.documents.word import read_word as read
            case _:
                from indexer.sources.documents.html import read_html as read
    except ImportError as error:
        raise ConfigurationError(
            f"{name_of(path)!r} is a document, which needs packages that are not installed: run pip install "
            "'parecido[documents]'; or name in `source` only the files that are wanted, each kind by a glob such as "
            "'docs/**/*.md'.",
            param="source",
        ) from error
    try:
        return read(file)
    except ValueError:
        # What looks like damage to a library may be a disk that does not give the bytes: that raises OSError here.
        file.seek(0)
        while file.read(2**20):
            pass
        raise
