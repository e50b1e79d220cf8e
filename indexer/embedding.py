"""How do pending items get their vectors, and how few of them must be computed?

Items are taken in windows: large enough that texts of like length can be embedded together, which is worth a factor of
two, and small enough that memory stays bounded. A passage whose exact text the item's published version has keeps its
vector; others come from the embedding cache; of the rest, equal texts in a window are embedded once. What is embedded
is in the cache, on disk, before more is embedded, so that a killed run loses a slice at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from indexer.changes import Pending
from indexer.chunking import Chunker, Span
from indexer.items import hash_text
from indexer.models import Model
from indexer.models.cache import RunCache, text_key
from indexer.report import Progress
from indexer.segment import Prepared
from indexer.snapshot import Found, check_vectors
from indexer.vectors import Vectors

WINDOW_ITEMS = 16_384
WINDOW_CHARACTERS = 16_000_000
COPIED_ITEMS = 256
"""Items whose published vectors are copied before their pages are let go: each may touch some 16 of them."""


@dataclass(slots=True)
class Counter:
    """What became of the passages of a run so far."""

    embedded: int = 0
    cached: int = 0
    tokens: int = 0
    """In the texts embedded, special tokens and prompts left out."""
    characters: int = 0
    """The same in code points."""


@dataclass(slots=True)
class _Window:
    """Some items, their passages, and one row of vectors for each distinct text among these."""

    items: list[Pending]
    spans: list[list[Span]] = field(default_factory=list)
    hashes: list[list[bytes]] = field(default_factory=list)
    rows: dict[bytes, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)


def prepare(
    pending: Iterable[Pending],
    model: Model,
    chunker: Chunker,
    reuse: bool,
    cache: RunCache,
    counter: Counter,
    progress: Progress,
) -> Iterator[list[Prepared]]:
    """The items with their passages and vectors, window by window.

    `reuse` says whether published vectors are of this model's space. Progress advances by an item at a time. Raises
    CorruptGeneration for a published file that is not what was published, and StorageError for a cache that is damaged.
    """
    trusted: set[str] = set()
    for items in _windows(pending):
        window = _split(items, model.fingerprint.document_prompt, chunker)
        vectors = np.empty((len(window.texts), model.fingerprint.dimension), dtype=np.float32)
        known = _published(window, vectors, trusted) if reuse else set[int]()
        missing = [row for row in range(len(window.texts)) if row not in known]
        known = cache.fill(_keys(window, missing, model), missing, vectors)
        missing = [row for row in missing if row not in known]
        _embed(window, missing, vectors, model, cache, progress)
        _count(window, missing, counter)
        yield [
            Prepared(item.item, spans, hashes, vectors[[window.rows[hash] for hash in hashes]])
            for item, spans, hashes in zip(window.items, window.spans, window.hashes, strict=True)
        ]


def _windows(pending: Iterable[Pending]) -> Iterator[list[Pending]]:
    window: list[Pending] = []
    characters = 0
    for item in pending:
        window.append(item)
        characters += len(item.item.text)
        if len(window) >= WINDOW_ITEMS or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def _split(items: list[Pending], prompt: str, chunker: Chunker) -> _Window:
    window = _Window(items)
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


def _published(window: _Window, vectors: Vectors, trusted: set[str]) -> set[int]:
    """Fill in the vectors that the items' published versions have, and that are as published; returns their rows."""
    known = set[int]()
    for start in range(0, len(window.items), COPIED_ITEMS):
        olds = [item.old for item in window.items[start : start + COPIED_ITEMS] if item.old is not None]
        for old in olds:
            known |= _copied(old, window, vectors, trusted)
        for segment in {old.segment for old in olds}:
            segment.release()
    return known


def _copied(old: Found, window: _Window, vectors: Vectors, trusted: set[str]) -> set[int]:
    """The same for one published version."""
    segment, passages = old.segment, old.segment.passages_of(old.row)
    hashes = segment.passage_hashes.slice(passages.start, len(passages)).to_pylist()
    wanted = [(window.rows[h], passage) for h, passage in zip(hashes, passages, strict=True) if h in window.rows]
    for row, passage in wanted:
        check_vectors(segment, trusted)
        vectors[row] = segment.vectors[passage]
    return {row for row, _ in wanted}


def _keys(window: _Window, rows: list[int], model: Model) -> list[bytes]:
    """Under which the cache has these rows."""
    prompt = model.fingerprint.document_prompt
    return [text_key(prompt + window.texts[row]) for row in rows]


def _embed(
    window: _Window, missing: list[int], vectors: Vectors, model: Model, cache: RunCache, progress: Progress
) -> None:
    """Embed the missing rows, and let the progress follow the share of characters done."""
    total = sum(len(window.texts[row]) for row in missing)
    done = reported = 0
    for answer in model.embed_stream([window.texts[row] for row in missing]):
        rows = [missing[row] for row in answer.rows]
        vectors[rows] = answer.vectors
        cache.put(_keys(window, rows, model), vectors[rows], model.numeric_path)
        done += sum(len(window.texts[row]) for row in rows)
        step = len(window.items) * done // total - reported
        progress.advance(step)
        reported += step
    progress.advance(len(window.items) - reported)


def _count(window: _Window, embedded: list[int], counter: Counter) -> None:
    counter.embedded += len(embedded)
    counter.cached += sum(map(len, window.hashes)) - len(embedded)
    counter.tokens += sum(window.tokens[row] for row in embedded)
    counter.characters += sum(len(window.texts[row]) for row in embedded)
