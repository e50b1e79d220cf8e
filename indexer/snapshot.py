"""What does a reader hold while it answers?

A snapshot is one generation, opened: its segments mapped, its deletions applied. It never changes; a newer generation
is another snapshot, and whoever still holds the old one finishes on it.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer import generation as generations
from indexer import storage
from indexer.columns import to_hashes
from indexer.errors import CorruptGeneration, StorageError
from indexer.generation import Bits, Generation
from indexer.items import hash_id
from indexer.segment import PASSAGES, VECTORS, Segment
from indexer.storage import CollectionFolder, Sealed


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """A segment and which of its items count."""

    segment: Segment
    live: Bits | None
    """One entry an item row; None where all are live."""
    live_passages: Bits | None
    """The same for passage rows."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where an item stands."""

    segment: Segment
    row: int


class Snapshot:
    """One opened generation; safe to share between threads."""

    def __init__(self, folder: CollectionFolder, generation: Generation) -> None:
        """Raises CorruptGeneration where a file is missing or its size or structure is not what was published."""
        self.folder = folder
        self.generation = generation
        self.segments: Sequence[LiveSegment] = [self._open(position) for position in range(len(generation.segments))]
        self.kept: OrderedDict[Hashable, Any] = OrderedDict()
        """What `candidates` keeps for the next search, as long as the snapshot is held."""

    def _open(self, position: int) -> LiveSegment:
        entry = self.generation.segments[position]
        segment = Segment(self.folder.segments / entry.id, entry)
        deleted = generations.read_deleted(self.folder, self.generation, entry)
        if deleted is None:
            return LiveSegment(segment, None, None)
        live = ~deleted
        live_passages = live[segment.item_rows]
        segment.release()
        return LiveSegment(segment, live, live_passages)

    def find(self, id: str) -> Found | None:
        """The live item of that id; the id itself is compared, not only its hash."""
        wanted = to_hashes([hash_id(id)])
        for part in self.segments:
            row = int(part.segment.ids.find(wanted)[0][0])
            if row >= 0 and (part.live is None or part.live[row]) and part.segment.id(row) == id:
                return Found(part.segment, row)
        return None

    def warm(self) -> None:
        """Touch every vector index once, so that the first query does not wait for the disk."""
        query = np.zeros((1, self.generation.fingerprint.dimension), dtype=np.float32)
        for part in self.segments:
            if part.segment.entry.passages:
                part.segment.ann.warm(query)


def open_newest(folder: CollectionFolder) -> Snapshot:
    """The newest generation that can be opened; raises CollectionNotFound where nothing is published.

    Raises what is wrong with the newest one where none can be opened. Whoever wants to know which were passed over, and
    why, calls `open_good`.
    """
    return open_good(folder)[0]


def open_good(folder: CollectionFolder) -> tuple[Snapshot, dict[int, CorruptGeneration]]:
    """The newest generation that can be opened, and what is wrong with those that are newer.

    Raises CollectionNotFound where nothing is published, and what is wrong with the newest one where none can be
    opened.
    """
    snapshot, problems = find_good(folder)
    if snapshot is not None:
        return snapshot, problems
    if not problems:
        raise generations.nothing_published(folder)
    newest = problems[max(problems)]
    raise CorruptGeneration(
        f"{newest.message} No generation of {folder.name!r} can be opened: {generations.way_out(folder.name)}.",
        path=newest.path,
    ) from newest


def find_good(folder: CollectionFolder) -> tuple[Snapshot | None, dict[int, CorruptGeneration]]:
    """The newest generation that can be opened, if there is one, and what is wrong with those that are newer.

    Files can vanish under a reader, because somebody publishes and prunes meanwhile: it then looks again.
    """
    while True:
        published = generations.numbers(folder)
        problems: dict[int, CorruptGeneration] = {}
        for number in reversed(published):
            try:
                return open_generation(folder, number), problems
            except CorruptGeneration as error:
                problems[number] = error
            if generations.numbers(folder)[-1:] != published[-1:]:
                break
        else:
            return None, problems


def open_generation(folder: CollectionFolder, number: int) -> Snapshot:
    """The generation of that number; raises CorruptGeneration where it is not what was published."""
    return Snapshot(folder, generations.read(folder, number))


def stamp(folder: CollectionFolder, number: int) -> Hashable:
    """What is different once any file of a generation was put back, replaced or taken away; to be compared only."""
    paths = [generations.manifest_path(folder, number)]
    with contextlib.suppress(CorruptGeneration):
        for entry in generations.read(folder, number).segments:
            paths.append(generations.deleted_path(folder, number, entry.id))
            paths += [folder.segments / entry.id / name for name in entry.files]
    return tuple(map(storage.stamp, paths))


def verify(snapshot: Snapshot, segments: Container[str] | None = None) -> None:
    """Read the files of the given segments (all where it is None) and compare their checksums.

    Raises CorruptGeneration naming the first file that is not what was published.
    """
    for entry in snapshot.generation.segments:
        if segments is not None and entry.id not in segments:
            continue
        for name in entry.files:
            _check(snapshot.folder.segments / entry.id / name, entry.files[name])


def check_vectors(segment: Segment, trusted: set[str]) -> None:
    """Compare what vectors are copied out of with its checksums, unless it was done before; remember it in `trusted`.

    Raises CorruptGeneration naming the file: damage must not be given a good checksum in a new segment.
    """
    if segment.entry.id not in trusted:
        for name in (VECTORS, PASSAGES):
            _check(segment.folder / name, segment.entry.files[name])
        trusted.add(segment.entry.id)


def check_all(snapshot: Snapshot, name: str) -> None:
    """Compare the files of that name with their checksums; raises CorruptGeneration naming the first that differs."""
    for part in snapshot.segments:
        _check(part.segment.folder / name, part.segment.entry.files[name])


def _check(path: Path, sealed: Sealed) -> None:
    try:
        found = storage.checksum(path)
    except FileNotFoundError as error:
        raise CorruptGeneration(f"{str(path)!r} is missing.") from error
    except StorageError as error:
        raise CorruptGeneration(error.message) from error
    if found != sealed:
        raise CorruptGeneration(
            f"{str(path)!r} is damaged: its checksum is {found.sha256[:12]}…, but {sealed.sha256[:12]}… was published."
        )
