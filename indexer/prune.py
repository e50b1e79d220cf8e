"""Which generations are kept, and what may be removed?

Which to keep is a decision, deleting is mechanics: two functions. Files are unlinked, never truncated, so that a reader
that has them mapped goes on reading; one that misses a file reads the newest manifest again. Where a manifest cannot be
read nobody knows which segments are its own, and no segment is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from indexer import generation as generations
from indexer import storage
from indexer.errors import CorruptGeneration
from indexer.generation import Generation
from indexer.storage import CollectionFolder

log = logging.getLogger("parecido")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a generation."""

    number: int
    keep: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed."""

    generations: tuple[Verdict, ...]
    """Every generation that there was, lowest number first."""
    segments: int
    bytes: int

    @property
    def removed(self) -> list[int]:
        """The numbers of the generations that are gone."""
        return [verdict.number for verdict in self.generations if not verdict.keep]


def plan_prune(
    published: Sequence[tuple[int, datetime | None]], keep: int, keep_for: timedelta, now: datetime
) -> list[Verdict]:
    """Which of the generations to keep and why: pairs of number and time of publishing, lowest number first.

    The newest `keep` stay, and those that were published less than `keep_for` ago. One whose manifest cannot be read,
    whose time is None, stays too: it may be mended.
    """
    newest = {number for number, _ in published[-keep:]}
    verdicts = []
    for number, created in published:
        if number in newest:
            current = number == published[-1][0]
            verdicts.append(Verdict(number, True, "it is current" if current else f"it is one of the last {keep}"))
        elif created is None:
            verdicts.append(Verdict(number, True, "its manifest cannot be read"))
        elif now - created < keep_for:
            verdicts.append(Verdict(number, True, f"it is younger than {_days(keep_for)}"))
        else:
            verdicts.append(
                Verdict(number, False, f"it is older than {_days(keep_for)} and not one of the last {keep}")
            )
    return verdicts


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return "1 day" if days == 1 else f"{days:g} days"


def prune(folder: CollectionFolder, keep: int, keep_for: timedelta, *, dry_run: bool = False) -> Pruned:
    """Remove the generations that need not be kept, and the segments that only they used.

    The caller holds the collection's lock. With `dry_run` nothing is removed, and no segments are counted.
    """
    numbers = generations.numbers(folder)
    verdicts = plan_prune([(n, _created(folder, n)) for n in numbers], keep, keep_for, datetime.now(UTC))
    if not dry_run:
        for verdict in verdicts:
            if not verdict.keep:  # the manifest first, so that nobody opens what is half gone
                storage.remove(generations.manifest_path(folder, verdict.number))
        storage.sync_folder(folder.generations)
    segments, size = (0, 0) if dry_run else _remove_unreferenced(folder)
    return Pruned(tuple(verdicts), segments, size)


def remove_leftovers(folder: CollectionFolder) -> None:
    """Remove what killed runs left: their folders, and segments and bitmaps that no generation refers to."""
    names = storage.file_names(folder.runs)
    storage.check_held(folder)
    for name in names:
        storage.remove(folder.runs / name)
    _remove_unreferenced(folder)


def _remove_unreferenced(folder: CollectionFolder) -> tuple[int, int]:
    """Remove segments and bitmaps that no kept manifest names; returns how many segments, and their bytes."""
    named, stored = storage.file_names(folder.generations), storage.file_names(folder.segments)
    storage.check_held(folder)  # so that nothing of what is listed is a rival's, and in use as soon as that publishes
    published = set(generations.numbers(folder))
    for name in named:
        number = name.partition(".")[0]
        if not (number.isdigit() and int(number) in published):
            storage.remove(folder.generations / name)
    manifests = [_read(folder, number) for number in sorted(published)]
    if any(manifest is None for manifest in manifests):
        return 0, 0
    used = {entry.id for manifest in manifests if manifest for entry in manifest.segments}
    gone = [name for name in stored if name not in used]
    size = 0
    for name in gone:
        path = folder.segments / name
        size += sum(storage.size(path / file) or 0 for file in storage.file_names(path))
        storage.remove(path)
    return len(gone), size


def _created(folder: CollectionFolder, number: int) -> datetime | None:
    manifest = _read(folder, number)
    return manifest.created_at if manifest else None


def _read(folder: CollectionFolder, number: int) -> Generation | None:
    try:
        return generations.read(folder, number)
    except CorruptGeneration as error:
        log.warning("collection %s: nothing is removed while a manifest cannot be read: %s", folder.name, error.message)
        return None
