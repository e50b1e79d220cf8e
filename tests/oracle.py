"""What must a generation hold and answer? A dict and brute force say so.

Nothing here looks into a store: texts are split by the chunker, embedded by the stand-in, and compared with the query
one by one in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from support import StandIn

from indexer.chunking import document_chunker
from indexer.config import PassageSettings
from indexer.queries import MAX_LIMIT, Query, search
from indexer.snapshot import Snapshot

Metadata = Mapping[str, Any]
Items = Mapping[str, tuple[str, Metadata]]
"""Text and metadata by id."""


class Oracle:
    """Remembers passages and vectors, so that the same text is split and embedded once."""

    def __init__(self) -> None:
        self.model = StandIn()
        self._passages: dict[tuple[str, PassageSettings], list[str]] = {}
        self._vectors: dict[str, Any] = {}

    def passages(self, text: str, settings: PassageSettings) -> list[str]:
        """The texts that are embedded for a text."""
        key = text, settings
        if key not in self._passages:
            spans = document_chunker(self.model, settings).split(text)
            self._passages[key] = [text[span.start : span.end] for span in spans]
        return self._passages[key]

    def hits(
        self, items: Items, query: str, settings: PassageSettings, passes: Callable[[Metadata], bool]
    ) -> list[tuple[str, float]]:
        """Every item that passes with the similarity of its best passage, best first, ties by id."""
        asked = self._vector(query)
        found = []
        for id, (text, metadata) in items.items():
            if passes(metadata):
                best = max(float(self._vector(passage) @ asked) for passage in self.passages(text, settings))
                found.append((id, float(np.clip(np.round(best, 6), -1, 1))))
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))

    def _vector(self, text: str) -> Any:
        if text not in self._vectors:
            self._vectors[text] = self.model.embed_query([text])[0].astype(np.float64)
        return self._vectors[text]


def held(snapshot: Snapshot) -> dict[str, tuple[str | None, Metadata]]:
    """Text and metadata of every live item, by id; none of them may be there twice."""
    found: dict[str, tuple[str | None, Metadata]] = {}
    for part in snapshot.segments:
        for row in range(part.segment.entry.items):
            if part.live is None or part.live[row]:
                id = part.segment.id(row)
                assert id not in found, f"{id!r} is there twice"
                found[id] = part.segment.text(row), part.segment.metadata(row)
    return found


def assert_answers(
    snapshot: Snapshot, items: Items, oracle: Oracle, queries: list[str], settings: PassageSettings
) -> None:
    """The snapshot holds exactly these items and answers the queries as they do, with a filter on `n` and without."""
    assert held(snapshot) == items
    assert snapshot.generation.counts.items == len(items)
    assert snapshot.generation.counts.passages == sum(
        len(oracle.passages(text, settings)) for text, _ in items.values()
    )
    for query in queries:
        for filter, passes in ((None, lambda _: True), ({"n": {"$gte": 3}}, lambda m: m.get("n", 0) >= 3)):
            if filter and "n" not in snapshot.generation.schema:
                continue
            expected = oracle.hits(items, query, settings, passes)
            asked = Query(text=query, limit=MAX_LIMIT, filter=filter)
            hits = search(snapshot, lambda: oracle.model, asked)["hits"]
            assert [(hit["id"], hit["similarity"]) for hit in hits] == expected[:MAX_LIMIT]
