"""How does a collection go back to an earlier generation, and on again?

Nothing published is changed: a rollback publishes a new number with the content of an old one, and says in it that the
collection is on hold, so that the next run does not bring back what was rolled back. Resuming publishes the same
content without the hold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from indexer import generation as generations
from indexer import storage
from indexer.config import check_collection_name
from indexer.errors import CorruptGeneration, GenerationNotFound, StorageError
from indexer.generation import Generation
from indexer.prune import remove_leftovers
from indexer.snapshot import open_generation, verify
from indexer.storage import CollectionFolder, collection_folder


def rollback(store: Path, name: str, number: int | None = None) -> Generation:
    """Publish the content of the generation `number` again, and hold it; by default the one before the current one.

    The one before a generation that has the content of an earlier one is that before the earlier one, so that a second
    rollback goes further back. Raises GenerationNotFound where there is none, CorruptGeneration where it is damaged,
    CollectionLocked and StorageError; the current generation is then what it was.
    """
    with _locked(store, name) as folder:
        published = generations.numbers(folder)
        target = _before_current(folder, published) if number is None else number
        if target not in published:
            raise GenerationNotFound(
                f"Collection {name!r} has no generation {target}: it has {', '.join(map(str, published))}.",
                param="generation",
            )
        content = _whole(folder, target)
        return _publish(folder, content, published[-1] + 1, origin=target, hold=True)


def resume(store: Path, name: str) -> Generation | None:
    """Lift the hold of a rollback, so that runs go on; None where the collection is not on hold.

    What counts is the newest manifest that can be read, as it does for runs; raises CorruptGeneration where none can.
    """
    with _locked(store, name) as folder:
        newest = generations.newest_readable(folder) or generations.current(folder)
        if not newest.hold:
            return None
        number = generations.numbers(folder)[-1] + 1
        return _publish(folder, newest, number, origin=newest.origin, hold=False)


@contextlib.contextmanager
def _locked(store: Path, name: str) -> Iterator[CollectionFolder]:
    """The collection, locked and without leftovers; raises CollectionNotFound, and makes nothing, where it is none."""
    folder = collection_folder(store, check_collection_name(name))
    if not generations.numbers(folder):
        raise generations.nothing_published(folder)
    with storage.lock(folder):
        remove_leftovers(folder)
        yield folder


def _before_current(folder: CollectionFolder, published: list[int]) -> int:
    """The newest generation before the current one, and before what that was rolled back to, of another content."""
    current = _manifest(folder, published[-1])
    for number in reversed(_before(folder, published, current)):
        manifest = _manifest(folder, number)
        if manifest is None or current is None or _content(manifest) != _content(current):
            return number
    raise GenerationNotFound(
        f"Collection {folder.name!r} keeps no earlier generation to go back to: keep_generations and keep_days say "
        "how many are kept.",
        param="generation",
    )


def _before(folder: CollectionFolder, published: list[int], current: Generation | None) -> list[int]:
    """The kept generations that are older than the current content."""
    oldest = published[-1]
    while current and current.origin is not None:
        oldest = current.origin
        current = _manifest(folder, oldest) if oldest in published else None
    return [number for number in published if number < oldest]


def _content(manifest: Generation) -> object:
    """What tells the content of a generation from that of another."""
    return manifest.segments, manifest.deleted


def _manifest(folder: CollectionFolder, number: int) -> Generation | None:
    """The manifest of a generation; None where it cannot be read."""
    try:
        return generations.read(folder, number)
    except CorruptGeneration:
        return None


def _whole(folder: CollectionFolder, number: int) -> Generation:
    """The generation of that number, every byte of which was compared."""
    try:
        snapshot = open_generation(folder, number)
        verify(snapshot)
    except CorruptGeneration as error:
        raise CorruptGeneration(
            f"Generation {number} of {folder.name!r} is damaged, and nothing was rolled back: {error.message} Mend it "
            f"with `parecido repair {folder.name}`, or name another generation; `parecido generations {folder.name}` "
            "lists them."
        ) from error
    return snapshot.generation


def _publish(
    folder: CollectionFolder, content: Generation, number: int, *, origin: int | None, hold: bool
) -> Generation:
    """Publish the content of a generation under another number."""
    for entry in content.segments:
        if (deleted := generations.read_deleted(folder, content, entry)) is not None:
            generations.write_deleted(folder, number, entry.id, deleted)
    new = replace(content, number=number, created_at=datetime.now(UTC), origin=origin, hold=hold, report=None)
    if not generations.publish(folder, new):
        raise StorageError(
            f"Generation {number} of {folder.name!r} was published by somebody else meanwhile: try again."
        )
    return new
