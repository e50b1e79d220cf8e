"""Where is what in a store?

A store is a folder, and this is the only module that knows how it is laid out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from indexer.storage.refusals import disk


@dataclass(frozen=True, slots=True)
class CollectionFolder:
    """The places of one collection in a store."""

    path: Path

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.path.name

    @property
    def generations(self) -> Path:
        """Manifests, and one folder of deletion bitmaps a generation."""
        return self.path / "generations"

    @property
    def segments(self) -> Path:
        """One folder a segment."""
        return self.path / "segments"

    @property
    def runs(self) -> Path:
        """What a run that has not published has written so far, and the rejects of those that have ended."""
        return self.path / "runs"

    @property
    def batches(self) -> Path:
        """What is with the Batch API; there where something ever was."""
        return self.path / "batches.sqlite"


def collection_folder(store: Path, name: str) -> CollectionFolder:
    """The places of the collection `name`, whether or not it exists yet."""
    return CollectionFolder(store / "collections" / name)


def collection_names(store: Path) -> list[str]:
    """The collections that the store has a folder for, in name order."""
    with disk(store, "read"):
        try:
            return sorted(entry.name for entry in os.scandir(store / "collections") if entry.is_dir())
        except FileNotFoundError:
            return []
