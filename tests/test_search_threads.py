"""Is a single query answered by the thread that asks, without a change for anybody else?

FAISS divides a scan by queries: for one query more threads only wait for each other, for many they share the work.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from support import prepared, publish_items, random_vectors

from indexer.ann import AnnIndex


@pytest.fixture
def index(tmp_path: Path) -> AnnIndex:
    rng = np.random.default_rng(1)
    snapshot = publish_items(tmp_path, [[prepared(f"{i}", random_vectors(rng, 1, 8)) for i in range(20)]])
    return snapshot.segments[0].segment.ann


class Watched:
    """An index that notes with how many threads it is asked."""

    ntotal, d = 20, 8

    def __init__(self) -> None:
        self.threads: list[int] = []

    def search(self, queries: Any, k: int, params: Any = None) -> tuple[Any, Any]:
        self.threads.append(faiss.omp_get_max_threads())
        return np.zeros((len(queries), k), np.float32), np.zeros((len(queries), k), np.int64)


@pytest.mark.parametrize("mask", [None, np.ones(20, dtype=bool)], ids=["all", "masked"])
def test_one_query_is_asked_with_one_thread_and_many_with_all(mask: Any) -> None:
    watched, before = Watched(), faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    for count in (1, 2, 1):
        AnnIndex(watched).scan(np.zeros((count, 8), np.float32), 1, mask)
    after = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(before)
    assert (watched.threads, after) == ([1, 3, 1], 3)


def test_threads_that_ask_at_once_keep_their_own_number_and_find_the_same(index: AnnIndex) -> None:
    queries = random_vectors(np.random.default_rng(2), 6, 8)
    expected = [index.scan(queries[i : i + 1], 5)[1].tolist() for i in range(6)]
    wrong: list[object] = []

    def ask(number: int) -> None:
        faiss.omp_set_num_threads(number)
        for turn in range(200):
            at = turn % 6
            found = index.scan(queries[at : at + 1], 5)[1].tolist()
            if found != expected[at] or faiss.omp_get_max_threads() != number:
                wrong.append((number, turn, found))

    threads = [threading.Thread(target=ask, args=(number,)) for number in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
