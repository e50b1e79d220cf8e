"""Is an index that is built in little memory the one that FAISS would build at once?"""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from indexes import clustered, first_try
from support import Silent

from indexer.ann import Aim, Kind, Passages, build, building, kinds, tuning
from indexer.ann.passages import PIECE, spread
from indexer.storage import OutputFile


class Stages(Silent):
    """Remembers each stage, of how many units it is, and how far it came each time it was told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None, list[int]]] = []
        self._on: list[list[int]] = []

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        self._on.append([])
        self.stages.append((stage, total, self._on[-1]))

    def advance(self, count: int) -> None:
        self._on[-1].append(count)

    def end(self) -> None:
        self._on.pop()


@pytest.mark.parametrize("count", [0, 1, 299, 300, 1000])
def test_an_exact_index_that_is_written_as_it_is_made_is_faiss_own_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(building, "BLOCK", 300)
    vectors, told = clustered(np.random.default_rng(1), count, 40), Stages()
    with OutputFile(tmp_path / "index") as file:
        assert build(Passages(vectors), Aim(), file, told).kind == "exact"
        assert file.seal().bytes == (tmp_path / "index").stat().st_size
    whole = kinds.empty("exact", 40)
    whole.add(vectors)
    assert (tmp_path / "index").read_bytes() == faiss.serialize_index(whole).tobytes()
    ((stage, total, steps),) = told.stages
    assert (stage, total, sum(steps), max(steps, default=0) <= 300) == ("index", count, count, True)


def test_each_kind_that_is_tried_comes_to_its_own_end_and_so_does_its_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_try("hnsw", monkeypatch)
    enough = tuning.figure
    monkeypatch.setattr(tuning, "figure", lambda shares: enough(0 * shares))  # nothing is ever enough
    vectors, told = clustered(np.random.default_rng(1), 1000, 40), Stages()
    with OutputFile(tmp_path / "index") as file:
        assert build(Passages(vectors), Aim(0.95), file, told).kind == "exact"
    assert [stage for stage, _, _ in told.stages] == ["index", "compare", "tune"] * 2 + ["index"]
    assert all(sum(steps) == total for _, total, steps in told.stages)
    assert told.stages[-1][1] == len(vectors)


@pytest.mark.parametrize("kind", ["hnsw", "hnsw-sq8"])
def test_a_graph_with_room_for_all_is_the_same_and_never_moves(kind: Kind) -> None:
    vectors = clustered(np.random.default_rng(2), 2000)

    def made(room: int) -> tuple[bytes, set[int]]:
        index = kinds.empty(kind, vectors.shape[1])
        kinds.train(index, vectors)
        if room:
            kinds.reserve(index, room)
        places = set()
        for start in range(0, len(vectors), 100):
            index.add(vectors[start : start + 100])
            places.add(int(index.hnsw.neighbors.data()))
            places.add(int(faiss.downcast_index(index.storage).codes.data()))
        return faiss.serialize_index(index).tobytes(), places

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # several link nodes in whatever order they come to them
    try:
        (grown, moved), (reserved, stayed) = made(0), made(len(vectors))
    finally:
        faiss.omp_set_num_threads(threads)
    assert reserved == grown
    assert len(stayed) == 2 < len(moved)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 250, 100 * PIECE + 17])
def test_vectors_that_are_spread_are_every_so_many_th(tmp_path: Path, count: int) -> None:
    path = tmp_path / "vectors"
    every = np.random.default_rng(3).random((count, 4), dtype=np.float32)
    every.tofile(path)
    mapped = np.memmap(path, np.float32, "r", shape=every.shape) if count else every
    for wanted in (100, 99 * PIECE):
        np.testing.assert_array_equal(spread(mapped, wanted), every[:: max(1, count // wanted)])
