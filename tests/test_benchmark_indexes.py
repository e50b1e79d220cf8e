"""Do the benchmarks of indexes measure what they say they do?

Stores of made-up vectors are asked and compared with numpy; what stands beside a search is FAISS itself.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from benchmarks import growth, publishing
from benchmarks._beside import LIMIT, alone, by_round, on_files
from benchmarks._indexed import Made, made
from benchmarks._machine import busy, machine, mapped
from benchmarks.growth import Times, exponents
from benchmarks.load import Outcome
from benchmarks.publishing import Windows
from indexer import generation as generations
from indexer.search import Asked, nearest
from indexer.segment import VECTORS
from indexer.snapshot import open_newest, verify

COUNT, DIMENSION, QUERIES = 17_000, 128, 32
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def one(folder: Path) -> Made:
    return made(folder, COUNT, DIMENSION, 0.95, QUERIES)


def test_a_store_holds_all_vectors_but_those_that_are_asked(one: Made) -> None:
    snapshot = open_newest(one.folder)
    stored = np.concatenate([np.asarray(part.segment.vectors) for part in snapshot.segments])
    assert stored.shape == (COUNT, DIMENSION)
    assert one.queries.shape == (QUERIES, DIMENSION)
    assert (one.queries @ stored.T).max() < 0.9999
    assert one.seconds > 0


def test_a_store_that_is_there_is_taken_and_an_unfinished_one_is_made_anew(folder: Path, one: Made) -> None:
    again = made(folder, COUNT, DIMENSION, 0.95, QUERIES)
    assert (again.store, again.seconds) == (one.store, one.seconds)
    assert np.array_equal(again.queries, one.queries)
    first = made(folder, 100, DIMENSION, 0.95, 5)
    (first.store / "built.json").unlink()
    assert generations.numbers(made(folder, 100, DIMENSION, 0.95, 5).folder) == [1]


def test_what_stands_beside_finds_what_the_project_finds(one: Made) -> None:
    snapshot = open_newest(one.folder)
    (part,) = snapshot.segments
    assert part.segment.entry.index is not None
    assert part.segment.entry.index.kind == "pq"  # candidates of codes, refined
    vectors = np.asarray(part.segment.vectors)
    single, seconds = alone(snapshot)
    assert seconds > 0
    for bare in (on_files(snapshot), single):
        figures, rows = bare.search(one.queries)
        best = np.sort(one.queries @ vectors.T, axis=1)[:, -LIMIT:]
        assert (figures >= best[:, :1] - 1e-3).mean() > 0.9
        there = np.take_along_axis(one.queries @ vectors.T, rows, axis=1)
        assert figures == pytest.approx(there, abs=1e-3)  # rows are counted as the figures are
    ours, theirs = growth.recalls(snapshot, single, one.queries)
    found = [nearest(snapshot, Asked(query[None], LIMIT)) for query in one.queries]
    expected = np.mean(
        [[hit.similarity >= least - 2e-6 for hit in hits] for hits, least in zip(found, best[:, 0], strict=True)]
    )
    assert ours == pytest.approx(expected)
    assert theirs == pytest.approx(np.mean(there >= best[:, :1] - 2e-6), abs=0.01)


def test_memory_of_mapped_files_is_that_of_pages_that_were_read(one: Made) -> None:
    snapshot = open_newest(one.folder)
    whole = 4 * COUNT * DIMENSION
    for part in snapshot.segments:
        np.asarray(part.segment.vectors).sum()
    of_this_store = [mapped(str(part.segment.folder / VECTORS)) for part in snapshot.segments]
    assert whole <= sum(of_this_store) <= whole + 8192 * len(of_this_store)
    assert mapped(VECTORS) >= sum(of_this_store)
    assert mapped("no such file") == 0


def test_exponents_are_slopes_of_logarithms() -> None:
    times = [
        Times(size**1.5, float(size), [size**0.5] * 5, [1.0] * 5, [size**0.25] * 5, [1.0] * 5)
        for size in (10, 100, 1000)
    ]
    slopes = {(one.what, one.column): one.median for one in exponents([10, 100, 1000], times)}
    assert slopes["building", "Parecido"] == pytest.approx(1.5)
    assert slopes["building", "larger by"] == pytest.approx(0.5)
    assert slopes["a single query, p50", "larger by"] == pytest.approx(0.25)


def test_rounds_are_medians_of_equal_parts() -> None:
    assert by_round([1, 2, 9, 4, 5, 6, 7, 8], 2) == [3.0, 6.5]
    assert by_round([1, 2], 4) == [1, 2]


def test_what_is_published_is_whole_and_in_segments_of_its_own(one: Made) -> None:
    before = generations.current(one.folder)
    generation = publishing.aside(one.folder)
    assert generations.current(one.folder) == before  # nobody sees it yet
    with publishing.storage.lock(one.folder):
        assert generations.publish(one.folder, generation)
    snapshot = open_newest(one.folder)
    assert snapshot.generation.number == before.number + 1
    verify(snapshot)
    assert not {entry.id for entry in before.segments} & {entry.id for entry in snapshot.generation.segments}


def test_a_swap_is_held_against_the_rest_around_it() -> None:
    def window(p99: float) -> Outcome:
        return Outcome(100, 0, 1.0, 1.0, p99)

    windows = Windows([window(1.0), window(3.0), window(1.0)], [window(4.0), window(2.0)], [window(5.0)], [0.5, 0.7])
    seen = {(one.what, one.column): one for one in publishing.figures(windows)}
    ratio = seen["a generation is taken up", "p99, of that at rest"]
    assert (ratio.least, ratio.most, ratio.rounds) == (1.0, 2.0, 2)
    assert seen["a generation is taken up", "until it answers"].median == pytest.approx(0.6)


def test_growth_is_measured_to_its_end(tmp_path: Path) -> None:
    seen = tmp_path / "seen.jsonl"
    command = [sys.executable, "-m", "benchmarks", "growth", "--dimension", "64", "--sizes", "400", "--starts", "1"]
    command += ["--queries", "8", "--seconds", "0.5", "--keep", str(tmp_path / "stores"), "--figures", str(seen)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    rows = {(row["what"], row["column"]): row for row in map(orjson.loads, seen.read_bytes().splitlines())}
    assert rows["400 vectors, exact: Parecido", "recall"]["median"] == 1
    assert rows["400 vectors", "two workers, of one"]["median"] < 1.5
    assert rows["400 vectors", "start to first answer"]["aim"] is not None


def test_the_machine_is_described() -> None:
    known = machine()
    assert int(known["cores"]) >= 1
    assert known["faiss-cpu"]
    seen = busy(0.1)
    assert seen is None or seen >= 0
