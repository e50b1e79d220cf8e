"""How is a store doing, as its generations and the notes of its runs tell it at once?"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from indexer import generation as generations
from indexer import last_run, storage
from indexer.answers import GenerationAnswer, LastRun, PendingAnswer, StatusAnswer
from indexer.describe import describe
from indexer.errors import CorruptGeneration, StorageError
from indexer.generation import Generation
from indexer.schedule import next_run
from indexer.snapshot import find_good
from indexer.storage import CollectionFolder, collection_folder, collection_names

log = logging.getLogger("parecido")

EVERY = "*"
"""Stands for the number of a generation where they cannot even be listed."""


def status(store: Path) -> Iterator[StatusAnswer]:
    """Every collection of a store, in order of name: what is current, what is wrong, how the last run ended.

    What is wrong is what keeps a generation from being opened: its manifest and bitmaps, the lengths and the structure
    of its files. `verify` reads them all.
    """
    schedule = next_run(store)
    for name in collection_names(store):
        folder = collection_folder(store, name)
        run = last_run.read(folder)
        current, problems = _newest_good(folder, run)
        if current is None and not problems and run is None:
            continue
        yield StatusAnswer(
            name=name,
            current=describe(current) if current else None,
            problems=problems,
            held_at=_held_at(folder) if EVERY not in problems else None,
            last_run=run,
            pending=_pending(folder),
            next_run_at=schedule.next_run_at if schedule and name in schedule.collections else None,
        )


def _newest_good(folder: CollectionFolder, run: LastRun | None) -> tuple[Generation | None, dict[str, str]]:
    """The newest generation that can be opened, and what is wrong with the newer ones."""
    problems: dict[str, str] = {}
    try:
        snapshot, damaged = find_good(folder)
        missing = generations.missing(generations.numbers(folder), run)
    except StorageError as error:
        return None, {EVERY: error.message}
    if missing:
        problems[str(missing)] = f"The manifest {str(generations.manifest_path(folder, missing))!r} is missing."
    problems |= {str(number): error.message for number, error in damaged.items()}
    return snapshot.generation if snapshot else None, problems


def _pending(folder: CollectionFolder) -> PendingAnswer | None:
    """What is with the Batch API; None, with a warning, where its record cannot be read."""
    if storage.size(folder.batches) is None:
        return None
    from indexer.batches import recorded  # which takes longer than all else here, and is hardly ever asked

    try:
        found = recorded(folder, only_open=True)
    except StorageError as error:
        log.warning("what is with the Batch API for %s is not known: %s", folder.name, error.message)
        return None
    if not found:
        return None
    return PendingAnswer(
        batches=len(found), texts=sum(one.requests for one in found), done=sum(one.done for one in found)
    )


def _held_at(folder: CollectionFolder) -> int | None:
    """The generation to which a rollback went that refuses runs, as a run finds it."""
    newest = generations.newest_readable(folder)
    return newest.origin if newest and newest.hold else None


def history(store: Path, name: str) -> list[GenerationAnswer]:
    """Every kept generation of a collection, newest first; of one whose manifest cannot be read, the log says why.

    Raises CollectionNotFound where there is none, and CorruptGeneration where no manifest can be read.
    """
    folder = collection_folder(store, name)
    published = generations.numbers(folder)
    if not published:
        raise generations.nothing_published(folder)
    found = []
    for number in reversed(published):
        try:
            found.append(_with_run(generations.read(folder, number)))
        except CorruptGeneration as error:
            if number == published[0] and not found:
                raise
            log.warning("collection %s: generation %d is not shown: %s", name, number, error.message)
    return found


def _with_run(generation: Generation) -> GenerationAnswer:
    run = dict(generation.report) if generation.report else None
    return GenerationAnswer(**describe(generation), run=run)
