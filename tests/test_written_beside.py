"""Is a batch written while the next is made, one and no more, and does what goes wrong in either reach the run?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from service_support import until
from support import prepared, random_vectors

from indexer import writing
from indexer.errors import SourceError, StorageError
from indexer.report import Stopwatch
from indexer.segment import VECTORS, Prepared, SegmentEntry
from indexer.storage import OutputFile, collection_folder
from indexer.writing import Rows, SegmentShape, write_segments

Batches = Generator[list[Prepared] | Rows]


def batch(number: int) -> list[Prepared]:
    vectors = random_vectors(np.random.default_rng(number), 10, 8)
    return [prepared(f"{number}-{at}", vectors[at : at + 1]) for at in range(10)]


class Writing:
    """Writes batches, and knows how many; each waits until it may begin."""

    def __init__(self, place: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.scratch = collection_folder(place, "c"), place / "scratch"
        self.folder.segments.mkdir(parents=True)
        self.scratch.mkdir()
        self.done = 0
        self.may_begin: Callable[[], object] = lambda: None
        self.watch = Stopwatch()
        add = writing.SegmentWriter.add

        def adding(writer: writing.SegmentWriter, batch: list[Prepared]) -> None:
            self.may_begin()
            add(writer, batch)
            self.done += 1

        patch.setattr(writing.SegmentWriter, "add", adding)

    def write(self, batches: Batches) -> list[SegmentEntry]:
        return write_segments(batches, SegmentShape(1, {}, 8, store_text=True), self.scratch, self.folder, self.watch)


@pytest.fixture
def writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writing:
    return Writing(tmp_path, monkeypatch)


def no_thread() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("writing")]


def test_a_batch_is_written_while_the_next_is_made_and_no_more_are_made(writes: Writing) -> None:
    asked, written = threading.Semaphore(0), list[int]()

    def made() -> Batches:
        for number in range(5):
            written.append(writes.done)
            if number:
                asked.release()
            yield batch(number)
        asked.release()

    def until_the_next_is_asked_for() -> None:
        assert asked.acquire(timeout=60)

    writes.may_begin = until_the_next_is_asked_for
    (entry,) = writes.write(made())
    assert entry.items == 50
    assert written == [0, 0, 1, 2, 3]
    assert no_thread()


def test_only_what_is_waited_for_counts_as_writing(writes: Writing) -> None:
    """Other stages are counted meanwhile, and all of them come to no more than the run took."""
    slept = 0.2
    writes.may_begin = lambda: time.sleep(slept)

    def made() -> Batches:
        for number in range(3):
            yield batch(number)
            with writes.watch.stage("embed"):
                until(lambda number=number: writes.done > number, "it is written")

    writes.write(made())
    assert writes.watch.seconds["embed"] >= 3 * slept
    assert sum(writes.watch.seconds.values()) <= writes.watch.totals()["total"] + 0.01


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_disk_that_refuses_a_batch_ends_the_run_and_whatever_makes_batches(
    writes: Writing, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    write, made_of, ended = OutputFile.write, list[int](), threading.Event()

    def refusing(file: OutputFile, data: Any) -> int:
        if file.path.name == VECTORS and writes.done == which:
            raise StorageError("the disk is full")
        return write(file, data)

    def made() -> Batches:
        try:
            for number in range(3):
                made_of.append(number)
                yield batch(number)
        finally:
            ended.set()

    monkeypatch.setattr(OutputFile, "write", refusing)
    with pytest.raises(StorageError, match="the disk is full"):
        writes.write(made())
    assert ended.is_set()
    assert made_of == [0, 1, 2][: which + 2]
    assert no_thread()
    assert not list(writes.folder.segments.iterdir())


def test_what_is_raised_while_a_batch_is_written_waits_for_it(writes: Writing) -> None:
    begun, failing = threading.Event(), threading.Event()

    def until_the_source_has_failed() -> None:
        begun.set()
        assert failing.wait(60)
        time.sleep(0.2)  # so that files would be closed by now, had nobody waited

    def made() -> Batches:
        yield batch(0)
        assert begun.wait(60)
        failing.set()
        raise SourceError("the source is cut")

    writes.may_begin = until_the_source_has_failed
    with pytest.raises(SourceError, match="the source is cut"):
        writes.write(made())
    assert writes.done == 1
    assert no_thread()


@pytest.mark.parametrize(("most", "sizes"), [(10, [10] * 5), (25, [30, 20]), (1000, [50])])
def test_segments_are_closed_where_they_are_full(
    writes: Writing, monkeypatch: pytest.MonkeyPatch, most: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(writing, "SEGMENT_BYTES", most * 4 * 8)
    vectors = np.concatenate([p.vectors for number in range(5) for p in batch(number)])
    entries = writes.write(batch(number) for number in range(5))
    assert [entry.items for entry in entries] == sizes
    on_disk = [(writes.folder.segments / entry.id / VECTORS).read_bytes() for entry in entries]
    assert b"".join(on_disk) == vectors.astype("<f4").tobytes()
