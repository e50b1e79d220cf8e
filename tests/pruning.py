"""What do the tests of pruning share? Generations that say which one they are, and a way to prune them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from support import NAME, Place

from indexer.prune import Pruned, prune
from indexer.storage import CollectionFolder, collection_folder, lock

DAY = timedelta(days=1)


def rows(number: int, count: int = 6) -> list[dict[str, Any]]:
    """The items of a generation, each of which says which one that is."""
    return [{"id": f"i{n}", "text": f"This is text {n} of {number}.", "n": number} for n in range(count)]


def five_generations(place: Path) -> Place:
    """A collection of five generations."""
    made = Place(place)
    for number in range(1, 6):
        made.run(rows(number))
    return made


def folder(place: Place) -> CollectionFolder:
    """Where the collection is."""
    return collection_folder(place.store, NAME)


def pruned(place: Place, keep: int = 1, days: float = 0, dry_run: bool = False) -> Pruned:
    """Prune the collection."""
    with lock(folder(place)):
        return prune(folder(place), keep, days * DAY, dry_run=dry_run)
