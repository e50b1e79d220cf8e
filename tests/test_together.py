"""Does each of several queries get the answer that it would get alone?

What it gets alone is compared with numpy in `test_search_brute_force`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexes import KINDS, Judge, first_try, members
from support import prepared, publish_items, random_vectors

from indexer import together
from indexer.ann import Kind
from indexer.candidates import Part
from indexer.filters.tree import OneOf
from indexer.search import Asked, nearest
from indexer.segment import Prepared
from indexer.snapshot import Snapshot
from indexer.together import WALKS, nearest_each
from indexer.vectors import normalise, similarity


def published(store: Path, rng: np.random.Generator, sizes: list[int], most: int, different: int) -> Snapshot:
    """Segments of so many items of up to `most` passages, whose vectors are of so many different ones; some deleted."""
    pool = random_vectors(rng, different, 8)
    names = iter(rng.permutation(1000))
    segments: list[list[Prepared]] = [
        [prepared(f"i{next(names)}", pool[rng.integers(different, size=rng.integers(most) + 1)]) for _ in range(size)]
        for size in sizes
    ]
    every = [one.item.id for segment in segments for one in segment]
    return publish_items(store, segments, [id for id in every if rng.random() < rng.choice([0, 0.2, 1])])


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.lists(st.integers(1, 50), min_size=1, max_size=3),
    st.sampled_from([1, 1, 4]),
    st.sampled_from([3, 20, 300]),
)
def test_queries_together_get_what_each_gets_alone(seed: int, sizes: list[int], most: int, different: int) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as store:
        snapshot = published(Path(store), rng, sizes, most, different)
        own = [snapshot.find(f"i{number}") for number in range(1000)]
        found = [one for one in own if one is not None]
        asked = [
            Asked(
                random_vectors(rng, 1 + (at % 9 == 8), 8),
                int(rng.choice([1, 7, 7, 200])),
                exclude=found[at % len(found)] if found and at % 3 == 1 else None,
                filter=OneOf("id", tuple(map("i{}".format, range(300, 1000)))) if at % 4 == 2 else None,
                min_similarity=float(rng.choice([-1.0, 0.4, 0.999])),
                exact=at % 5 == 4,
            )
            for at in range(60)
        ]
        assert nearest_each(snapshot, asked) == [nearest(snapshot, one) for one in asked]


def test_of_no_query_and_of_no_item_nothing_comes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    items = [prepared(f"i{at}", random_vectors(rng, 2, 8)) for at in range(20)]
    snapshot = publish_items(tmp_path, [items], [one.item.id for one in items])
    assert nearest_each(snapshot, []) == []
    assert nearest_each(snapshot, [Asked(random_vectors(rng, 1, 8), 5) for _ in range(3)]) == [[], [], []]


@pytest.mark.parametrize("exclude", [False, True], ids=["all", "but itself"])
def test_none_is_asked_a_second_time_where_the_first_look_suffices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exclude: bool
) -> None:
    rng = np.random.default_rng(2)
    items = [prepared(f"i{at:03d}", random_vectors(rng, 1, 8)) for at in range(300)]
    snapshot = publish_items(tmp_path, [items[:200], items[200:]])
    asked = [Asked(one.vectors, 10, exclude=snapshot.find(one.item.id) if exclude else None) for one in items[::7]]
    expected = [nearest(snapshot, one) for one in asked]
    monkeypatch.setattr(together, "among", lambda *_: pytest.fail("it was asked again"))
    assert nearest_each(snapshot, asked) == expected


def test_what_half_precision_cannot_tell_apart_is_put_in_order_together_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vectors = normalise(1 + 1e-4 * rng.standard_normal((400, 8)))
    snapshot = publish_items(tmp_path, [[prepared(f"i{at:03d}", vectors[at : at + 1]) for at in range(400)]])
    asked = [Asked(random_vectors(rng, 1, 8), 10) for _ in range(20)]
    answers = nearest_each(snapshot, asked)
    for one, hits in zip(asked, answers, strict=True):
        every = sorted((-similarity(one.vectors, vectors)[0]).tolist())
        assert [-hit.similarity for hit in hits] == every[:10]


def test_where_one_segment_gives_too_few_items_others_do_not_stand_in_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index proposes forty passages, which are all of one or two items."""
    first_try("pq", monkeypatch)
    rng = np.random.default_rng(4)
    centres = normalise(1 + 0.3 * rng.standard_normal((30, 32)))
    long = [
        prepared(f"l{at:02d}", normalise(one + 0.01 * rng.standard_normal((60, 32)))) for at, one in enumerate(centres)
    ]
    short = [prepared(f"s{at:03d}", random_vectors(rng, 1, 32)) for at in range(300)]
    snapshot = publish_items(tmp_path, [long, short], recall=0.9)
    assert {entry.index.kind for entry in snapshot.generation.segments if entry.index} == {"pq"}
    for hits in nearest_each(snapshot, [Asked(centres[at : at + 1], 10) for at in range(20)]):
        assert {hit.segment.id(hit.row)[0] for hit in hits} == {"l"}


@pytest.mark.parametrize("most", [1, 3], ids=["one passage", "several"])
@pytest.mark.parametrize("kind", KINDS)
def test_indexes_of_every_kind_give_as_many_together_as_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, most: int
) -> None:
    first_try(kind, monkeypatch)
    rng = np.random.default_rng(6)
    segments = [members(rng, 6000 // most, most), members(rng, 60, most, first=9000)]
    snapshot = publish_items(tmp_path, segments, recall=0.9)
    assert [entry.index.kind for entry in snapshot.generation.segments if entry.index] == [kind, "exact"]
    every = [one for segment in segments for one in segment]
    asked = [
        Asked(one.vectors[:1], 7, exclude=snapshot.find(one.item.id) if at % 2 else None)
        for at, one in enumerate(every[:: len(every) // 20])
    ]
    expected = [nearest(snapshot, one) for one in asked]
    for count in (1, 2, WALKS - 1, WALKS, len(asked)):
        assert nearest_each(snapshot, asked[:count]) == expected[:count]


@pytest.mark.parametrize("kind", KINDS)
def test_where_what_is_nearest_is_all_of_one_item_the_index_is_asked_harder_not_every_passage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    first_try(kind, monkeypatch)
    rng = np.random.default_rng(7)
    centres = random_vectors(rng, 10, 32)
    long = [prepared(f"l{at}", normalise(one + 0.01 * rng.standard_normal((20, 32)))) for at, one in enumerate(centres)]
    items = [*long, *members(rng, 5800)]
    snapshot = publish_items(tmp_path, [items], recall=0.95)
    judge, asked = Judge(items), [Asked(one[None], 5) for one in centres]
    monkeypatch.setattr(Part, "exact", lambda *_: pytest.fail("every passage was compared"))
    pages = [nearest(snapshot, one) for one in asked]
    assert nearest_each(snapshot, asked) == pages
    shares = []
    for at, (one, page) in enumerate(zip(asked, pages, strict=True)):
        best = [id for id, _ in judge.expected(one.vectors, lambda _: True)[:5]]
        found = [hit.segment.id(hit.row) for hit in page]
        assert (found[0], len(set(found))) == (f"l{at}", 5)
        shares.append(len(set(found) & set(best)) / 5)
    assert np.mean(shares) >= 0.9
