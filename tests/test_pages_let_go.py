"""Are the pages of vectors that an index is built of let go of, so that a file of any size is never held?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from indexes import clustered, first_try
from support import Silent

from indexer.ann import Aim, Kind, Passages, build, building, nearest
from indexer.ann.passages import spread
from indexer.storage import OutputFile
from indexer.vectors import Vectors

SMAPS = Path("/proc/self/smaps")
"""Where Linux tells how much of what is mapped is in memory."""
ROWS, DIMENSION, BLOCK = 12_000, 512, 500
"""Large beside what the system maps at once, which may be 2 MiB on either side of what is read."""

pytestmark = pytest.mark.skipif(not SMAPS.exists(), reason="the system does not tell what of a file is in memory")


def held(path: Path) -> int:
    """Bytes of a mapped file that are in the memory of this process."""
    _, _, own = SMAPS.read_text(encoding="utf-8").partition(f" {path}\n")
    return int(own.split("Rss:")[1].split()[0]) * 1024


@pytest.fixture
def mapped(tmp_path: Path) -> Vectors:
    path = tmp_path / "vectors"
    clustered(np.random.default_rng(1), ROWS, DIMENSION).tofile(path)
    return np.memmap(path, np.float32, "r", shape=(ROWS, DIMENSION))


class Watched(Silent):
    """Notes at each step how much of a file is held."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[str, list[int]] = {}

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        self._now = self.seen.setdefault(stage, [])

    def advance(self, count: int) -> None:
        self._now.append(held(self.path))


@pytest.mark.parametrize("kind", ["exact", "pq"])
def test_no_more_than_a_few_blocks_are_held_while_an_index_is_built_and_tuned_and_nothing_afterwards(
    tmp_path: Path, mapped: Vectors, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    if kind != "exact":
        first_try(kind, monkeypatch)
    monkeypatch.setattr(building, "BLOCK", BLOCK)
    monkeypatch.setattr(nearest, "BLOCK_ITEMS", BLOCK)
    watched = Watched(tmp_path / "vectors")
    with OutputFile(tmp_path / "index") as file:
        assert build(Passages(mapped), Aim(None if kind == "exact" else 0.8), file, watched).kind == kind
    assert [*watched.seen] == (["index"] if kind == "exact" else ["index", "compare", "tune"])
    assert max(map(max, watched.seen.values())) < mapped.nbytes // 3
    assert held(tmp_path / "vectors") == 0


def test_vectors_that_are_spread_are_not_held(tmp_path: Path, mapped: Vectors) -> None:
    assert len(spread(mapped, ROWS // 3)) == ROWS // 3
    assert held(tmp_path / "vectors") == 0
