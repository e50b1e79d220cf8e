"""Is every byte of every kept generation what was published, and does it make sense?

Checksums tell whether a file is what was written; the structure tells whether what was written can be right: ids in
order and where the look-up says, passages in their texts, vectors of length 1. Whatever is wrong is named; nothing is
changed. A segment that several generations share is read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from indexer import generation as generations
from indexer import storage
from indexer.columns import to_hashes
from indexer.errors import CorruptGeneration, StorageError
from indexer.generation import Generation
from indexer.items import hash_id
from indexer.segment import IDS, ITEMS, PASSAGES, VECTORS, Segment, SegmentEntry
from indexer.storage import CollectionFolder

BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what it should be."""

    path: Path
    reason: str
    generations: tuple[int, ...]
    """The kept generations that it is part of."""


@dataclass(slots=True)
class Verification:
    """What was looked at in one collection, and what is wrong."""

    collection: str
    generations: list[int] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    damages: list[Damage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shared:
    """A segment and the kept generations that use it."""

    entry: SegmentEntry
    generations: tuple[int, ...]


def verify(folder: CollectionFolder) -> Verification:
    """Read every file of every kept generation of a collection; raises StorageError only where the disk refuses."""
    result = Verification(folder.name, generations.numbers(folder))
    manifests = list(_manifests(folder, result))
    for manifest in manifests:
        for entry in manifest.segments:
            _check_deleted(folder, manifest, entry, result)
    for shared in segments_of(manifests):
        _check_segment(folder, shared, result)
    return result


def segments_of(manifests: list[Generation]) -> list[Shared]:
    """Every segment once, with the generations that use it."""
    entries: dict[str, SegmentEntry] = {}
    users: dict[str, list[int]] = {}
    for manifest in manifests:
        for entry in manifest.segments:
            entries.setdefault(entry.id, entry)
            users.setdefault(entry.id, []).append(manifest.number)
    return [Shared(entry, tuple(users[id])) for id, entry in entries.items()]


def damaged_files(folder: CollectionFolder, shared: Shared) -> list[Damage]:
    """The files of a segment that are missing or not what was published."""
    damages = []
    for name, sealed in shared.entry.files.items():
        path = folder.segments / shared.entry.id / name
        try:
            found = storage.checksum(path)
        except FileNotFoundError:
            damages.append(Damage(path, "it is missing", shared.generations))
            continue
        except StorageError as error:
            damages.append(Damage(path, error.message, shared.generations))
            continue
        if found != sealed:
            reason = f"its checksum is {found.sha256[:12]}… over {found.bytes:,} bytes, but {sealed.sha256[:12]}… over "
            damages.append(Damage(path, f"{reason}{sealed.bytes:,} bytes was published", shared.generations))
    return damages


def _manifests(folder: CollectionFolder, result: Verification) -> Iterator[Generation]:
    for number in result.generations:
        path = generations.manifest_path(folder, number)
        result.files += 1
        result.bytes += storage.size(path) or 0
        try:
            yield generations.read(folder, number)
        except CorruptGeneration as error:
            result.damages.append(Damage(path, error.message, (number,)))


def _check_deleted(folder: CollectionFolder, manifest: Generation, entry: SegmentEntry, result: Verification) -> None:
    deleted = manifest.deleted.get(entry.id)
    if deleted is None:
        return
    result.files += 1
    result.bytes += deleted.file.bytes
    try:
        bits = generations.read_deleted(folder, manifest, entry)
        if bits is not None and int(bits.sum()) != deleted.items:
            raise CorruptGeneration(f"it marks {int(bits.sum()):,} items, and {deleted.items:,} were published.")
    except CorruptGeneration as error:
        path = generations.deleted_path(folder, manifest.number, entry.id)
        result.damages.append(Damage(path, error.message, (manifest.number,)))


def _check_segment(folder: CollectionFolder, shared: Shared, result: Verification) -> None:
    result.files += len(shared.entry.files)
    result.bytes += shared.entry.bytes
    damages = damaged_files(folder, shared)
    if not damages:
        path = folder.segments / shared.entry.id
        try:
            damages = [Damage(path / n, why, shared.generations) for n, why in _structure(Segment(path, shared.entry))]
        except CorruptGeneration as error:
            damages = [Damage(path, error.message, shared.generations)]
    result.damages += damages


def _structure(segment: Segment) -> Iterator[tuple[str, str]]:
    """What cannot be right in a segment whose files are as they were written: file and reason."""
    if not _look_up_is_right(segment):
        yield IDS, "its entries do not match the items' ids"
    rows, count = segment.item_rows, segment.entry.items
    if len(rows) and (int(rows[-1]) >= count or (np.diff(rows.astype(np.int64)) < 0).any()):
        yield PASSAGES, "its passages are not in the order of the items"
    if (segment.starts >= segment.ends).any():
        yield PASSAGES, "it has passages without a text"
    if "text" in segment.items.column_names and len(rows) and not _passages_lie_in_texts(segment):
        yield ITEMS, "its texts are shorter than their passages reach"
    for start in range(0, segment.entry.passages, BLOCK):
        lengths = np.linalg.norm(segment.vectors[start : start + BLOCK], axis=1)
        if not (np.abs(lengths - 1) < 1e-3).all():
            yield VECTORS, f"it has vectors that are not of length 1, at row {start + int(np.argmax(lengths))} or near"
            break


def _look_up_is_right(segment: Segment) -> bool:
    ids, _ = segment.ids.by_row()
    start = 0
    for batch in segment.items.select(["id"]).to_batches():
        hashes = to_hashes(hash_id(id) for id in batch["id"].to_pylist())
        if not np.array_equal(hashes, ids[start : start + len(hashes)]):
            return False
        start += len(hashes)
    return segment.ids.ordered


def _passages_lie_in_texts(segment: Segment) -> bool:
    import pyarrow.compute as pc

    lengths = pc.utf8_length(segment.items["text"]).to_numpy()
    return bool((segment.ends <= lengths[segment.item_rows]).all())
