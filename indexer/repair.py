"""What can be made good again?

Look-ups and vector indexes derive from the items and the vectors of their segment and are built anew from them. Where
that gives the very bytes that were published, the file is put back and every generation is whole again; where it does
not (another version of FAISS or Arrow), the segment gets a new name, and a new generation with the same content names
it. Items, passages and vectors cannot be derived: what is damaged of them is named, and stays where it is. Nothing
that cannot be read is ever deleted.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from indexer import generation as generations
from indexer import storage
from indexer.columns import map_table, to_hashes
from indexer.errors import CorruptGeneration, StorageError
from indexer.generation import Generation
from indexer.items import hash_id
from indexer.prune import remove_leftovers
from indexer.segment import ANN, IDS, ITEMS, VECTORS, SegmentEntry
from indexer.storage import CollectionFolder, Sealed
from indexer.verify import Damage, Shared, damaged_files, segments_of, verify
from indexer.writing import write_ann, write_ids

DERIVED = (IDS, ANN)


@dataclass(slots=True)
class Repair:
    """What was mended in one collection, and what is still wrong with any of its generations."""

    collection: str
    mended: list[Path] = field(default_factory=list)
    """Files that are again what they should be, or that the new generation has in their place."""
    published: int | None = None
    """The generation that had to be published for it, if one had to."""
    damages: list[Damage] = field(default_factory=list)


def repair(folder: CollectionFolder) -> Repair:
    """Build anew what derives from other files and is damaged.

    Raises CollectionLocked where a run is at it, and StorageError.
    """
    result = Repair(folder.name)
    with storage.lock(folder):
        remove_leftovers(folder)
        manifests = _readable(folder)
        with storage.removed_after(folder.runs / secrets.token_hex(4)) as scratch:
            storage.add_folder(scratch)
            renewed: dict[str, SegmentEntry] = {}
            for shared in segments_of(manifests):
                if entry := _mend(folder, shared, scratch, result):
                    renewed[shared.entry.id] = entry
            if manifests and any(entry.id in renewed for entry in manifests[-1].segments):
                result.published = _publish(folder, manifests[-1], renewed)
        result.damages = verify(folder).damages
    return result


def _readable(folder: CollectionFolder) -> list[Generation]:
    found = []
    for number in generations.numbers(folder):
        try:
            found.append(generations.read(folder, number))
        except CorruptGeneration:
            continue  # verify names it
    return found


def _mend(folder: CollectionFolder, shared: Shared, scratch: Path, result: Repair) -> SegmentEntry | None:
    """Mend the derived files of a segment; returns its new form where they do not come out as they were."""
    broken = {damage.path.name for damage in damaged_files(folder, shared)}
    if not broken or not broken <= set(DERIVED):
        return None
    old = folder.segments / shared.entry.id
    new = storage.add_folder(scratch / f"{generations.numbers(folder)[-1] + 1:06d}-{secrets.token_hex(4)}")
    built = {name: _rebuilt(name, old, new, shared.entry) for name in broken}
    result.mended += [old / name for name in sorted(broken)]
    if all(shared.entry.files[name] == sealed for name, sealed in built.items()):
        for name in broken:
            storage.replace_file(new / name, old / name)
        return None
    for name in shared.entry.files.keys() - broken:
        storage.link_file(old / name, new / name)
    storage.sync_folder(new)
    storage.move_folder(new, folder.segments / new.name)
    return replace(shared.entry, id=new.name, files={n: built.get(n, s) for n, s in shared.entry.files.items()})


def _rebuilt(name: str, old: Path, new: Path, entry: SegmentEntry) -> Sealed:
    """A derived file of a segment, written anew from its other files."""
    if name == ANN:
        return write_ann(new, entry.passages, entry.dimension, old / VECTORS)
    items = map_table(old / ITEMS)
    ids = to_hashes(hash_id(id) for batch in items.to_batches() for id in batch["id"].to_pylist())
    contents: pa.ChunkedArray = items["content"]
    return write_ids(new, ids, to_hashes(contents.to_pylist()))


def _publish(folder: CollectionFolder, newest: Generation, renewed: Mapping[str, SegmentEntry]) -> int:
    """Publish the newest readable generation again, with the renewed segments in the place of the damaged ones."""
    number = generations.numbers(folder)[-1] + 1
    deleted = {}
    for entry in newest.segments:
        if (bits := generations.read_deleted(folder, newest, entry)) is not None:
            id = renewed.get(entry.id, entry).id
            sealed = generations.write_deleted(folder, number, id, bits)
            deleted[id] = replace(newest.deleted[entry.id], file=sealed)
    segments = tuple(renewed.get(entry.id, entry) for entry in newest.segments)
    new = replace(newest, number=number, created_at=datetime.now(UTC), segments=segments, deleted=deleted, report=None)
    if not generations.publish(folder, new):
        raise StorageError(
            f"Generation {number} of {folder.name!r} was published by somebody else meanwhile: try again."
        )
    return number
