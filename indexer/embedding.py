"""How do pending items get their vectors, and how few of them must be computed?

Items are taken in windows: large enough that texts of like length can be embedded together, which is worth a factor of
two, and small enough that memory stays bounded. A passage whose exact text the item's published version has keeps its
vector; equal texts in a window are embedded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from indexer.changes import Pending
from indexer.chunking import Chunker, Span
from indexer.items import hash_text
from indexer.models import Model
from indexer.report import Progress
from indexer.segment import Prepared
from indexer.snapshot import Found
from indexer.vectors import Vectors

WINDOW_ITEMS = 16_384
WINDOW_CHARACTERS = 16_000_000
SLICE = 256
"""Texts handed to the model at once: the step of the progress bar."""


@dataclass(slots=True)
class Counter:
    """What became of the passages of a run so far."""

    embedded: int = 0
    cached: int = 0


@dataclass(slots=True)
class _Window:
    items: list[Pending] = field(default_factory=list)
    spans: list[list[Span]] = field(default_factory=list)
    hashes: list[list[bytes]] = field(default_factory=list)
    missing: dict[bytes, str] = field(default_factory=dict)
    known: dict[bytes, Vectors] = field(default_factory=dict)


def prepare(
    pending: Iterable[Pending], model: Model, chunker: Chunker, reuse: bool, counter: Counter, progress: Progress
) -> Iterator[list[Prepared]]:
    """The items with their passages and vectors, window by window.

    `reuse` says whether published vectors are of this model's space. Progress advances by an item at a time.
    """
    for items in _windows(pending):
        window = _split(items, model.fingerprint.document_prompt, chunker)
        if reuse:
            for item in items:
                if item.old:
                    window.known |= _published(item.old, window.missing)
        for hash in window.known:
            window.missing.pop(hash, None)
        _embed(window, model, progress)
        counter.embedded += len(window.missing)
        counter.cached += sum(map(len, window.hashes)) - len(window.missing)
        yield [
            Prepared(item.item, spans, hashes, np.concatenate([window.known[h] for h in hashes]))
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
    window = _Window(items=items)
    for pending in items:
        text = pending.item.text
        spans = chunker.split(text)
        passages = [text[span.start : span.end] for span in spans]
        hashes = [hash_text(prompt + passage) for passage in passages]
        window.spans.append(spans)
        window.hashes.append(hashes)
        window.missing.update(zip(hashes, passages, strict=True))
    return window


def _published(old: Found, wanted: dict[bytes, str]) -> dict[bytes, Vectors]:
    segment = old.segment
    rows = segment.passages_of(old.row)
    hashes: list[bytes] = segment.passage_hashes.slice(rows.start, len(rows)).to_pylist()
    return {h: np.array(segment.vectors[r : r + 1]) for h, r in zip(hashes, rows, strict=True) if h in wanted}


def _embed(window: _Window, model: Model, progress: Progress) -> None:
    """Embed what is missing, shortest first, and let the progress follow the share of characters done."""
    hashes = sorted(window.missing, key=lambda key: len(window.missing[key]))
    total = sum(map(len, window.missing.values()))
    done = reported = 0
    for slice_ in _slices(hashes):
        texts = [window.missing[hash] for hash in slice_]
        for hash, vector in zip(slice_, model.embed_documents(texts), strict=True):
            window.known[hash] = vector[None, :]
        done += sum(map(len, texts))
        step = len(window.items) * done // total - reported
        progress.advance(step)
        reported += step
    progress.advance(len(window.items) - reported)


def _slices(hashes: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(hashes), SLICE):
        yield hashes[start : start + SLICE]
