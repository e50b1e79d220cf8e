"""What can be made good again?

Look-ups and vector indexes derive from the items and the vectors of their segment and are built anew from them. Where
that gives the very bytes that were published, the file is put back and every generation is whole again; where it does
not (another version of FAISS or Arrow), the segment gets a new name, and a new generation names it. That one has the
content of the newest generation that becomes whole by it. Items, passages and vectors cannot be derived: what is
damaged of them is named, and stays where it is. Nothing that cannot be read is ever deleted.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from indexer import generation as generations
from indexer import last_run, storage
from indexer.ann import Aim
from indexer.columns import MappedTable, to_hashes
from indexer.errors import CorruptGeneration, StorageError
from indexer.generation import Generation
from indexer.items import hash_id
from indexer.prune import remove_leftovers
from indexer.segment import ANN, IDS, ITEMS, SegmentEntry
from indexer.storage import CollectionFolder, Sealed
from indexer.verify import Damage, Shared, damages_of, segments_of, verify
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


@dataclass(frozen=True, slots=True)
class _Renewed:
    """A segment whose derived files came out with other bytes; still in a folder that nobody refers to."""

    folder: Path
    entry: SegmentEntry
    broken: tuple[Path, ...]
    """What was damaged in the old one."""


def repair(folder: CollectionFolder) -> Repair:
    """Build anew what derives from other files and is damaged.

    Raises CollectionLocked where a run is at it, and StorageError.
    """
    result = Repair(folder.name)
    with storage.lock(folder):
        if generations.missing(generations.numbers(folder), last_run.read(folder)) is None:
            remove_leftovers(folder)  # else what lies about may belong to a manifest that somebody still has
        manifests = _readable(folder)
        with storage.removed_after(folder.runs / secrets.token_hex(4)) as scratch:
            storage.add_folder(scratch)
            renewed: dict[str, _Renewed] = {}
            lost: set[str] = set()
            for shared in segments_of(manifests):
                broken = {damage.path.name for damage in damages_of(folder, shared)}
                if not broken <= set(DERIVED):
                    lost.add(shared.entry.id)
                elif broken and (segment := _mend(folder, shared, broken, scratch, result)):
                    renewed[shared.entry.id] = segment
            _publish_newest(folder, manifests, renewed, lost, result)
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


def _next(folder: CollectionFolder) -> int:
    """The number of the next generation; not one that is missing, whose files may still be there."""
    published = generations.numbers(folder)
    return 1 + (generations.missing(published, last_run.read(folder)) or max(published, default=0))


def _mend(
    folder: CollectionFolder, shared: Shared, broken: Collection[str], scratch: Path, result: Repair
) -> _Renewed | None:
    """Mend the derived files of a segment; returns its new form where they do not come out as they were."""
    old = folder.segments / shared.entry.id
    new = storage.add_folder(scratch / f"{_next(folder):06d}-{secrets.token_hex(4)}")
    index = shared.entry.index
    built: dict[str, Sealed] = {}
    if ANN in broken:
        entry, aim = shared.entry, Aim(index.target, index.memory_budget) if index else Aim()
        built[ANN], index = write_ann(new, entry.passages, entry.dimension, aim, old)
    if IDS in broken:
        built[IDS] = _rebuilt_ids(old, new)
    if all(shared.entry.files[name] == sealed and not (old / name).is_dir() for name, sealed in built.items()):
        for name in built:
            storage.replace_file(new / name, old / name)
            result.mended.append(old / name)
        return None
    files = {name: built.get(name, sealed) for name, sealed in shared.entry.files.items()}
    renewed = replace(shared.entry, id=new.name, files=files, index=index)
    return _Renewed(new, renewed, tuple(old / name for name in built))


def _rebuilt_ids(old: Path, new: Path) -> Sealed:
    """The look-up of a segment, written anew from its items."""
    items = MappedTable(old / ITEMS).table
    ids = to_hashes(hash_id(id) for batch in items.to_batches() for id in batch["id"].to_pylist())
    contents: pa.ChunkedArray = items["content"]
    return write_ids(new, ids, to_hashes(contents.to_pylist()))


def _publish_newest(
    folder: CollectionFolder,
    manifests: list[Generation],
    renewed: Mapping[str, _Renewed],
    lost: Collection[str],
    result: Repair,
) -> None:
    """Publish the newest content that is whole with its renewed segments; nothing, where it is whole without any."""
    for manifest in reversed(manifests):
        try:
            deleted = {entry.id: generations.read_deleted(folder, manifest, entry) for entry in manifest.segments}
        except CorruptGeneration:
            continue  # as it has a bitmap that cannot be derived
        if any(entry.id in lost for entry in manifest.segments):
            continue
        wanted = {entry.id: renewed[entry.id] for entry in manifest.segments if entry.id in renewed}
        if wanted:
            for segment in wanted.values():
                _take_in(folder, segment)
            result.published = _publish(folder, manifest, wanted, deleted, hold=manifests[-1].hold)
            result.mended += [path for segment in wanted.values() for path in segment.broken]
        return


def _take_in(folder: CollectionFolder, segment: _Renewed) -> None:
    """Complete a renewed segment with what is whole of the old one, and give it its name."""
    old = segment.broken[0].parent
    for name in segment.entry.files.keys() - {path.name for path in segment.broken}:
        storage.link_file(old / name, segment.folder / name)
    storage.sync_folder(segment.folder)
    storage.move_folder(segment.folder, folder.segments / segment.entry.id)


def _publish(
    folder: CollectionFolder,
    content: Generation,
    renewed: Mapping[str, _Renewed],
    deleted: Mapping[str, generations.Bits | None],
    *,
    hold: bool,
) -> int:
    """Publish the content of a generation again, with the renewed segments in the place of the damaged ones."""
    number = _next(folder)
    entries = {entry.id: renewed[entry.id].entry if entry.id in renewed else entry for entry in content.segments}
    sealed = {
        entries[id].id: replace(
            content.deleted[id], file=generations.write_deleted(folder, number, entries[id].id, bits)
        )
        for id, bits in deleted.items()
        if bits is not None
    }
    new = replace(
        content,
        number=number,
        created_at=datetime.now(UTC),
        segments=tuple(entries.values()),
        deleted=sealed,
        origin=content.number,
        hold=hold,
        report=None,
    )
    if not generations.publish(folder, new):
        raise StorageError(
            f"Generation {number} of {folder.name!r} was published by somebody else meanwhile: try again."
        )
    return number
