"""Writes the HTML, PDF and Word files of the tests, and reads them as a source."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fpdf import FPDF

from indexer.config import CollectionSettings
from indexer.items import Place, Rejected
from indexer.sources import Row, open_source

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


def settings(*sources: Path | str, **more: Any) -> CollectionSettings:
    """The settings of a collection that is read from folders or files, without brakes."""
    values = {"source": tuple(map(str, sources)), "device": "cpu", "max_shrink": 1, "max_rejects": 1, **more}
    return CollectionSettings.model_validate(values)


def read(*sources: Path | str, **more: Any) -> list[Row | Rejected]:
    """All rows."""
    return list(open_source(settings(*sources, **more)).rows())


def fields(folder: Path, name: str, data: str | bytes) -> dict[str, Any]:
    """Of the one file of a folder, without its path."""
    write(folder, **{name: data})
    (row,) = read(folder / name)
    assert isinstance(row, Row), row
    assert row.fields.pop("path") == name
    return row.fields


def text(folder: Path, name: str, data: str | bytes) -> str:
    """That of the one file of a folder."""
    return str(fields(folder, name, data)["text"])


def reason(folder: Path, name: str, data: str | bytes) -> str:
    """Why the one file of a folder is rejected."""
    write(folder, **{name: data})
    (row,) = read(folder / name)
    assert isinstance(row, Rejected), row
    assert (row.id, row.place) == (name, Place(str(folder / name), 1))
    return row.reason
