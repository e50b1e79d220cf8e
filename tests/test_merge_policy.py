"""Which segments are folded, and does their number stay small while little is copied?

The policy is pure: it is tabulated, and then asked for thousands of runs of every kind without a store.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from indexer.merge import FLOOR, RATIO, SMALL, Size, plan_merge

FULL = 699_050
"""Passages of 384 dimensions in a segment that is full."""
EARLIER = 174_762
"""In one of an earlier version."""

DELETED = "{gone:,} of its {all:,} passages are deleted or replaced"


def size(id: str, live: int, passages: int | None = None) -> Size:
    return Size(id, live if passages is None else passages, live)


TABLE: list[tuple[str, list[Size], int, list[tuple[str, str]]]] = [
    ("nothing is published", [], 5, []),
    ("nothing is new and nothing is hollow", [size("a", 50_000)], 0, []),
    ("one small segment and nothing new", [size("a", 7)], 0, []),
    ("one small segment and one new passage", [size("a", 7)], 1, [("a", "it has only 7 passages")]),
    (
        "two small segments and nothing new",
        [size("a", 9), size("b", 7)],
        0,
        [
            ("b", "its 7 passages are few beside the 9 written with them"),
            ("a", "its 9 passages are few beside the 7 written with them"),
        ],
    ),
    ("at the floor", [size("a", RATIO * FLOOR)], 1, [("a", "it has only 2,048 passages")]),
    ("above the floor", [size("a", RATIO * FLOOR + 1)], 1, []),
    (
        "as many as twice what comes",
        [size("a", 20_000)],
        10_000,
        [("a", "its 20,000 passages are few beside the 10,000 written with them")],
    ),
    ("more than twice what comes", [size("a", 20_001)], 10_000, []),
    (
        "what is folded makes more foldable",
        [size("c", 60_000), size("a", 2_000), size("b", 6_000)],
        1_000,
        [
            ("a", "its 2,000 passages are few beside the 7,000 written with them"),
            ("b", "its 6,000 passages are few beside the 3,000 written with them"),
        ],
    ),
    (
        "equal ones that one run alone would leave",
        [size("a", 2_100), size("b", 2_100)],
        1,
        [
            ("a", "its 2,100 passages are few beside the 2,101 written with them"),
            ("b", "its 2,100 passages are few beside the 2,101 written with them"),
        ],
    ),
    ("half of a full one", [size("a", FULL // 2)], FULL, []),
    (
        "a little less than half of a full one",
        [size("a", FULL // 2 - 1)],
        FULL // 2 - 1,
        [("a", "its 349,524 passages are few beside the 349,524 written with them")],
    ),
    ("a little less than half of one beside what makes a segment anyway", [size("a", FULL // 2 - 1)], FULL // 2, []),
    (
        "a small one beside what makes a segment anyway",
        [size("a", 50_000)],
        FULL,
        [("a", "its 50,000 passages are few beside the 699,050 written with them")],
    ),
    ("full ones of an earlier version", [size(f"{n}", EARLIER) for n in range(8)], 100, []),
    (
        "full ones of an earlier version and others that are nearly so many together",
        [size("a", EARLIER), size("b", EARLIER), size("c", 80_000), size("d", 30_000), size("e", 900)],
        100,
        [("e", "it has only 900 passages")],
    ),
    (
        "full ones of an earlier version beside half as much, no more of them than make a segment",
        [size(name, EARLIER) for name in "abcd"],
        EARLIER // 2,
        [
            ("a", "its 174,762 passages are few beside the 262,143 written with them"),
            ("b", "its 174,762 passages are few beside the 262,143 written with them"),
        ],
    ),
    ("an eighth deleted", [size("a", 140_000, 160_000)], 0, []),
    (
        "more than an eighth deleted",
        [size("a", 139_999, 160_000)],
        0,
        [("a", "20,001 of its 160,000 passages are deleted or replaced")],
    ),
    (
        "a hollow one beside a small one and a large one",
        [size("large", 30_000), size("small", 4_000), size("hollow", 3_000, 9_000)],
        0,
        [
            ("hollow", "6,000 of its 9,000 passages are deleted or replaced"),
            ("small", "its 4,000 passages are few beside the 3,000 written with them"),
        ],
    ),
    (
        "one with nothing left in it",
        [size("a", 50_000), size("empty", 0, 7)],
        0,
        [("empty", "none of its 7 passages is in use any more")],
    ),
    (
        "one with nothing left in it and a small one, which has nobody to join",
        [size("small", 9), size("empty", 0, 7)],
        0,
        [("empty", "none of its 7 passages is in use any more")],
    ),
    (
        "hollow ones by themselves",
        [size("b", 5, 15), size("a", 2, 4)],
        0,
        [("a", DELETED.format(gone=2, all=4)), ("b", DELETED.format(gone=10, all=15))],
    ),
]


@pytest.mark.parametrize(("segments", "incoming", "expected"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE])
def test_what_is_folded_and_why(segments: list[Size], incoming: int, expected: list[tuple[str, str]]) -> None:
    folds = plan_merge(segments, incoming, FULL)
    assert [(fold.segment, fold.reason) for fold in folds] == expected
    live = {segment.id: segment.live for segment in segments}
    assert [fold.passages for fold in folds] == [live[fold.segment] for fold in folds]


def test_the_order_of_the_segments_decides_nothing() -> None:
    segments = [size("a", 9_000), size("b", 400, 1_000), size("c", 2_300), size("d", 70_000), size("e", 12)]
    expected = plan_merge(segments, 100, FULL)
    for seed in range(5):
        shuffled = random.Random(seed).sample(segments, len(segments))
        assert plan_merge(shuffled, 100, FULL) == expected


class Collection:
    """The sizes of a collection's segments, run by run."""

    def __init__(self, first: int, hand: random.Random) -> None:
        self._hand, self._next = hand, 0
        self.segments: list[Size] = []
        self.copied = self.written = self.most = 0
        self._write(first)

    def _write(self, passages: int) -> None:
        """As `write_segments` does: full segments, and one with the rest."""
        while passages > 0:
            self.segments.append(size(f"s{self._next}", min(passages, FULL)))
            self._next, passages = self._next + 1, passages - FULL

    def run(self, added: int, deleted: int, estimated: int) -> None:
        """A run that adds and deletes so many passages, the deleted ones anywhere."""
        total = sum(s.live for s in self.segments)
        survivors = [replace(s, live=s.live - min(s.live, round(deleted * s.live / total))) for s in self.segments]
        survivors = [s for s in survivors if s.live]
        folds = plan_merge(survivors, estimated, FULL)
        folded = {fold.segment for fold in folds}
        self.segments = [s for s in survivors if s.id not in folded]
        self.copied += sum(fold.passages for fold in folds)
        self.written += added
        self._write(added + sum(fold.passages for fold in folds))
        self.most = max(self.most, len(self.segments))


def few(hand: random.Random) -> tuple[int, int, int]:
    return hand.randrange(1, 20), hand.randrange(5), 10


def hundreds(hand: random.Random) -> tuple[int, int, int]:
    return (added := hand.randrange(100, 1_000)), hand.randrange(100), added


def books(hand: random.Random) -> tuple[int, int, int]:
    """Long texts in a collection of short ones: many more passages than expected."""
    return hand.randrange(2_050, 2_400), 0, 1


def everything_turned_over(hand: random.Random) -> tuple[int, int, int]:
    return (added := hand.randrange(500)), added, added


def only_deletions(hand: random.Random) -> tuple[int, int, int]:
    return 0, hand.randrange(50), 0


@pytest.mark.parametrize("kind", [few, hundreds, books, everything_turned_over, only_deletions])
@pytest.mark.parametrize("first", [1, 100_000])
def test_after_a_thousand_runs_of_any_kind_the_segments_are_few_and_little_was_copied(
    kind: Callable[[random.Random], tuple[int, int, int]], first: int
) -> None:
    hand = random.Random(first)
    collection = Collection(first, hand)
    for _ in range(1_000):
        if not collection.segments:
            break
        collection.run(*kind(hand))
    held = sum(s.passages for s in collection.segments)
    full = held // (FULL // 2)
    assert collection.most <= 12 + full
    # What each run copies: the floor at most, and each passage that was added once for each size it grew through.
    assert collection.copied <= 1_000 * (RATIO + 1) * FLOOR + 12 * (collection.written + first)


@pytest.mark.parametrize("count", [4, 40])
def test_a_collection_of_an_earlier_version_is_folded_little_by_little(count: int) -> None:
    """No run copies more than makes one segment, few copy large ones at all, and in the end hardly any is left."""
    collection = Collection(0, random.Random(0))
    collection.segments = [size(f"old{n}", EARLIER) for n in range(count)]
    large, most = [], 0
    for run in range(2_000):
        before = collection.copied
        collection.run(200, 0, 200)
        most = max(most, collection.copied - before)
        if collection.copied - before >= EARLIER:
            large.append(run)
    assert most <= FULL
    assert large[0] >= EARLIER / 2 / 200 - FLOOR / 200
    assert len(large) <= 2_000 * 200 / (EARLIER / 4)
    assert sum(s.id.startswith("old") for s in collection.segments) <= count - min(count, 2 * len(large))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_is_more_than_twice_as_large_as_all_that_is_smaller(seed: int) -> None:
    hand = random.Random(seed)
    segments = [
        size(f"s{n}", live := hand.randrange(1, 90_000), live + hand.randrange(live)) for n in range(hand.randrange(20))
    ]
    incoming = hand.choice([1, 50, 5_000])
    folded = {fold.segment for fold in plan_merge(segments, incoming, FULL)}
    written = incoming + sum(s.live for s in segments if s.id in folded)
    for s in sorted((s for s in segments if s.id not in folded and s.live < SMALL * FULL), key=lambda s: s.live):
        assert s.live > RATIO * max(written, FLOOR)
        written += s.live
