"""Are kept hits written to the byte as they stand in the store, and is what they take bounded?"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from support import STATM, own_memory, prepared, publish_items, random_vectors

from indexer import hits
from indexer.answers import Include
from indexer.items import FieldType
from indexer.search import Asked, Scored, nearest
from indexer.snapshot import Snapshot
from service import shown
from service.shown import LARGE, Shown

QUERIES = random_vectors(np.random.default_rng(3), 2, 8)
SCHEMA = {
    "kind": FieldType.STRING,
    "n": FieldType.INTEGER,
    "share": FieldType.FLOAT,
    "day": FieldType.DATETIME,
    "tags": FieldType.STRINGS,
    "fresh": FieldType.BOOLEAN,
    "note": FieldType.STRING,
}
METADATA: list[dict[str, Any]] = [
    {"kind": 'a "quoted"\nline', "n": 2**53 + 1, "share": 1e-7, "day": datetime(2024, 2, 29, 1, 2, 3, 4, UTC)},
    {"tags": ["ü", ""], "fresh": False, "share": 1e22, "n": -0},
    {},
]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Two segments of thirty items with up to three passages."""
    rng = np.random.default_rng(1)
    items = [prepared(f"id {i} …", random_vectors(rng, 1 + i % 3, 8), METADATA[i % 3]) for i in range(60)]
    return publish_items(tmp_path_factory.mktemp("shown"), [items[:30], items[30:]], schema=SCHEMA)


def scored(snapshot: Snapshot, query: int = 0, count: int = 60) -> Sequence[Scored]:
    return nearest(snapshot, Asked(QUERIES[query : query + 1], count))


def as_they_stand(found: Sequence[Scored], include: Sequence[Include] = ("metadata",)) -> bytes:
    return orjson.dumps(hits.show(found, include, QUERIES[:1]))


def kept(shown: Shown, found: Sequence[Scored], include: Sequence[Include] = ("metadata",)) -> bytes:
    return orjson.dumps(shown.page(found, include, QUERIES[:1]))


@pytest.mark.parametrize(
    "include",
    [[], ["metadata"], ["text"], ["text", "metadata"], ["metadata", "text"], ["passages"], ["vector", "metadata"]],
    ids=str,
)
def test_what_is_shown_again_is_written_as_it_stands_in_the_store(snapshot: Snapshot, include: list[Include]) -> None:
    own, found = Shown(), scored(snapshot)
    assert {len(one.segment.passages_of(one.row)) for one in found} == {1, 2, 3}
    for _ in range(3):
        assert kept(own, found, include) == as_they_stand(found, include)


def test_each_query_and_each_way_of_showing_gets_its_own(snapshot: Snapshot) -> None:
    own, includes = Shown(), ([], ["text"], ["metadata"])
    for query in (0, 1, 0):
        for include in includes:
            found = scored(snapshot, query)
            assert kept(own, found, include) == as_they_stand(found, include)  # type: ignore[arg-type]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Scored]:
    """Which hits are read from the store."""
    seen: list[Scored] = []

    def show(scored: Sequence[Scored], *rest: Any) -> list[Any]:
        seen.extend(scored)
        return real(scored, *rest)

    real = hits.show
    monkeypatch.setattr(shown.hits, "show", show)
    return seen


def test_a_hit_is_read_twice_and_then_kept_until_others_take_its_place(snapshot: Snapshot, read: list[Scored]) -> None:
    found, own = scored(snapshot), Shown()
    for _ in range(4):
        kept(own, found)
    assert read == [*found, *found]
    small = Shown(6_000)
    read.clear()
    for one in found:
        for _ in range(3):
            kept(small, [one])
            kept(small, found[:1])  # what is asked for stays
    assert [read.count(one) for one in found] == [2] * len(found)
    kept(small, found[1:2])
    assert read.count(found[1]) == 3


def test_what_is_kept_stays_within_its_bound(snapshot: Snapshot) -> None:
    own, found = Shown(20_000), scored(snapshot)
    for turn in range(200):
        kept(own, found[turn % 7 : turn % 60])
        assert sum(size for half in (own._young, own._old) for _, size in half.values()) <= 20_000 + LARGE


@pytest.mark.skipif(not STATM.exists(), reason="the system does not tell how much memory there is")
def test_what_is_kept_takes_about_the_memory_that_it_is_counted_with(tmp_path: Path) -> None:
    vectors = random_vectors(np.random.default_rng(5), 4000, 8)
    items = [prepared(f"i{at}", vectors[at : at + 1], {"note": f"note {at}"}) for at in range(4000)]
    snapshot = publish_items(tmp_path, [items], schema=SCHEMA)
    found, own, include = scored(snapshot, count=4000), Shown(), ("metadata", "text")
    as_they_stand(found, include)  # so that what is read is in memory already
    before = own_memory()
    for _ in range(2):
        for at in range(0, 4000, 100):
            kept(own, found[at : at + 100], include)
    assert len(own._young) == 4000
    assert own_memory() - before < 4 * sum(size for _, size in own._young.values())


def test_a_large_hit_is_not_kept_and_shown_all_the_same(tmp_path: Path, read: list[Scored]) -> None:
    vectors = random_vectors(np.random.default_rng(4), 1, 8)
    items = [prepared("large", vectors, {"note": "x" * LARGE}), prepared("b", vectors)]
    snapshot = publish_items(tmp_path, [items], schema=SCHEMA)
    own, found = Shown(), scored(snapshot)
    for _ in range(4):
        assert orjson.loads(kept(own, found))[1]["metadata"] == {"note": "x" * LARGE}
    assert [one.segment.id(one.row) for one in read] == ["b", "large"] * 2 + ["large"] * 2


def test_threads_that_show_at_once_show_the_same(snapshot: Snapshot) -> None:
    own, wrong = Shown(15_000), list[int]()
    pages = [(page, as_they_stand(page)) for page in (scored(snapshot, at % 2)[at : at + 20] for at in range(40))]

    def show(first: int) -> None:
        for turn in range(400):
            page, expected = pages[(first + turn) % 40]
            if kept(own, page) != expected:
                wrong.append(first)

    threads = [threading.Thread(target=show, args=(first,)) for first in range(0, 40, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
