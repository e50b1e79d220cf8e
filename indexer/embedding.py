"""How do pending items get their vectors, and how few of them must be computed?

Window by window: vectors of an item's published version stay, others come from the embedding cache, and of the rest
equal texts are embedded once. What is embedded is in the cache, on disk, before more is, so that a killed run loses
what was under way at most. An item of which the model refuses a passage is told apart; the others go through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from indexer.changes import Pending
from indexer.chunking import Chunker
from indexer.models import Embedded, Model
from indexer.models.cache import RunCache
from indexer.segment import Prepared
from indexer.snapshot import Found, check_vectors
from indexer.stages import Progress
from indexer.vectors import Vectors
from indexer.windows import Window, windows_ahead

Withheld = Callable[[Sequence[bytes]], Mapping[bytes, str | None]]
"""By their keys, the texts of some that the model is not asked for: why they are refused; None for those under way."""

COPIED_ITEMS = 256
"""Items whose published vectors are copied before their pages are let go: each may touch some 16 of them."""


class Meter(Protocol):
    """Somebody who is told of every answer that may have to be paid for, and says whether there may be more."""

    def allows(self, tokens: int) -> bool:
        """Whether a request of so many tokens may be made."""

    def note(self, answer: Embedded) -> None:
        """Remember what an answer came to, durably."""

    def check(self) -> None:
        """Raise BrakeRefused where a request was not allowed."""


@dataclass(slots=True)
class Counter:
    """What became of the passages of a run so far."""

    embedded: int = 0
    cached: int = 0
    tokens: int = 0
    """In the texts embedded, special tokens and prompts left out."""
    characters: int = 0
    """The same in code points."""


def nothing_withheld(keys: Sequence[bytes]) -> Mapping[bytes, str | None]:
    """The model is asked for every text."""
    return {}


@dataclass(frozen=True, slots=True)
class Embedding:
    """How a run embeds."""

    model: Model
    chunker: Chunker
    reuse: bool
    """Whether published vectors are of this model's space."""
    cache: RunCache
    meter: Meter
    progress: Progress
    counter: Counter
    refuse: Callable[[Pending, str], None]
    """Is told of each item of which the model refuses a passage, and why."""
    hold: Callable[[Pending], None]
    """Is told of each item of which a passage's vector comes later."""
    withheld: Withheld = nothing_withheld

    def prepare(self, pending: Iterable[Pending]) -> Iterator[list[Prepared]]:
        """The items with their passages and vectors, window by window, those that the model refuses left out.

        Progress advances by an item at a time. Raises CorruptGeneration for a published file that is not what was
        published, StorageError for a cache that is damaged, and whatever the model and the meter raise.
        """
        prepare, prompt = partial(self._prepare, trusted=set()), self.model.fingerprint.document_prompt
        with closing(windows_ahead(pending, prompt, self.chunker)) as ahead:
            yield from filter(None, map(prepare, ahead))

    def _prepare(self, window: Window, trusted: set[str]) -> list[Prepared]:
        """The items of one window."""
        vectors = np.empty((len(window.texts), self.model.fingerprint.dimension), dtype=np.float32)
        known = _published(window, vectors, trusted) if self.reuse else set[int]()
        missing = [row for row in range(len(window.texts)) if row not in known]
        known = self.cache.fill(window.keys(missing, self.model.fingerprint.document_prompt), missing, vectors)
        missing = [row for row in missing if row not in known]
        refused: dict[int, str | None] = self._withheld(window, missing)
        refused |= self._embed(window, [row for row in missing if row not in refused], vectors)
        self._count(window, [row for row in missing if row not in refused], len(refused))
        return list(self._prepared(window, vectors, refused))

    def _withheld(self, window: Window, missing: list[int]) -> dict[int, str | None]:
        keys = window.keys(missing, self.model.fingerprint.document_prompt)
        withheld = self.withheld(keys)
        return {row: withheld[key] for row, key in zip(missing, keys, strict=True) if key in withheld}

    def _embed(self, window: Window, missing: list[int], vectors: Vectors) -> dict[int, str]:
        """Embed the missing rows; returns those that the model refuses, and why.

        The progress follows the share of characters done.
        """
        refused: dict[int, str] = {}
        total = sum(len(window.texts[row]) for row in missing)
        done = reported = 0
        for answer in self.model.embed_stream([window.texts[row] for row in missing], self.meter.allows):
            rows = [missing[row] for row in answer.rows]
            self.meter.note(answer)
            if answer.vectors is None:
                refused |= dict.fromkeys(rows, answer.refusal)
            else:
                vectors[rows] = answer.vectors
                keys = window.keys(rows, self.model.fingerprint.document_prompt)
                self.cache.put(keys, vectors[rows], self.model.numeric_path)
            done += sum(len(window.texts[row]) for row in rows)
            step = len(window.items) * done // total - reported
            self.progress.advance(step)
            reported += step
        self.meter.check()
        self.progress.advance(len(window.items) - reported)
        return refused

    def _count(self, window: Window, embedded: list[int], refused: int) -> None:
        self.counter.embedded += len(embedded)
        self.counter.cached += window.passages - len(embedded) - refused
        self.counter.tokens += sum(window.tokens[row] for row in embedded)
        self.counter.characters += sum(len(window.texts[row]) for row in embedded)

    def _prepared(self, window: Window, vectors: Vectors, refused: dict[int, str | None]) -> Iterator[Prepared]:
        for pending, spans, hashes in zip(window.items, window.spans, window.hashes, strict=True):
            rows = [window.rows[hash] for hash in hashes]
            reasons = [refused[row] for row in rows if row in refused]
            if reason := next(filter(None, reasons), None):
                self.refuse(pending, reason)
            elif reasons:
                self.hold(pending)
            else:
                yield Prepared(pending.item, spans, hashes, _taken(vectors, rows))


def _taken(vectors: Vectors, rows: list[int]) -> Vectors:
    """Some rows; where they follow each other, as they nearly always do, without a copy."""
    first, end = rows[0], rows[-1] + 1
    return vectors[first:end] if rows == [*range(first, end)] else vectors[rows]


def _published(window: Window, vectors: Vectors, trusted: set[str]) -> set[int]:
    """Fill in the vectors that the items' published versions have, and that are as published; returns their rows."""
    known = set[int]()
    for start in range(0, len(window.items), COPIED_ITEMS):
        olds = [item.old for item in window.items[start : start + COPIED_ITEMS] if item.old is not None]
        for old in olds:
            known |= _copied(old, window, vectors, trusted)
        for segment in {old.segment for old in olds}:
            segment.release()
    return known


def _copied(old: Found, window: Window, vectors: Vectors, trusted: set[str]) -> set[int]:
    """The same for one published version."""
    wanted = window.published(old)
    for row, passage in wanted:
        check_vectors(old.segment, trusted)
        vectors[row] = old.segment.vectors[passage]
    return {row for row, _ in wanted}
