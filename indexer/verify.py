"""Is every byte of every kept generation what was published, and does it make sense?

Checksums tell whether a file is what was written; `structure` tells whether what was written can be right. Whatever is
wrong is named, what cannot be read is wrong, and nothing is changed. A segment that several generations share is read
once. Nothing is locked: what is pruned meanwhile is not missed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexer import generation as generations
from indexer import last_run, storage
from indexer.errors import CorruptGeneration, StorageError
from indexer.generation import Generation
from indexer.segment import Segment, SegmentEntry
from indexer.storage import CollectionFolder
from indexer.structure import faults


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
    """Read every file of every kept generation of a collection; what cannot be read is a damage, never an error."""
    result = Verification(folder.name)
    run = last_run.read(folder)  # first, so that what is published meanwhile is not missed
    try:
        result.generations = generations.numbers(folder)
    except StorageError as error:
        result.damages.append(Damage(folder.generations, error.message, ()))
        return result
    if missing := generations.missing(result.generations, run):
        path = generations.manifest_path(folder, missing)
        result.damages.append(Damage(path, "it is missing, and was current when the last run ended", (missing,)))
    manifests = list(_manifests(folder, result))
    for manifest in manifests:
        result.damages += _inconsistencies(folder, manifest)
        for entry in manifest.segments:
            _check_deleted(folder, manifest, entry, result)
    for shared in segments_of(manifests):
        result.files += len(shared.entry.files)
        result.bytes += shared.entry.bytes
        result.damages += damages_of(folder, shared)
    if result.damages:
        result.damages = list(_still_kept(folder, result))
    return result


def segments_of(manifests: list[Generation]) -> list[Shared]:
    """Every segment once, with the generations that use it."""
    found: dict[Hashable, Shared] = {}
    for manifest in manifests:
        for entry in manifest.segments:
            key = entry.id, *entry.files.items()  # were one id published with two contents, one of them would be wrong
            users = found[key].generations if key in found else ()
            found[key] = Shared(entry, (*users, manifest.number))
    return list(found.values())


def damages_of(folder: CollectionFolder, shared: Shared) -> list[Damage]:
    """The files of a segment that are not what was published, or, where all are, that cannot be right."""
    path = folder.segments / shared.entry.id
    reasons = {path / name: reason for name, reason in _unlike_published(path, shared.entry)}
    if not reasons:
        try:
            segment = Segment(path, shared.entry)
            reasons = {path / name: reason for name, reason in faults(segment)}
        except CorruptGeneration as error:
            reasons = {error.path or path: error.message}
    return [Damage(file, reason, shared.generations) for file, reason in reasons.items()]


def _unlike_published(folder: Path, entry: SegmentEntry) -> Iterator[tuple[str, str]]:
    """The files of a segment that are missing, cannot be read or have another checksum, and why."""
    for name, sealed in entry.files.items():
        try:
            found = storage.checksum(folder / name)
        except FileNotFoundError:
            yield name, "it is missing"
        except StorageError as error:
            yield name, error.message
        else:
            if found != sealed:
                yield (
                    name,
                    f"its checksum is {found.sha256[:12]}… over {found.bytes:,} bytes, but {sealed.sha256[:12]}… over "
                    f"{sealed.bytes:,} bytes was published",
                )


def _manifests(folder: CollectionFolder, result: Verification) -> Iterator[Generation]:
    for number in result.generations:
        path = generations.manifest_path(folder, number)
        result.files += 1
        try:
            yield generations.read(folder, number)
            result.bytes += storage.size(path) or 0
        except CorruptGeneration as error:
            result.damages.append(Damage(path, error.message, (number,)))


def _inconsistencies(folder: CollectionFolder, manifest: Generation) -> Iterator[Damage]:
    """What in a manifest contradicts itself."""
    path, entries, deleted = generations.manifest_path(folder, manifest.number), manifest.segments, manifest.deleted
    items = sum(entry.items for entry in entries) - sum(one.items for one in deleted.values())
    passages = sum(entry.passages for entry in entries) - sum(one.passages for one in deleted.values())
    stated = manifest.counts
    if (stated.items, stated.passages) != (items, passages):
        reason = (
            f"it says {stated.items:,} items and {stated.passages:,} passages, and its segments have {items:,} and "
            f"{passages:,}"
        )
        yield Damage(path, reason, (manifest.number,))
    if stray := deleted.keys() - {entry.id for entry in entries}:
        yield Damage(
            path, f"it has deleted items of segment {min(stray)!r}, which it does not have", (manifest.number,)
        )
    if other := [entry.id for entry in entries if entry.dimension != manifest.fingerprint.dimension]:
        yield Damage(path, f"segment {other[0]!r} has not the dimension of its model", (manifest.number,))


def _check_deleted(folder: CollectionFolder, manifest: Generation, entry: SegmentEntry, result: Verification) -> None:
    deleted = manifest.deleted.get(entry.id)
    if deleted is None:
        return
    result.files += 1
    result.bytes += deleted.file.bytes
    try:
        bits = generations.read_deleted(folder, manifest, entry)
        if bits is not None and int(bits.sum()) != deleted.items:
            raise CorruptGeneration(f"it marks {int(bits.sum()):,} items, and {deleted.items:,} were published")
    except CorruptGeneration as error:
        path = generations.deleted_path(folder, manifest.number, entry.id)
        result.damages.append(Damage(path, error.message, (manifest.number,)))


def _still_kept(folder: CollectionFolder, result: Verification) -> Iterator[Damage]:
    """The damages, without those of generations that were pruned while they were being looked at."""
    try:
        pruned = set(result.generations) - set(generations.numbers(folder))
    except StorageError:
        pruned = set()
    for damage in result.damages:
        left = tuple(number for number in damage.generations if number not in pruned)
        if left or not damage.generations:
            yield replace(damage, generations=left)
