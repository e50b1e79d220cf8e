"""Which generation is current, and what does it consist of?

A generation is a manifest, `generations/000007.json`; the highest number is current. Format 1 is JSON:

    {"format": 1,
     "sha256": hexadecimal, of the compact JSON text of the value of "generation" as it stands in the file,
     "generation": the fields of `Generation`}

Fields that came later have a default, so that older manifests stay readable: `origin`, `hold`, `report`, `contract`,
and a segment's `index`.

Beside it, `generations/000007/<segment>.deleted` holds, for each segment that has deleted items, one bit an item row
(bit r & 7 of byte r >> 3), set where the item is deleted. A manifest is published by one atomic step and never changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import TypeAdapter, ValidationError

from indexer import storage
from indexer.ann import Figure
from indexer.answers import LastRun
from indexer.config import PassageSettings
from indexer.errors import CollectionNotFound, CorruptGeneration, StorageError
from indexer.items import FieldType
from indexer.models import Fingerprint
from indexer.segment import SegmentEntry
from indexer.storage import CollectionFolder, Sealed

if TYPE_CHECKING:
    from indexer.report import Report

FORMAT = 1
MANIFEST = re.compile(r"(\d{6,})\.json")

Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Deleted:
    """The deleted items of one segment."""

    items: int
    passages: int
    file: Sealed


@dataclass(frozen=True, slots=True)
class Counts:
    """What a generation holds, deleted items left out."""

    items: int
    passages: int


@dataclass(frozen=True, slots=True)
class Whole:
    """What searches of a whole generation for up to `limit` items find: at least what its worst segment finds.

    A segment that is asked for the nearest of all has to find its own nearest ones alone, which are found first.
    """

    limit: int
    figure: Figure
    filtered: Figure
    """The same with a filter: the worst of those that an index is tried with."""


@dataclass(frozen=True, slots=True)
class Contract:
    """How much of what is nearest a search of a generation finds."""

    target: float | None
    """As configured; None for all of it."""
    wholes: tuple[Whole, ...] = ()
    """By limit; none where every segment is searched exactly, so that everything is found."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One published state of a collection."""

    number: int
    collection: str
    created_at: datetime
    fingerprint: Fingerprint
    device: str | None
    """Where the collection was configured to be embedded; None for the best there is."""
    schema: Mapping[str, FieldType]
    """Every metadata field and its type."""
    passages: PassageSettings
    """As configured; a change asks for a whole new generation."""
    store_text: bool
    segments: tuple[SegmentEntry, ...]
    deleted: Mapping[str, Deleted]
    """By segment id."""
    counts: Counts
    origin: int | None = None
    """The generation whose content this one has again, after a rollback or repair; None where a run made it."""
    hold: bool = False
    """Whether runs are refused until somebody lifts the hold."""
    report: Mapping[str, Any] | None = None
    """What the run that made it did and took, see `report.Report`; all but its last step."""
    contract: Contract | None = None
    """What a search finds; None in what earlier versions wrote, where that is all."""


_GENERATION = TypeAdapter(Generation)


def numbers(folder: CollectionFolder) -> list[int]:
    """The numbers of the published generations, lowest first."""
    matches = (MANIFEST.fullmatch(name) for name in storage.file_names(folder.generations))
    return sorted(int(match[1]) for match in matches if match)


def missing(published: Sequence[int], run: LastRun | None) -> int | None:
    """The generation that was current when the last run ended, where neither it nor a newer one is published now."""
    number: int = (run["report"]["generation"] if run and run["report"] else None) or 0
    return number if number > max(published, default=0) else None


def way_out(collection: str) -> str:
    """What to do about damage in a collection; the rest of a sentence."""
    return (
        f"`parecido repair {collection}` mends what can be mended, `parecido index {collection} --rebuild` builds it "
        "anew from its source"
    )


def current(folder: CollectionFolder) -> Generation:
    """The newest generation; raises CollectionNotFound where nothing is published."""
    published = numbers(folder)
    if not published:
        raise nothing_published(folder)
    return read(folder, published[-1])


def newest_readable(folder: CollectionFolder) -> Generation | None:
    """The newest generation whose manifest can be read, whatever its segments are like; None where there is none."""
    for number in reversed(numbers(folder)):
        with contextlib.suppress(CorruptGeneration):
            return read(folder, number)
    return None


def nothing_published(folder: CollectionFolder) -> CollectionNotFound:
    """The error of a collection without a generation."""
    return CollectionNotFound(
        f"Collection {folder.name!r} has no published generation in {str(folder.path.parent.parent)!r}: "
        f"index it first, or choose another --store.",
        param="collection",
    )


def read(folder: CollectionFolder, number: int) -> Generation:
    """The generation of that number; raises CorruptGeneration unless the manifest is whole and of a known format."""
    path = manifest_path(folder, number)
    try:
        manifest = orjson.loads(storage.read_file(path))
        version, stated, body = manifest["format"], manifest["sha256"], manifest["generation"]
    except FileNotFoundError as error:
        raise CorruptGeneration(f"The manifest {str(path)!r} is missing.") from error
    except StorageError as error:
        raise CorruptGeneration(error.message) from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise CorruptGeneration(
            f"The manifest {str(path)!r} is damaged: it is not the JSON that was published."
        ) from error
    if version != FORMAT:
        raise CorruptGeneration(
            f"The manifest {str(path)!r} has format {version}; this version of Parecido reads format {FORMAT}: "
            "use the version that wrote it, or a newer one."
        )
    if stated != _digest(body):
        raise CorruptGeneration(f"The manifest {str(path)!r} is damaged: its checksum does not match.")
    try:
        generation = _GENERATION.validate_python(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CorruptGeneration(
            f"The manifest {str(path)!r} is not what format {FORMAT} has: {where}: {first['msg']}."
        ) from error
    if generation.number != number:
        raise CorruptGeneration(f"The manifest {str(path)!r} is that of generation {generation.number}.")
    return generation


def publish(folder: CollectionFolder, generation: Generation) -> bool:
    """Make the generation current, or, where its number is taken, leave everything as it is and return False.

    Its segments and deletion bitmaps are on disk before this is called. Raises CollectionLocked unless this process
    holds the collection's lock.
    """
    body = orjson.loads(_GENERATION.dump_json(generation))
    manifest = {"format": FORMAT, "sha256": _digest(body), "generation": body}
    path = manifest_path(folder, generation.number)
    return storage.publish(orjson.dumps(manifest), path, partial(storage.check_held, folder))


def manifest_path(folder: CollectionFolder, number: int) -> Path:
    """Where the manifest of that number is."""
    return folder.generations / f"{number:06d}.json"


def deleted_path(folder: CollectionFolder, number: int, segment: str) -> Path:
    """Where a generation's deletion bitmap of a segment is."""
    return folder.generations / f"{number:06d}" / f"{segment}.deleted"


def with_report(generation: Generation, report: Report) -> Generation:
    """The generation with what its run did and took, as plain values."""
    return replace(generation, report=orjson.loads(orjson.dumps(report)))


def write_deleted(folder: CollectionFolder, number: int, segment: str, deleted: Bits) -> Sealed:
    """Write the deletion bitmap of a segment for the generation of that number.

    A file of that name is never replaced: with leftovers removed before, it could only be a rival's.
    """
    path = deleted_path(folder, number, segment)
    storage.add_folder(path.parent)
    sealed = storage.write_file(path, np.packbits(deleted, bitorder="little").tobytes())
    storage.sync_folder(path.parent)
    return sealed


def read_deleted(folder: CollectionFolder, generation: Generation, segment: SegmentEntry) -> Bits | None:
    """Which items of a segment are deleted in a generation; None where none are."""
    entry = generation.deleted.get(segment.id)
    if entry is None:
        return None
    path = deleted_path(folder, generation.number, segment.id)
    try:
        raw = storage.read_file(path)
    except FileNotFoundError as error:
        raise CorruptGeneration(f"The deletion bitmap {str(path)!r} is missing.") from error
    except StorageError as error:
        raise CorruptGeneration(error.message) from error
    if len(raw) != entry.file.bytes or hashlib.sha256(raw).hexdigest() != entry.file.sha256:
        raise CorruptGeneration(f"The deletion bitmap {str(path)!r} is damaged: its checksum does not match.")
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=segment.items, bitorder="little").astype(bool)


def _digest(body: Any) -> str:
    return hashlib.sha256(orjson.dumps(body)).hexdigest()
