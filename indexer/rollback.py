"""How does a collection go back to an earlier generation, and on again?

Nothing published is changed: a rollback publishes a new number with the content of an old one, and says in it that the
collection is on hold, so that the next run does not bring back what was rolled back. Resuming publishes the same
content without the hold.
"""

from __future__ import annotations

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

    Raises GenerationNotFound where there is none, CorruptGeneration where it is damaged, CollectionLocked and
    StorageError; the current generation is then what it was.
    """
    folder = collection_folder(store, check_collection_name(name))
    with storage.lock(folder):
        remove_leftovers(folder)
        published = generations.numbers(folder)
        if not published:
            raise generations.nothing_published(folder)
        target = _before_current(folder, published) if number is None else number
        if target not in published:
            raise GenerationNotFound(
                f"Collection {name!r} has no generation {target}: it has {', '.join(map(str, published))}.",
                param="generation",
            )
        snapshot = open_generation(folder, target)
        verify(snapshot)
        return _publish(folder, snapshot.generation, published[-1] + 1, origin=target, hold=True)


def resume(store: Path, name: str) -> Generation | None:
    """Lift the hold of a rollback, so that runs go on; None where the collection is not on hold."""
    folder = collection_folder(store, check_collection_name(name))
    with storage.lock(folder):
        remove_leftovers(folder)
        current = generations.current(folder)
        if not current.hold:
            return None
        return _publish(folder, current, current.number + 1, origin=current.origin, hold=False)


def _before_current(folder: CollectionFolder, published: list[int]) -> int:
    """The newest generation that has another content than the current one."""
    current = _content(folder, published[-1])
    for number in reversed(published[:-1]):
        if (content := _content(folder, number)) is not None and content != current:
            return number
    raise GenerationNotFound(
        f"Collection {folder.name!r} keeps no earlier generation to go back to: keep_generations and keep_days say "
        "how many are kept.",
        param="generation",
    )


def _content(folder: CollectionFolder, number: int) -> object:
    """What tells the content of a generation from that of another; None where its manifest cannot be read."""
    try:
        manifest = generations.read(folder, number)
    except CorruptGeneration:
        return None
    return manifest.segments, manifest.deleted


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
