"""What does a Word file say?

Its body as mammoth makes HTML of it: paragraphs, lists, tables, text boxes, tracked insertions and not deletions, notes
at the end. Headers, footers, comments and images are left out.
"""

from __future__ import annotations

import zipfile
from typing import BinaryIO
from xml.etree import ElementTree

import mammoth

from indexer.sources.documents.document import Document
from indexer.sources.documents.html import page_of

MAX_XML_BYTES = 32 * 2**20
"""Most bytes of XML in a file, unpacked; trees of them take tens of times as much memory."""

_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_NO_IMAGE = mammoth.images.img_element(lambda image: {})
_NOTE_LINKS = 'a[href^="#footnote-ref-"], a[href^="#endnote-ref-"]'


def read_word(file: BinaryIO) -> Document:
    """The text and the title of a .docx file; raises ValueError where it is encrypted, damaged or another format."""
    if file.read(4) == _OLD_OR_ENCRYPTED:
        raise ValueError(
            "the file is encrypted with a password, or of a Word before 2007: save it as .docx without one"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            _check_size(archive)
            title = _title(archive)
        file.seek(0)
        html: str = mammoth.convert_to_html(file, convert_image=_NO_IMAGE).value
    except (MemoryError, _TooLong):
        raise
    except Exception as error:  # what damage does to mammoth is anything: KeyError, AttributeError, ExpatError, ...
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the file is damaged, or no Word file: {said}") from error
    return Document(page_of(html, without=_NOTE_LINKS).text, title)


class _TooLong(ValueError):
    """The file holds more than there is memory for."""


def _check_size(archive: zipfile.ZipFile) -> None:
    if sum(part.file_size for part in archive.infolist() if part.filename.endswith((".xml", ".rels"))) > MAX_XML_BYTES:
        raise _TooLong(f"the file holds more than {MAX_XML_BYTES} bytes of XML: divide it")


def _title(archive: zipfile.ZipFile) -> str | None:
    if "docProps/core.xml" not in archive.namelist():
        return None
    core = ElementTree.fromstring(archive.read("docProps/core.xml"))  # noqa: S314 -- expat bounds what entities make
    return (core.findtext(_TITLE) or "").strip() or None
