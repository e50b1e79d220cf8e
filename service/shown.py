"""Which hits are kept as the JSON that they become?

Those that were shown twice lately: what a hit shows is the same each time but for its similarity, and to read it from
the mapped columns takes ten times as long as to copy it. That pays where answers have hits in common, because questions
do, or because a collection is small beside MOST_BYTES; a hit that is met once takes a fifth longer. What is kept
belongs to one opened snapshot, which never changes, and goes with it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import orjson

from indexer import hits
from indexer.answers import Hit, Include
from indexer.search import Scored
from indexer.segment import Segment
from indexer.vectors import Vectors

MOST_BYTES = 32 << 20
"""Kept of one collection in one process, about forty thousand hits of half a kilobyte."""
LARGE = 16 << 10
"""Bytes of a hit that is not kept: it would take the place of many."""
_OVERHEAD = 500
"""Bytes that a kept hit takes besides its JSON, about."""
_DEPENDING: frozenset[Include] = frozenset({"passages", "vector"})
"""What is shown anew: passages are scored by the query, and a vector is copied as fast as its JSON."""

_Key = tuple[Segment, int, tuple[Include, ...]]
_Kept = tuple[dict[str, Any], int]
"""A hit, all encoded but id and similarity, which is that of another query; and the bytes that it takes."""
_ONCE: _Kept = ({}, 200)
"""Stands for one that was shown once, of which only that is remembered."""


class Shown:
    """Shows hits, and keeps them; safe to share between threads.

    There are two halves: what is asked for is in the young one or comes there, and once that is full, it becomes the
    old one and what was only in the old one goes.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._half = most_bytes // 2
        self._young: dict[_Key, _Kept] = {}
        self._old: dict[_Key, _Kept] = {}
        self._bytes = 0
        """Of the young half."""
        self._turn = threading.Lock()

    def page(self, scored: Sequence[Scored], include: Sequence[Include], queries: Vectors) -> list[Hit]:
        """What `hits.show` gives, for orjson alone: it writes the same bytes."""
        if not _DEPENDING.isdisjoint(include):
            return hits.show(scored, include, queries)
        wanted, shown = tuple(include), list[Any]()
        for one in scored:
            segment, _, passage, similarity = one
            key = segment, passage, wanted
            known = self._young.get(key) or self._again(key)
            if known is None or known is _ONCE:
                shown.append(self._new(key, known, one, queries))
            else:  # here rather than in a function, as it is done for every hit
                hit = known[0].copy()
                hit["similarity"] = similarity
                shown.append(hit)
        return shown

    def _again(self, key: _Key) -> _Kept | None:
        """What is in the old half."""
        known = self._old.get(key)
        if known is not None:
            self._keep(key, known)
        return known

    def _new(self, key: _Key, known: _Kept | None, scored: Scored, queries: Vectors) -> Hit:
        (hit,) = hits.show([scored], key[2], queries)
        if known is None:
            self._keep(key, _ONCE)
        elif (encoded := _encoded(hit))[1] < LARGE:
            self._keep(key, encoded)
        return hit

    def _keep(self, key: _Key, known: _Kept) -> None:
        with self._turn:
            self._young[key] = known
            self._bytes += known[1]
            if self._bytes > self._half:
                self._old, self._young, self._bytes = self._young, {}, 0


def _encoded(hit: Hit) -> _Kept:
    # Copies, because what orjson returns keeps 4 KiB of memory, however short it is.
    parts = {
        name: bytes(memoryview(orjson.dumps(value))) for name, value in hit.items() if name not in ("id", "similarity")
    }
    size = _OVERHEAD + sum(map(len, parts.values()))
    return {**hit, **{name: orjson.Fragment(part) for name, part in parts.items()}}, size
