"""Does a graph that is measured with its own items find no more of what is nearest than it does for new queries?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from indexes import clustered

from indexer.ann import AnnIndex, Kind, Passages, again, kinds
from indexer.ann.tuning import measured


@pytest.mark.parametrize("kind", ["hnsw", "hnsw-sq8"])
@pytest.mark.parametrize(("items", "most"), [(4000, 1), (2000, 2), (320, 100)])
def test_a_graph_that_is_measured_with_its_own_items_finds_what_it_found_with_held_out_ones(
    tmp_path: Path, kind: Kind, items: int, most: int
) -> None:
    rng = np.random.default_rng(3)
    of = np.repeat(np.arange(items), rng.integers(1, 2 * most, size=items)).astype(np.uint32)
    vectors = clustered(rng, len(of))
    known, held = Passages(vectors, of if most > 1 else None).held_out()
    made = kinds.empty(kind, vectors.shape[1])
    kinds.train(made, vectors)
    made.add(np.ascontiguousarray(known.vectors))
    path = tmp_path / "graph"
    with path.open("wb") as file:
        kinds.write(made, kind, file.write)
    index, nothing = AnnIndex(kinds.read(str(path), kind), kind), np.empty((0, 0), np.float32)
    truth = {(rung.limit, rung.effort): rung.figure for rung in measured(index, known, held)}
    naive = {(rung.limit, rung.effort): rung.figure for rung in measured(index, known, known.some(400))}
    found, queries = again.measured_again(path, index, known, [], nothing)
    assert queries.items == min(400, known.item_count // 5)
    assert found
    for rung in found:
        if expected := truth.get((rung.limit, rung.effort)):
            assert rung.figure.recall == pytest.approx(expected.recall, abs=0.02)
    if most == 1:
        assert naive[10, 16].low > truth[10, 16].high  # what is avoided


def test_what_is_taken_out_of_a_graph_is_not_found_and_all_else_is(tmp_path: Path) -> None:
    vectors = clustered(np.random.default_rng(4), 1500)
    graph = kinds.empty("hnsw", vectors.shape[1])
    graph.add(vectors)
    low = np.setdiff1d(np.arange(1500), kinds.on_upper_levels(graph))
    out = low[::10]
    kinds.take_out(graph, out, vectors)
    _, rows = AnnIndex(graph, "hnsw").search(vectors, 10, 400)
    assert not np.isin(rows, out).any()
    rest = np.setdiff1d(np.arange(1500), out)
    assert np.isin(rest, rows).mean() > 0.99
    cosines = vectors @ vectors.T
    cosines[:, out] = -2
    tenth = np.sort(cosines, axis=1)[:, -10]
    assert (np.take_along_axis(cosines, rows, axis=1) >= tenth[:, None] - 1e-3).mean() > 0.99
    assert kinds.unsound(graph, "hnsw") is None


def test_what_led_to_a_row_that_is_taken_out_leads_to_another_neither_to_itself_nor_anywhere_twice() -> None:
    vectors = clustered(np.random.default_rng(4), 1500)
    graph = kinds.empty("hnsw", vectors.shape[1])
    graph.add(vectors)
    low = np.setdiff1d(np.arange(1500), kinds.on_upper_levels(graph))
    before, out = _links(graph), low[::10]
    kinds.take_out(graph, out, vectors)
    after, left = _links(graph), np.setdiff1d(low, out)
    assert np.isin(np.concatenate([before[row] for row in left]), out).sum() > 1000
    for row in left:
        assert len(after[row]) == len(before[row]) == len({*after[row].tolist()} - {*out.tolist(), int(row)})


def _links(graph: Any) -> list[npt.NDArray[np.int32]]:
    """Where each row leads to, on all its levels."""
    every = faiss.vector_to_array(graph.hnsw.neighbors)
    rows = np.split(every, faiss.vector_to_array(graph.hnsw.offsets)[1:-1].astype(np.int64))
    return [row[row >= 0] for row in rows]
