"""What does a PDF file say?

The text of its pages in order, a blank line apart, with the lines of the page; a word that a hyphen divides at the end
of a line is whole again. A page that cannot be read makes the file a damaged one: nothing of it is passed over.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import pypdfium2 as pdfium
from pypdfium2 import raw

from indexer.sources.documents.document import Document
from indexer.sources.row import MAX_ROW_BYTES

HYPHEN = "\x02"
"""What PDFium writes for a hyphen at the end of a line, and the line break behind it."""


def read_pdf(file: BinaryIO) -> Document:
    """The text and the title of a PDF file.

    Raises ValueError where it is encrypted, damaged, or holds no text, and OSError where it cannot be read.
    """
    reads = _Reads(file)
    try:
        return _document(reads)
    finally:
        if reads.error is not None:
            raise reads.error


class _Reads:
    """A file whose errors PDFium, which knows no exceptions, is told as bytes that are not there."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self.read = file.seek, file.tell, file.read
        self._file = file
        self.error: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; 0 where that fails."""
        try:
            return self._file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]
        except OSError as error:
            self.error = error
            return 0


def _document(reads: _Reads) -> Document:
    try:
        pdf = pdfium.PdfDocument(reads)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == raw.FPDF_ERR_PASSWORD:
            raise ValueError("the file is encrypted with a password: save it without one") from error
        raise ValueError(f"the file is damaged, or no PDF: {error}") from error
    try:
        text = _text(pdf)
        title = str(pdf.get_metadata_value("Title")).strip()
    finally:
        pdf.close()
    if not text.strip():
        raise ValueError(
            "the file holds no text: its pages are probably scanned images, which a program for recognising text makes "
            "readable"
        )
    return Document(text, title or None)


def _text(pdf: pdfium.PdfDocument) -> str:
    pages: list[str] = []
    size = 0
    for number in range(len(pdf)):
        try:
            page = pdf[number]
            text = page.get_textpage().get_text_bounded()
            page.close()
        except pdfium.PdfiumError as error:
            raise ValueError(f"the file is damaged: page {number + 1} cannot be read: {error}") from error
        size += len(text)
        if size > MAX_ROW_BYTES:
            raise ValueError(f"the text is longer than {MAX_ROW_BYTES} characters")
        pages.append(_clean(text))
    return "\n\n".join(page for page in pages if page)


def _clean(text: str) -> str:
    lines = text.replace(HYPHEN, "").splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()
