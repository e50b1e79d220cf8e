"""Is what was handed over let go of, so that a run holds one window of items at a time?"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import prepared, random_vectors

from indexer import content, windows, writing
from indexer.changes import Pending
from indexer.chunking import Chunker, Span
from indexer.items import Item, Place
from indexer.report import Stopwatch
from indexer.segment import Prepared
from indexer.storage import collection_folder
from indexer.writing import SegmentShape, write_segments


class Batch(list[Prepared]):
    """A list of which one can tell whether it is still held."""


class Whole:
    """Takes each text as one passage."""

    def split(self, text: str) -> list[Span]:
        return [Span(0, len(text), 1)]


def batches(count: int, seen: list[bool]) -> Iterator[list[Prepared]]:
    """Some batches of ten; notes of each but the last whether it is still there when the next is wanted."""
    last: weakref.ref[Batch] | None = None
    for number in range(count):
        if last is not None:
            gc.collect()
            seen.append(last() is not None)
        vectors = random_vectors(np.random.default_rng(number), 10, 8)
        made = [Batch(prepared(f"{number}-{at}", vectors[at : at + 1]) for at in range(10))]
        last = weakref.ref(made[0])
        yield made.pop()


@pytest.mark.parametrize("most", [10, 25, 1000])
def test_a_batch_that_is_written_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(writing, "SEGMENT_BYTES", most * 4 * 8)
    folder, scratch, seen = collection_folder(tmp_path, "c"), tmp_path / "scratch", list[bool]()
    folder.segments.mkdir(parents=True)
    scratch.mkdir()
    timed = content._timed(Stopwatch(), "embed", batches(6, seen))
    entries = write_segments(timed, SegmentShape(1, {}, 8, store_text=True), scratch, folder, Stopwatch())
    assert sum(entry.items for entry in entries) == 60
    assert seen == [False] * 5


def test_a_window_that_was_handed_over_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_ITEMS", 4)
    chunker: Chunker = Whole()  # type: ignore[assignment]
    pending = (Pending(Item(str(at), f"text {at}", {}), None, Place(__file__, at)) for at in range(10))
    made, sizes = windows.windows(pending, "", chunker), []
    while (window := next(made, None)) is not None:
        sizes.append(len(window.items))
        window = None
        gc.collect()
        assert not [one for one in gc.get_objects() if type(one) is Pending and one.place.file == __file__]
    assert sizes == [4, 4, 2]
