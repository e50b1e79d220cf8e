"""Is what passes a filter kept for who sends it again, without anybody being told of other items?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support import prepared, publish_items, random_vectors

from indexer import ann
from indexer import parts as parts_of
from indexer.filters import evaluate
from indexer.filters.tree import Compare, Filter, OneOf, Order
from indexer.items import FieldType
from indexer.parts import FILTERS_KEPT, parts
from indexer.search import Asked, nearest
from indexer.snapshot import Snapshot
from indexer.together import nearest_each
from indexer.vectors import Rows, Vectors, similarity

COUNT = 60
SEGMENTS = (0, 200), (200, 250)
"""The numbers of those that pass below, in each segment."""


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
    monkeypatch.setattr(parts_of.filters, "evaluate", lambda *args: evaluated.append(args[0]) or evaluate(*args))
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


def test_the_one_that_was_sent_longest_ago_goes_first(tmp_path: Path) -> None:
    snapshot = published(tmp_path, 0)
    first, second = (parts(snapshot, below(number)) for number in (1, 2))
    for number in range(3, FILTERS_KEPT + 1):
        parts(snapshot, below(number))
    assert parts(snapshot, below(1)) is first
    parts(snapshot, below(FILTERS_KEPT + 1))
    assert parts(snapshot, below(1)) is first
    assert parts(snapshot, below(2)) is not second


def test_threads_that_ask_with_many_filters_at_once_get_their_own_items(tmp_path: Path) -> None:
    snapshot = published(tmp_path, 0)
    numbers = [turn % (2 * FILTERS_KEPT) for turn in range(400)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: found(snapshot, below(number)), numbers))
    assert answers == [ids(range(number)) for number in numbers]


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many passages codes were kept of, each time."""
    seen: list[int] = []
    gather = ann.gathered

    def noted(vectors: Vectors, rows: Rows) -> ann.AnnIndex:
        seen.append(len(rows))
        return gather(vectors, rows)

    monkeypatch.setattr(ann, "gathered", noted)
    return seen


def several_passages(store: Path) -> tuple[Snapshot, dict[str, Vectors]]:
    """Items of one to three passages in two segments, some deleted; and the vectors of those that are left."""
    rng = np.random.default_rng(3)
    made = [prepared(f"{i:03d}", random_vectors(rng, 1 + i % 3, 32), {"number": i}) for i in range(300)]
    deleted = [one.item.id for one in made[::7]]
    snapshot = publish_items(store, [made[:200], made[200:]], deleted, schema={"number": FieldType.INTEGER})
    return snapshot, {one.item.id: one.vectors for one in made if one.item.id not in deleted}


def right(vectors: dict[str, Vectors], query: Vectors, below: int, count: int) -> list[tuple[str, float]]:
    """The nearest by numpy, ties by id."""
    scores = [(id, float(similarity(query, own).max())) for id, own in vectors.items() if int(id) < below]
    return sorted(scores, key=lambda one: (-one[1], one[0]))[:count]


@pytest.mark.parametrize("together", [False, True])
def test_codes_of_what_passes_are_kept_once_somebody_asks_again(
    tmp_path: Path, gathered: list[int], together: bool
) -> None:
    snapshot, vectors = several_passages(tmp_path)
    rng = np.random.default_rng(4)
    for turn in range(4):
        asked = [Asked(random_vectors(rng, 1, 32), count, filter=below(250)) for count in (1, 10, 10, 300)]
        found = nearest_each(snapshot, asked) if together else [nearest(snapshot, one) for one in asked[turn:]]
        for one, answer in zip(asked if together else asked[turn:], found, strict=True):
            hits = [(hit.segment.id(hit.row), hit.similarity) for hit in answer]
            assert hits == right(vectors, one.vectors, 250, one.count)
    left = [sum(len(own) for id, own in vectors.items() if start <= int(id) < end) for start, end in SEGMENTS]
    assert gathered == left


def test_no_more_codes_are_kept_than_there_is_room_for(
    tmp_path: Path, gathered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, vectors = several_passages(tmp_path)
    first, _ = parts(snapshot, below(249))
    monkeypatch.setattr(parts_of, "KEPT_BYTES", first.code_bytes - 1)
    query = random_vectors(np.random.default_rng(1), 1, 32)
    for _ in range(3):
        found = nearest(snapshot, Asked(query, 10, filter=below(250)))
        assert [hit.similarity for hit in found] == [score for _, score in right(vectors, query, 250, 10)]
    assert gathered == [sum(len(own) for id, own in vectors.items() if 200 <= int(id) < 250)]
    assert [part.may_keep for part in parts(snapshot, None)] == [False, False]


def test_the_room_is_for_all_segments_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, _ = several_passages(tmp_path)
    first, second = parts(snapshot, below(249))
    for room, kept in ((-1, [True, False]), (0, [True, True])):
        monkeypatch.setattr(parts_of, "KEPT_BYTES", first.code_bytes + second.code_bytes + room)
        snapshot.kept.clear()
        assert [part.may_keep for part in parts(snapshot, below(249))] == kept
