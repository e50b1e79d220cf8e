"""What do the tests of damage share? A test module takes it with `pytest_plugins = ["damage_fixtures"]`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from damage import NEW, OLD
from support import NAME, Place, StandIn

from indexer import ann, intake
from indexer.storage import CollectionFolder, collection_folder


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Two generations that share a segment; a copy of the store is at `before`."""
    place = Place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(intake, "plan_merge", lambda *sizes: [])  # so that there is a bitmap
        place.run(OLD)
        place.run(NEW)
    shutil.copytree(place.store, tmp_path / "before")
    return place


@pytest.fixture
def folder(place: Place) -> CollectionFolder:
    """The folder of that collection."""
    return collection_folder(place.store, NAME)


@pytest.fixture
def another_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes are written with other bytes from now on, and are as good."""
    write = ann.write
    monkeypatch.setattr(ann, "write", lambda vectors, file: write(vectors * np.float32(1.0003), file))
