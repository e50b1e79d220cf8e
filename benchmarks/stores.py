"""Which store do the benchmarks of the service ask, and what do they ask it?

Items of a JSON Lines file, embedded by the product itself with its default model, or made-up ones, whose vectors lie in
clusters as real ones do and whose fingerprint is the default model's, so that texts can be asked as well. Either way an
item has nine fields of metadata or about as many, and `share`, a number from 0 to 99 by which a filter lets any share
of the items through. A store that is there already is taken as it is.
"""

from __future__ import annotations

import contextlib
import gzip
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.memory import WORDS, StubModel
from indexer import generation as generations
from indexer import models
from indexer.build import build
from indexer.config import DEFAULT_MODEL, CollectionSettings
from indexer.progress import progress
from indexer.snapshot import Snapshot, open_newest
from indexer.storage import collection_folder
from indexer.vectors import Vectors, normalise

COLLECTION = "asked"
RECALL = 0.99
"""What the service is to find of what is nearest: what is found beside it elsewhere is judged at that."""
CLUSTERS = 1_000
SPREAD = 0.9
"""How far a made-up vector lies from the middle of its cluster, which has length 1."""
NEAR = 0.5
"""How far a query lies from the stored vector that it is made of."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A store with one collection, and questions to it."""

    store: Path
    snapshot: Snapshot
    vectors: Vectors
    texts: Sequence[str]


def make(store: Path, data: Path | None, count: int, queries: int, seed: int = 0) -> Asked:
    """The store, made where it is not there yet, and so many questions of each kind."""
    folder = collection_folder(store, COLLECTION)
    if not generations.numbers(folder):
        store.mkdir(parents=True, exist_ok=True)
        rows = _made_up(count) if data is None else _read(data, count)
        _index(store, rows, stub=data is None)
    snapshot = open_newest(folder)
    return Asked(store, snapshot, _vectors(snapshot, queries, seed), _texts(snapshot, queries, seed))


def _index(store: Path, rows: Iterator[Row], stub: bool) -> None:
    source = store / "items.jsonl"
    with source.open("wb") as file:
        file.writelines(orjson.dumps(row) + b"\n" for row in rows)
    settings = CollectionSettings(source=(str(source),), text=("title", "text"), recall=RECALL)
    with _clustered() if stub else contextlib.nullcontext():
        build(store, COLLECTION, settings, progress(COLLECTION))


class Clustered(StubModel):
    """Makes up vectors in clusters, and says that they are the default model's."""

    def __init__(self) -> None:
        super().__init__()
        self.fingerprint = models.identify(CollectionSettings(source=("-",), model=DEFAULT_MODEL))
        middles = np.random.default_rng(0).standard_normal((CLUSTERS, self.fingerprint.dimension))
        self._middles = normalise(middles)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 for each text, always the same."""
        noise = super().embed_documents(texts)
        return normalise(self._middles[[zlib.crc32(text.encode()) % CLUSTERS for text in texts]] + SPREAD * noise)

    embed_query = embed_documents


@contextlib.contextmanager
def _clustered() -> Iterator[None]:
    """Builds inside embed with made-up vectors."""
    model, identify, load = Clustered(), models.identify, models.load
    models.identify, models.load = (lambda *_: model.fingerprint), (lambda *_: model)
    try:
        yield
    finally:
        models.identify, models.load = identify, load


def _made_up(count: int) -> Iterator[Row]:
    made = random.Random(count)
    for number in range(count):
        words = made.choices(WORDS, k=16)
        yield {
            "id": f"item-{number:09d}",
            "title": f"{' '.join(words[:4])} {number}",
            "text": f"{' '.join(words)}.",
            "section": words[0],
            "priority": made.choice(("optional", "extra", "required")),
            "installed_size": made.randrange(10**6),
            "maintainer": f"{words[1]} {words[2]} <{words[1]}@{words[2]}.example>",
            "tags": words[3:6],
            "homepage": f"https://{words[0]}.example/{number}",
            "depends_count": made.randrange(20),
            "share": number % 100,
        }


def _read(data: Path, count: int) -> Iterator[Row]:
    with (gzip.open if data.suffix == ".gz" else open)(data, "rb") as file:
        for number, line in zip(range(count), file, strict=False):
            yield {**orjson.loads(line), "share": number % 100}


def _vectors(snapshot: Snapshot, count: int, seed: int) -> Vectors:
    """Vectors near stored ones, of all segments."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum([part.segment.entry.passages for part in snapshot.segments])
    stored = np.empty((count, snapshot.generation.fingerprint.dimension))
    for position, row in enumerate(rng.integers(0, ends[-1], count)):
        part = int(np.searchsorted(ends, row, side="right"))
        stored[position] = snapshot.segments[part].segment.vectors[row - ends[part]]
    return normalise(stored + NEAR * normalise(rng.standard_normal(stored.shape)))


def _texts(snapshot: Snapshot, count: int, seed: int) -> list[str]:
    """The first eight words of stored texts, turned around: nine or ten tokens, and none of them stored."""
    made, texts = random.Random(seed), list[str]()
    while len(texts) < count:
        segment = made.choice(snapshot.segments).segment
        words = (segment.text(made.randrange(segment.entry.items)) or "").split()[:8]
        texts.append(f"{' '.join(reversed(words))} {len(texts)}")
    return texts
