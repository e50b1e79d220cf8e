"""What do the tests of damage share? A test module takes it with `pytest_plugins = ["damage_fixtures"]`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import NEW, OLD
from support import NAME, Place, StandIn

from indexer import ann, intake
from indexer.ann import IndexEntry, Passages
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
    build = ann.build

    def other(passages: Passages, *rest: Any) -> IndexEntry:
        return build(replace(passages, vectors=passages.vectors * np.float32(1.0003)), *rest)

    monkeypatch.setattr(ann, "build", other)
