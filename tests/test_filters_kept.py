"""Is what passes a filter kept for who sends it again, without anybody being told of other items?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support import prepared, publish_items, random_vectors

from indexer import candidates
from indexer.candidates import FILTERS_KEPT, parts
from indexer.filters import evaluate
from indexer.filters.tree import Compare, Filter, OneOf, Order
from indexer.items import FieldType
from indexer.search import Asked, nearest
from indexer.snapshot import Snapshot

COUNT = 60


def published(store: Path, first: int) -> Snapshot:
    """Items in two segments, whose number counts from `first`."""
    rng = np.random.default_rng(first)
    made = [prepared(f"{i:03d}", random_vectors(rng, 1, 8), {"number": first + i}) for i in range(COUNT)]
    return publish_items(store, [made[:40], made[40:]], schema={"number": FieldType.INTEGER})


def below(number: int) -> Filter:
    return Compare("number", Order.LT, number)


def found(snapshot: Snapshot, filter: Filter) -> set[str]:
    """The ids of all that passes."""
    asked = Asked(np.eye(1, 8, dtype=np.float32), COUNT, filter=filter)
    return {one.segment.id(one.row) for one in nearest(snapshot, asked)}


def ids(numbers: range) -> set[str]:
    return {f"{number:03d}" for number in numbers}


def test_a_filter_that_is_sent_again_is_not_evaluated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = []
    monkeypatch.setattr(candidates.filters, "evaluate", lambda *args: evaluated.append(args[0]) or evaluate(*args))
    snapshot = published(tmp_path, 0)
    for _ in range(3):
        assert found(snapshot, below(7)) == ids(range(7))
        assert found(snapshot, OneOf("number", (3, 50))) == {"003", "050"}
    assert len(evaluated) == 2 * len(snapshot.segments)


def test_what_passes_is_that_of_the_snapshot_which_is_asked(tmp_path: Path) -> None:
    older, newer = published(tmp_path / "older", 0), published(tmp_path / "newer", 30)
    for _ in range(2):
        assert found(older, below(33)) == ids(range(33))
        assert found(newer, below(33)) == ids(range(3))


def test_only_so_many_filters_are_kept(tmp_path: Path) -> None:
    snapshot = published(tmp_path, 0)
    first = parts(snapshot, below(1))
    assert parts(snapshot, below(1)) is first
    for number in range(2, FILTERS_KEPT + 2):
        assert found(snapshot, below(number)) == ids(range(number))
    assert parts(snapshot, below(1)) is not first
    assert found(snapshot, below(1)) == {"000"}


def test_threads_that_ask_with_many_filters_at_once_get_their_own_items(tmp_path: Path) -> None:
    snapshot = published(tmp_path, 0)
    numbers = [turn % (2 * FILTERS_KEPT) for turn in range(400)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: found(snapshot, below(number)), numbers))
    assert answers == [ids(range(number)) for number in numbers]
