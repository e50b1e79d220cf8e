"""Is the text of PDF and Word files exactly what a reader sees, and is what cannot be read told?"""

from __future__ import annotations

import errno
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from document_files import fields, paragraph, pdf, read, reason, run, settings, table, text, word, write
from support import NAME, Silent, StandIn, contents

from indexer.build import build
from indexer.errors import ConfigurationError, SourceError
from indexer.report import Report
from indexer.sources import Row, open_source
from indexer.sources.documents import word as word_module


def test_a_pdf_file_is_its_title_and_the_text_of_its_pages(tmp_path: Path) -> None:
    data = pdf("Bread\nTake flour, naïve café, para-\ngraph.", "", "Bake it.", title=" Cakes ")
    assert fields(tmp_path, "a.PDF", data) == {
        "title": "Cakes",
        "text": "Bread\nTake flour, naïve café, paragraph.\n\nBake it.",
    }
    assert fields(tmp_path, "b.pdf", pdf("one")) == {"text": "one"}


def test_a_pdf_file_of_many_pages_is_read_whole(tmp_path: Path) -> None:
    assert text(tmp_path, "a.pdf", pdf(*(f"page {i}" for i in range(300)))) == "\n\n".join(
        f"page {i}" for i in range(300)
    )


def test_a_pdf_file_that_cannot_be_used_is_rejected_with_the_reason(tmp_path: Path) -> None:
    assert "is encrypted with a password: save it without one" in reason(tmp_path, "a.pdf", pdf("x", password="x"))
    assert "the file holds no text: its pages are probably scanned" in reason(tmp_path, "b.pdf", pdf("", ""))
    whole = pdf("one", "two")
    for name, data in {"c.pdf": whole[:300], "d.pdf": b"hello", "e.pdf": b"", "f.pdf": whole[-300:]}.items():
        assert "the file is damaged, or no PDF" in reason(tmp_path, name, data)


def test_a_page_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    data = pdf("one", "two")
    first = data.index(b"/Type /Page\n")
    broken = data[:first] + b"/Type /Pagx\n" + data[first + 12 :]
    assert "page 1 cannot be read" in reason(tmp_path, "a.pdf", broken)


BODY = (
    paragraph("Bread")
    + paragraph("Take ", "flo", "ur, naïve café", '<w:r><w:footnoteReference w:id="1"/></w:r>', ".")
    + paragraph(f"<w:ins>{run('added')}</w:ins>", "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>")
    + f"<w:sdt><w:sdtContent>{paragraph('in a control')}</w:sdtContent></w:sdt>"
    + table(["kind", "price"], ["rye", "3"])
    + paragraph("one", "<w:r><w:br/></w:r>", "two", "<w:r><w:tab/></w:r>", "three")
)


def test_a_word_file_is_its_title_and_the_text_of_its_body(tmp_path: Path) -> None:
    assert fields(tmp_path, "a.docx", word(BODY, "Cakes &amp; bread", "by weight")) == {
        "title": "Cakes & bread",
        "text": (
            "Bread\n\nTake flour, naïve café[1].\n\nadded\n\nin a control\n\nkind\tprice\nrye\t3\n\none\ntwo three\n\n"
            "by weight"
        ),
    }
    assert fields(tmp_path, "b.docx", word(paragraph("one"))) == {"text": "one"}


def test_a_word_file_that_cannot_be_used_is_rejected_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = word(paragraph("x" * 999), "title")
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
    flipped = bytearray(whole)
    flipped[whole.index(b"word/document.xml") + 60] ^= 0xFF
    damaged = {
        "a.docx": whole[:200],
        "b.docx": b"hello",
        "c.docx": b"",
        "d.docx": other.getvalue(),
        "e.docx": bytes(flipped),
        "f.docx": word("<w:p>"),
        "g.docx": whole[200:],
    }
    for name, data in damaged.items():
        assert "the file is damaged, or no Word file: " in reason(tmp_path, name, data)
    assert "is encrypted with a password, or of a Word before 2007" in (
        reason(tmp_path, "h.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(999))
    )
    monkeypatch.setattr(word_module, "MAX_XML_BYTES", 1000)
    assert reason(tmp_path, "i.docx", whole) == "the file holds more than 1000 bytes of XML: divide it"


def test_documents_lie_among_text_files_in_order_of_their_paths(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "b.md": "two",
            "a.pdf": pdf("one"),
            "c/d.docx": word(paragraph("four")),
            "c/a.HTM": "three",
            "e.doc": "no",
            "e.odt": "no",
            ".f.html": "no",
            "f.txt": "five",
        },
    )
    rows = [row.fields for row in read(tmp_path) if isinstance(row, Row)]
    assert rows == [
        {"path": "a.pdf", "text": "one"},
        {"path": "b.md", "text": "two"},
        {"path": "c/a.HTM", "text": "three"},
        {"path": "c/d.docx", "text": "four"},
        {"path": "f.txt", "text": "five"},
    ]
    found = read(tmp_path / "**" / "*.docx", tmp_path / "*.pdf")
    assert [row.fields["path"] for row in found if isinstance(row, Row)] == ["c/d.docx", "a.pdf"]


@pytest.mark.parametrize("name", ["a.html", "a.pdf", "a.docx"])
def test_a_document_that_cannot_be_opened_is_an_error_of_the_source(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=rf"{name}' cannot be read to its end: .*No such file"):
        read(tmp_path)


class Failing(io.FileIO):
    """A file of a disk that fails after its first kilobyte."""

    def _check(self) -> None:
        if self.tell() >= 1024:
            raise OSError(errno.EIO, "Input/output error")

    def read(self, size: int | None = -1) -> bytes:
        """Until the disk fails."""
        self._check()
        return super().read(1024 if size is None or size < 0 else min(size, 1024))

    def readinto(self, buffer: Any) -> int | None:
        """Until the disk fails."""
        self._check()
        return super().readinto(memoryview(buffer)[:1024])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.html", "<p>" + "one " * 5000),
        ("a.pdf", pdf(*("x" * 500 for _ in range(50)))),
        ("a.docx", word("".join(paragraph(str(i**50)) for i in range(500)))),
    ],
)
def test_a_disk_that_fails_is_an_error_of_the_source_and_no_damage(
    tmp_path: Path, name: str, data: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, **{name: data})
    source = open_source(settings(tmp_path))
    monkeypatch.setattr(Path, "open", lambda path, mode: io.BufferedReader(Failing(path), 1024))
    with pytest.raises(SourceError, match=rf"{name}' cannot be read to its end: .*Input/output error"):
        list(source.rows())


@pytest.mark.parametrize(
    ("name", "module"), [("b.html", "selectolax.lexbor"), ("b.pdf", "pypdfium2"), ("b.docx", "mammoth")]
)
def test_documents_without_the_extra_are_told_and_never_passed_over(
    tmp_path: Path, name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, **{"a.md": "one", name: "two", "c.md": "three"})
    for kind in ("html", "pdf", "word"):
        monkeypatch.delitem(sys.modules, f"indexer.sources.documents.{kind}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path)
    assert f"'{tmp_path}/{name}' is a document" in error.value.message
    assert "run pip install 'parecido[documents]'; or name in `source` only the files" in error.value.message
    found = read(tmp_path / "**" / "*.md")
    assert [row.fields["path"] for row in found if isinstance(row, Row)] == ["a.md", "c.md"]


def index(store: Path, folder: Path) -> Report:
    return build(store, NAME, settings(folder), Silent())


def test_a_document_that_is_damaged_meanwhile_keeps_its_old_version(tmp_path: Path, stand_in: StandIn) -> None:
    docs, store = tmp_path / "docs", tmp_path / "store"
    write(docs, **{"a.pdf": pdf("one", title="One"), "b.docx": word(paragraph("two")), "c.html": "three"})
    assert index(store, docs).items.added == 3
    assert contents(store) == {"a.pdf": ("one", {"title": "One"}), "b.docx": ("two", {}), "c.html": ("three", {})}
    assert not index(store, docs).published
    write(docs, **{"a.pdf": b"damaged", "b.docx": word(paragraph("deux"))})
    (docs / "c.html").unlink()
    items = index(store, docs).items
    assert (items.changed, items.deleted, items.rejected) == (1, 1, 1)
    assert contents(store) == {"a.pdf": ("one", {"title": "One"}), "b.docx": ("deux", {})}
