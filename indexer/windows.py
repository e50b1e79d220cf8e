"""Which texts of pending items have no vector yet?

Items are taken in windows: large enough that texts of like length can be embedded together, which is worth a factor of
two, and small enough that memory stays bounded. A passage whose exact text the item's published version has keeps its
vector; others may be in the embedding cache; equal texts in a window are one. To read and to split a window takes one
core, so that it is done while the one before is embedded; there are two in memory then.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from indexer.changes import Pending
from indexer.chunking import Chunker, Span
from indexer.items import hash_text
from indexer.models import Fingerprint
from indexer.models.cache import LOOKUP, EmbeddingCache, text_key
from indexer.snapshot import Found

WINDOW_ITEMS = 16_384
WINDOW_CHARACTERS = 16_000_000


@dataclass(slots=True)
class Window:
    """Some items, their passages, and one row for each distinct text among these."""

    items: list[Pending]
    spans: list[list[Span]] = field(default_factory=list)
    hashes: list[list[bytes]] = field(default_factory=list)
    rows: dict[bytes, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    @property
    def passages(self) -> int:
        """How many passages the items have."""
        return sum(map(len, self.spans))

    def keys(self, rows: Iterable[int], prompt: str) -> list[bytes]:
        """Under which the cache has these rows."""
        return [text_key(prompt + self.texts[row]) for row in rows]

    def published(self, old: Found) -> list[tuple[int, int]]:
        """The rows whose exact text an item's published version has, each with the passage that has it."""
        passages = old.segment.passages_of(old.row)
        hashes = old.segment.passage_hashes.slice(passages.start, len(passages)).to_pylist()
        return [(self.rows[h], passage) for h, passage in zip(hashes, passages, strict=True) if h in self.rows]


@dataclass(frozen=True, slots=True)
class Need:
    """The texts of a window that have to be embedded."""

    keys: list[bytes]
    """Under which the embedding cache will have them."""
    texts: list[str]
    tokens: list[int]
    """In each, as the model's tokenizer counts, prompt and special ones left out."""
    passages: int
    """Of all the window's items."""


def windows(pending: Iterable[Pending], prompt: str, chunker: Chunker) -> Iterator[Window]:
    """All items, window by window, split into passages; what was handed over is not held."""
    source = iter(pending)
    while items := _some(source):
        made = [_split(items, prompt, chunker)]
        del items
        yield made.pop()


def windows_ahead(pending: Iterable[Pending], prompt: str, chunker: Chunker) -> Generator[Window]:
    """The same; each is made by a thread while whoever asks is at work with the one before.

    What is raised there is raised here. The thread ends with the iterator, after the item that it is at.
    """
    over = threading.Event()

    def until_over() -> Iterator[Pending]:
        for item in pending:
            if over.is_set():
                return
            yield item

    source = windows(until_over(), prompt, chunker)
    with ThreadPoolExecutor(1, thread_name_prefix="windows") as thread:
        try:
            coming = thread.submit(next, source, None)
            while (window := coming.result()) is not None:
                made, window = [window], None
                coming = thread.submit(next, source, None)
                yield made.pop()
        finally:
            over.set()


def _some(pending: Iterator[Pending]) -> list[Pending]:
    """The items of the next window."""
    items: list[Pending] = []
    characters = 0
    for item in pending:
        items.append(item)
        characters += len(item.item.text)
        if len(items) >= WINDOW_ITEMS or characters >= WINDOW_CHARACTERS:
            break
    return items


def needs(
    pending: Iterable[Pending], fingerprint: Fingerprint, chunker: Chunker, reuse: bool, cache: EmbeddingCache
) -> Iterator[Need]:
    """The texts that are missing, window by window: neither published with their item nor in the cache.

    `reuse` says whether published vectors are of this space. A text that is in several windows comes several times.
    """
    prompt = fingerprint.document_prompt
    for window in windows(pending, prompt, chunker):
        olds = [item.old for item in window.items if item.old is not None] if reuse else []
        known = {row for old in olds for row, _ in window.published(old)}
        for segment in {old.segment for old in olds}:
            segment.release()
        rows = [row for row in range(len(window.texts)) if row not in known]
        keys = dict(zip(window.keys(rows, prompt), rows, strict=True))
        cached = _cached(cache, fingerprint, keys)
        missing = {key: row for key, row in keys.items() if key not in cached}
        rows = list(missing.values())
        texts, tokens = [window.texts[row] for row in rows], [window.tokens[row] for row in rows]
        yield Need(list(missing), texts, tokens, window.passages)


def _cached(cache: EmbeddingCache, fingerprint: Fingerprint, keys: Collection[bytes]) -> set[bytes]:
    listed, known = list(keys), set[bytes]()
    for start in range(0, len(listed), LOOKUP):
        known |= cache.known(fingerprint, listed[start : start + LOOKUP])
    return known


def _split(items: list[Pending], prompt: str, chunker: Chunker) -> Window:
    window = Window(items)
    for pending in items:
        text = pending.item.text
        spans = chunker.split(text)
        passages = [text[span.start : span.end] for span in spans]
        hashes = [hash_text(prompt + passage) for passage in passages]
        window.spans.append(spans)
        window.hashes.append(hashes)
        for hash, passage, span in zip(hashes, passages, spans, strict=True):
            if hash not in window.rows:
                window.rows[hash] = len(window.texts)
                window.texts.append(passage)
                window.tokens.append(span.tokens)
    return window
