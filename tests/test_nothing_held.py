"""Is what was handed over let go of, so that a run holds one window of items at a time?"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from service_support import until
from support import prepared, random_vectors

from indexer import content, windows, writing
from indexer.changes import Pending
from indexer.chunking import Chunker, Span
from indexer.errors import SourceError
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


def gone(batch: weakref.ref[Batch]) -> bool:
    gc.collect()
    return batch() is None


def batches(count: int) -> Iterator[list[Prepared]]:
    """Some batches of ten, each made when the one before is not there any more, without the next being asked for."""
    last: weakref.ref[Batch] | None = None
    for number in range(count):
        until(lambda last=last: last is None or gone(last), "a batch is let go of")
        vectors = random_vectors(np.random.default_rng(number), 10, 8)
        made = [Batch(prepared(f"{number}-{at}", vectors[at : at + 1]) for at in range(10))]
        last = weakref.ref(made[0])
        yield made.pop()


@pytest.mark.parametrize("most", [10, 25, 1000])
def test_a_batch_that_is_written_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(writing, "SEGMENT_BYTES", most * 4 * 8)
    folder, scratch = collection_folder(tmp_path, "c"), tmp_path / "scratch"
    folder.segments.mkdir(parents=True)
    scratch.mkdir()
    timed = content._timed(Stopwatch(), "embed", batches(6))
    entries = write_segments(timed, SegmentShape(1, {}, 8, store_text=True), scratch, folder, Stopwatch())
    assert sum(entry.items for entry in entries) == 60


def items(count: int) -> Iterator[Pending]:
    """So many, which can be told from others by their place."""
    return (Pending(Item(str(at), f"text {at}", {}), None, Place(__file__, at)) for at in range(count))


def held() -> int:
    """How many of them there are."""
    gc.collect()
    return sum(type(one) is Pending and one.place.file == __file__ for one in gc.get_objects())


def test_a_window_that_was_handed_over_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_ITEMS", 4)
    chunker: Chunker = Whole()  # type: ignore[assignment]
    made, sizes = windows.windows(items(10), "", chunker), []
    while (window := next(made, None)) is not None:
        sizes.append(len(window.items))
        window = None
        assert held() == 0
    assert sizes == [4, 4, 2]


def test_the_next_window_is_made_while_one_is_used_and_no_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_ITEMS", 4)
    chunker: Chunker = Whole()  # type: ignore[assignment]
    taken, sizes = list[int](), []
    source = (item for item in items(18) if taken.append(item.place.line) is None)
    made = windows.windows_ahead(source, "", chunker)
    while (window := next(made, None)) is not None:
        sizes.append(len(window.items))
        wanted = min(18, 4 * (len(sizes) + 1))
        until(lambda wanted=wanted: len(taken) >= wanted, "the next window")  # nobody asks for it
        assert len(taken) == wanted
        window = None
        until(lambda: held() <= 4, "the window before is let go of")
    assert sizes == [4, 4, 4, 4, 2]


def test_making_windows_ends_with_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_ITEMS", 4)
    begun, go_on, taken = threading.Event(), threading.Event(), list[int]()

    def source() -> Iterator[Pending]:
        for item in items(1_000_000):
            if len(taken) == 5:
                begun.set()
                assert go_on.wait(60)
            taken.append(item.place.line)
            yield item

    chunker: Chunker = Whole()  # type: ignore[assignment]
    made = windows.windows_ahead(source(), "", chunker)
    next(made)
    assert begun.wait(60)
    threading.Timer(0.2, go_on.set).start()
    made.close()  # waits for the item that is being read
    assert len(taken) == 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("windows")]


def test_what_is_raised_where_windows_are_made_reaches_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_ITEMS", 4)

    def source() -> Iterator[Pending]:
        yield from items(6)
        raise SourceError("the source is cut")

    chunker: Chunker = Whole()  # type: ignore[assignment]
    made = windows.windows_ahead(source(), "", chunker)
    assert len(next(made).items) == 4
    with pytest.raises(SourceError, match="the source is cut"):
        next(made)
