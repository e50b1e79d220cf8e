"""What does an HTML page say?

The text is that of its one `main` element where the page has one, else of its body, laid out after the innerText
algorithm (https://html.spec.whatwg.org/multipage/dom.html#the-innertext-idl-attribute), with a blank line also around
headings, lists and tables. What nobody reads as text is left out: scripts, styles, what is hidden, menus (`nav`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from selectolax.lexbor import LexborHTMLParser, LexborNode

from indexer.sources.documents.document import Document
from indexer.sources.row import MAX_ROW_BYTES

_LEFT_OUT = (
    "head, script, style, template, noscript, nav, iframe, object, svg, canvas, audio, video, select, textarea, "
    "[hidden]"
)
_APART = {"blockquote", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"}
_BLOCKS = {
    *("address", "article", "aside", "body", "caption", "center", "dd", "details", "dialog", "dir", "div", "dt"),
    *("fieldset", "figcaption", "footer", "form", "header", "hgroup", "hr", "legend", "li", "main", "menu"),
    *("search", "section", "summary", "tbody", "tfoot", "thead", "tr"),
}
_BLANK = re.compile(r"[ \t\n\r\f]+")
_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# What the standard says these names mean (https://encoding.spec.whatwg.org/#names-and-labels).
_MEANT = {"iso-8859-1": "windows-1252", "latin1": "windows-1252", "us-ascii": "windows-1252", "ascii": "windows-1252"}
_DECLARED_BYTES = 1024


def read_html(file: BinaryIO) -> Document:
    """The text and the title of a page; raises ValueError where its bytes are not in the encoding it states."""
    data = file.read(MAX_ROW_BYTES + 1)
    if len(data) > MAX_ROW_BYTES:
        raise ValueError(f"the file is longer than {MAX_ROW_BYTES} bytes")
    return page_of(_decode(data))


def page_of(html: str, without: str = _LEFT_OUT) -> Document:
    """The text and the title of a page that is decoded, without what the CSS selector selects."""
    tree = LexborHTMLParser(html)
    title = tree.css_first("head > title")
    stated = _BLANK.sub(" ", title.text()).strip() if title else ""
    for node in tree.css(without):
        node.decompose()
    mains = tree.css("main")
    root = mains[0] if len(mains) == 1 else tree.body
    return Document(_lay_out(root) if root else "", stated or None)


def _decode(data: bytes) -> str:
    """The page by its byte order mark, else by the encoding that it states in its first bytes, else as UTF-8."""
    stated = _CHARSET.search(data, 0, _DECLARED_BYTES)
    named = stated[1].decode("ascii").lower() if stated else "utf-8"
    encoding = next((encoding for bom, encoding in _BOMS if data.startswith(bom)), _MEANT.get(named, named))
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise ValueError(f"the page states an encoding {named!r} that is not known") from error
    except UnicodeDecodeError as error:
        where = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
        raise ValueError(f"the page is not {named.upper()}, as it states or by default: {where}") from error


@dataclass(frozen=True, slots=True)
class _Inside:
    """A node that is still to be read."""

    node: LexborNode
    kept: bool
    """Whether its blanks are kept, as in `pre`."""


def _lay_out(root: LexborNode) -> str:
    """The text of an element: blanks collapsed, and as many line breaks as its blocks ask for at the least."""
    done: list[str] = []
    breaks = 0
    for piece in _pieces(root):
        if isinstance(piece, int):
            breaks = max(breaks, piece)
            continue
        text, kept = piece
        if not kept and (breaks or not done or done[-1][-1] in " \t\n"):
            text = text.lstrip(" ")
        if not text or (not done and text.isspace()) or (breaks and text == "\t"):
            continue
        if breaks and done:
            while not (end := done.pop().rstrip(" \t\n")):
                pass
            done += [end, "\n" * breaks]
        elif kept and done:
            done[-1] = done[-1].rstrip(" ")
        done.append(text)
        breaks = 0
    return "".join(done).strip(" \n")


def _pieces(root: LexborNode) -> Iterator[int | tuple[str, bool]]:
    """Texts, with whether they stay exactly as they are, and how many line breaks stand between them."""
    waiting: list[int | tuple[str, bool] | _Inside] = [_Inside(root, kept=False)]
    while waiting:
        todo = waiting.pop()
        if not isinstance(todo, _Inside):
            yield todo
            continue
        node, kept = todo.node, todo.kept
        if node.is_text_node:
            text = node.text_content or ""
            yield (text, True) if kept else (_BLANK.sub(" ", text), False)
        elif node.tag == "br":
            yield "\n", True
        elif node.is_element_node:
            if breaks := _breaks(node):
                yield breaks
                waiting.append(breaks)
            elif node.tag in ("td", "th") and not _is_last(node):
                waiting.append(("\t", True))
            within = kept or node.tag == "pre"
            waiting.extend(_Inside(child, within) for child in reversed(list(node.iter(include_text=True))))


def _breaks(node: LexborNode) -> int:
    """How many line breaks stand before and after an element at the least."""
    if node.tag not in _APART:
        return 1 if node.tag in _BLOCKS else 0
    parent = node.parent
    # What word processors write into every cell of a table.
    in_cell = node.tag == "p" and parent is not None and parent.tag in ("td", "th")
    return 0 if in_cell and _is_first(node) and _is_last(node) else 2


def _is_first(node: LexborNode) -> bool:
    before = node.prev
    while before is not None and not before.is_element_node:
        before = before.prev
    return before is None


def _is_last(node: LexborNode) -> bool:
    after = node.next
    while after is not None and not after.is_element_node:
        after = after.next
    return after is None
