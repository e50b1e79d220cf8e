"""Is an index read where it lies in its file, so that all processes share one copy?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from indexes import clustered
from support import NAME, STATM, own_memory, prepared, publish_items, random_vectors

from indexer.ann import AnnIndex, Kind, codes, kinds, open_index
from indexer.ann.choice import KINDS
from indexer.ann.ladder import Frame, IndexEntry
from indexer.errors import CorruptGeneration
from indexer.memory import give_back
from indexer.search import Asked, nearest
from indexer.segment import ANN
from indexer.snapshot import open_newest
from indexer.storage import collection_folder
from indexer.vectors import Vectors

COUNT = 3001
"""Not a multiple of the rows whose codes lie together."""
FRAME = Frame((), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
"""Of nothing."""


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return clustered(np.random.default_rng(8), COUNT)


def made(kind: Kind, vectors: Vectors, count: int = COUNT) -> Any:
    index = kinds.empty(kind, vectors.shape[1])
    kinds.train(index, vectors)
    index.add(vectors[:count])
    return index


def written(index: Any, kind: Kind, path: Path) -> Path:
    with path.open("wb") as file:
        kinds.write(index, kind, file.write)
    return path


def opened(path: Path, kind: Kind, vectors: Vectors) -> AnnIndex:
    return open_index(path, *vectors.shape, IndexEntry(kind, "", frame=FRAME if kind != "exact" else None))


def mapped(path: Path) -> list[range]:
    """The addresses at which this process has the file mapped."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    places = [line[0].split("-") for line in lines if line[-1] == str(path)]
    return [range(int(start, 16), int(end, 16)) for start, end in places]


def read_by_a_search(index: Any, kind: Kind) -> dict[str, int]:
    """Where what a search reads of an index begins."""
    if kind == "pq":
        return {"codes": int(index.invlists.get_codes(0)), "rows": int(index.invlists.get_ids(0))}
    if kind == "exact":
        return {"codes": int(index.codes.data())}
    codes = int(faiss.downcast_index(index.storage).codes.data())
    return {"codes": codes, "links": int(index.hnsw.neighbors.data())}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has mapped is not to be seen")
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_search_reads_is_the_file_itself(tmp_path: Path, vectors: Vectors, kind: Kind) -> None:
    path = written(made(kind, vectors), kind, tmp_path / "index")
    index = kinds.read(str(path), kind)
    places = mapped(path)
    copied = [what for what, at in read_by_a_search(index, kind).items() if not any(at in place for place in places)]
    assert (bool(places), copied) == (True, [])
    del index
    assert not mapped(path)


@pytest.mark.skipif(not STATM.exists(), reason="the system does not tell how much memory there is")
def test_a_process_that_searches_a_generation_has_no_copy_of_it(tmp_path: Path) -> None:
    every = random_vectors(np.random.default_rng(2), 10_000, 512)
    publish_items(tmp_path, [[prepared(f"i{at}", every[at : at + 1]) for at in range(len(every))]])
    give_back()
    before = own_memory()
    snapshot = open_newest(collection_folder(tmp_path, NAME))
    snapshot.warm()
    asked = Asked(every[:1], 10)
    assert [nearest(snapshot, asked)[0].row, nearest(snapshot, replace(asked, exact=True))[0].row] == [0, 0]
    (entry,) = snapshot.generation.segments
    assert entry.files[ANN].bytes > 10_000_000
    assert own_memory() - before < entry.files[ANN].bytes // 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_opened_index_answers_as_the_one_that_was_written(tmp_path: Path, vectors: Vectors, kind: Kind) -> None:
    whole = made(kind, vectors)
    there = opened(written(whole, kind, tmp_path / "index"), kind, vectors)
    here, queries = AnnIndex(whole, kind), vectors[::100] + 0.01
    for one, other in zip(here.search(queries, 20, 40), there.search(queries, 20, 40), strict=True):
        assert np.array_equal(one, other)
    assert there.first_unlike(0, vectors) is None


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 1000])
def test_a_list_of_any_length_is_read_to_its_last_row(tmp_path: Path, vectors: Vectors, count: int) -> None:
    few, mask = vectors[:count], np.arange(count) % 3 == 0
    there = opened(written(made("pq", vectors, count), "pq", tmp_path / "index"), "pq", few)
    assert sorted(there.search(few[:1], count, 0)[1][0]) == list(range(count))
    assert {*there.search(few[:1], count, 0, mask)[1][0]} - {-1} == {*range(0, count, 3)}


def test_a_file_as_faiss_writes_it_is_read_as_well(tmp_path: Path, vectors: Vectors) -> None:
    whole = made("pq", vectors)
    faiss.write_index(whole, str(tmp_path / "index"))
    there = opened(tmp_path / "index", "pq", vectors)
    assert there.first_unlike(0, vectors) is None
    assert np.array_equal(there.search(vectors[:9], 20, 0)[1], AnnIndex(whole, "pq").search(vectors[:9], 20, 0)[1])


@pytest.mark.parametrize("bytes_more", [-8, -codes.ALIGNMENT, codes.ALIGNMENT, 8, -(1 << 30)])
def test_a_file_that_is_longer_or_shorter_is_refused(tmp_path: Path, vectors: Vectors, bytes_more: int) -> None:
    path = written(made("pq", vectors), "pq", tmp_path / "index")
    data, head = path.read_bytes(), codes.ROWS * 100
    path.write_bytes(data + bytes(bytes_more) if bytes_more > 0 else data[: max(len(data) + bytes_more, head)])
    with pytest.raises(CorruptGeneration, match=r"is not an index that FAISS can read|is damaged") as refused:
        opened(path, "pq", vectors)
    assert refused.value.path == path


def test_writing_leaves_an_index_as_it_was(tmp_path: Path, vectors: Vectors) -> None:
    whole = made("pq", vectors)
    before = faiss.serialize_index(whole).tobytes()
    written(whole, "pq", tmp_path / "index")
    assert faiss.serialize_index(whole).tobytes() == before
