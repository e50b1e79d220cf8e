"""Writes the HTML, PDF and Word files that the tests read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from fpdf import FPDF

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_TYPES = f"""<Types xmlns="{_PACKAGE}/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/word/document.xml" ContentType="{_MAIN}.document.main+xml"/>
<Override PartName="/word/footnotes.xml" ContentType="{_MAIN}.footnotes+xml"/>
</Types>"""
_RELATIONS = f"""<Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/>
</Relationships>"""
_NOTES = f"""<Relationships xmlns="{_PACKAGE}/relationships">
<Relationship Id="r2" Type="{_OFFICE}/footnotes" Target="footnotes.xml"/>
</Relationships>"""


def pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    """A PDF file with a text on each page, in lines as they are given."""
    file = FPDF()
    file.set_title(title)
    file.set_font("helvetica", size=12)
    if password:
        file.set_encryption(owner_password="owner", user_password=password)
    for page in pages:
        file.add_page()
        file.multi_cell(0, 8, page)
    return bytes(file.output())


def word(body: str, title: str = "", note: str = "") -> bytes:
    """A Word file of the given WordprocessingML, in which `w:` is its namespace."""
    parts = {"[Content_Types].xml": _TYPES, "_rels/.rels": _RELATIONS}
    parts["word/document.xml"] = f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>'
    if note:
        parts["word/_rels/document.xml.rels"] = _NOTES
        parts["word/footnotes.xml"] = (
            f'<w:footnotes xmlns:w="{_WORD}"><w:footnote w:id="1">{paragraph(note)}</w:footnote></w:footnotes>'
        )
    if title:
        parts["docProps/core.xml"] = (
            f'<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties" '
            f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></cp:coreProperties>'
        )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return file.getvalue()


def run(text: str) -> str:
    """A run of text."""
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*texts: str) -> str:
    """A paragraph of runs; what begins with < is taken as it is."""
    return "<w:p>" + "".join(text if text.startswith("<") else run(text) for text in texts) + "</w:p>"


def table(*rows: Sequence[str]) -> str:
    """A table of cells with a paragraph each."""
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def write(folder: Path, **files: str | bytes) -> None:
    """Files with their contents, in folders that are made."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
