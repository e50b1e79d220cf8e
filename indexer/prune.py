"""Which generations are kept, and what may be removed?

Which to keep is a decision, deleting is mechanics: two functions. Files are unlinked, never truncated, so that a reader
that has them mapped goes on reading; one that misses a file reads the newest manifest again. Where a manifest cannot be
read nobody knows which segments are its own, and no segment is removed. The newest generation that can be opened stays,
however old: it is what is answered from.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from indexer import generation as generations
from indexer import storage
from indexer.errors import CorruptGeneration
from indexer.generation import Generation
from indexer.snapshot import open_good
from indexer.storage import CollectionFolder

SEGMENT = re.compile(r"(\d{6,})-\w+")
"""The name of a segment begins with the number of the generation that it was written for."""

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
    published: Sequence[tuple[int, datetime | None]],
    keep: int,
    keep_for: timedelta,
    now: datetime,
    opened: int | None = None,
) -> list[Verdict]:
    """Which of the generations to keep and why: pairs of number and time of publishing, lowest number first.

    The newest `keep` stay, those that were published less than `keep_for` ago, and `opened`, the newest that can be
    opened. One whose manifest cannot be read, whose time is None, stays too: it may be mended.
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
        elif number == opened:
            verdicts.append(Verdict(number, True, "it is the newest that can be opened"))
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
    manifests = {number: _read(folder, number) for number in generations.numbers(folder)}
    verdicts = _verdicts(folder, manifests, keep, keep_for)
    if dry_run:
        return Pruned(tuple(verdicts), 0, 0)
    gone = [verdict.number for verdict in verdicts if not verdict.keep]
    for number in gone:  # the manifests first, so that nobody opens what is half gone
        storage.remove(generations.manifest_path(folder, number))
    if gone:
        storage.sync_folder(folder.generations)
    stored = _unpublished_removed(folder)
    kept = [manifests[verdict.number] for verdict in verdicts if verdict.keep]
    if None in kept:
        return Pruned(tuple(verdicts), 0, 0)
    used = {entry.id for manifest in kept if manifest for entry in manifest.segments}
    unused = [name for name in stored if name not in used]
    size = sum(_remove_segment(folder, name) for name in unused)
    return Pruned(tuple(verdicts), len(unused), size)


def remove_leftovers(folder: CollectionFolder) -> None:
    """Remove what killed runs left: their folders, and bitmaps and segments of generations that were not published.

    No manifest is read for it, however many there are. What a prune that was killed has left goes with the next one.
    """
    names = storage.file_names(folder.runs)
    stored = _unpublished_removed(folder)
    for name in names:
        storage.remove(folder.runs / name)
    newest = max(generations.numbers(folder), default=0)
    for name in stored:
        if int(name.partition("-")[0]) > newest:
            _remove_segment(folder, name)


def _verdicts(
    folder: CollectionFolder, manifests: Mapping[int, Generation | None], keep: int, keep_for: timedelta
) -> list[Verdict]:
    published = [(number, manifest.created_at if manifest else None) for number, manifest in manifests.items()]
    now = datetime.now(UTC)
    verdicts = plan_prune(published, keep, keep_for, now)
    if all(verdict.keep for verdict in verdicts):
        return verdicts
    try:
        opened = open_good(folder)[0].generation.number
    except CorruptGeneration as error:
        log.warning("collection %s: no generation is removed while none can be opened: %s", folder.name, error.message)
        return [Verdict(number, True, "none can be opened, and it may be of use to mend one") for number in manifests]
    return plan_prune(published, keep, keep_for, now, opened)


def _unpublished_removed(folder: CollectionFolder) -> list[str]:
    """Remove the bitmaps of generations that are not there; returns the segments that are, used or not."""
    named, stored = storage.file_names(folder.generations), storage.file_names(folder.segments)
    storage.check_held(folder)  # so that nothing of what is listed is a rival's, and in use as soon as that publishes
    published = set(generations.numbers(folder))
    for name in named:
        if name.isdigit() and int(name) not in published:  # what else lies there is not ours, or no longer
            storage.remove(folder.generations / name)
    return [name for name in stored if SEGMENT.fullmatch(name)]


def _remove_segment(folder: CollectionFolder, name: str) -> int:
    """Remove a segment; returns how many bytes that were."""
    path = folder.segments / name
    size = sum(storage.size(path / file) or 0 for file in storage.file_names(path))
    storage.remove(path)
    return size


def _read(folder: CollectionFolder, number: int) -> Generation | None:
    try:
        return generations.read(folder, number)
    except CorruptGeneration as error:
        log.warning(
            "collection %s: no segment is removed while a manifest cannot be read: %s", folder.name, error.message
        )
        return None
