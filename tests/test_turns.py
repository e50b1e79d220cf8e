"""Are searches that come in together made together, each with its own answer, and no others?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import prepared, publish_items, random_vectors

from indexer import queries
from indexer.errors import CorruptGeneration
from indexer.items import FieldType
from indexer.queries import Query, Resolved
from indexer.search import Asked, Scored, nearest
from indexer.snapshot import Snapshot
from service.pace import Pace
from service.turns import SOME, Turns

COUNT = 200
SCHEMA = {"number": FieldType.INTEGER}


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Items in two segments, some of several passages, with a number each."""
    rng = np.random.default_rng(5)
    items = [prepared(f"{i:03d}", random_vectors(rng, 1 + i % 3, 16), {"number": i}) for i in range(COUNT)]
    return publish_items(tmp_path, [items[:150], items[150:]], schema=SCHEMA)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many searches were made together, each time."""
    seen: list[int] = []
    find_each: Callable[..., Any] = queries.find_each

    def noted(snapshot: Snapshot, resolved: Sequence[Resolved]) -> Any:
        seen.append(len(resolved))
        return find_each(snapshot, resolved)

    monkeypatch.setattr(queries, "find_each", noted)
    return seen


def resolved(snapshot: Snapshot, seed: int, limit: int = 10, below: int | None = None) -> Resolved:
    vector = random_vectors(np.random.default_rng(seed), 1, 16)[0].tolist()
    filter = None if below is None else {"number": {"$lt": below}}
    return queries.resolve(snapshot, Query(vector=vector, limit=limit, filter=filter))


def alone(snapshot: Snapshot, one: Resolved) -> list[Scored]:
    return nearest(snapshot, Asked(one.vectors, one.query.limit, one.filter))


def found_together(turns: Turns, *asked: tuple[Any, Resolved, Pace]) -> list[Any]:
    async def run() -> list[Any]:
        return await asyncio.gather(*(turns.find(*one) for one in asked), return_exceptions=True)

    return asyncio.run(run())


def test_what_comes_together_is_made_by_collection_and_filter_and_each_gets_its_own_answer(
    snapshot: Snapshot, groups: list[int]
) -> None:
    here, there = SimpleNamespace(snapshot=snapshot), SimpleNamespace(snapshot=snapshot)
    plain = [resolved(snapshot, seed, limit) for seed, limit in enumerate([10, 10, 3, 100])]
    filtered = [resolved(snapshot, seed, below=90) for seed in (1, 2)]
    other = [resolved(snapshot, 9, below=40)]
    asked = [(here, one, Pace()) for one in [*plain, *filtered, *other]] + [(there, plain[0], Pace())]
    for _ in range(2):
        found = found_together(Turns(), *asked)
        assert found == [alone(snapshot, one) for _, one, _ in asked]
    assert groups == [4, 2, 1, 1] * 2
    assert all(pace.seconds < 60 for _, _, pace in asked)


def test_one_that_is_alone_waits_for_nobody(snapshot: Snapshot, groups: list[int]) -> None:
    turns, served, one = Turns(), SimpleNamespace(snapshot=snapshot), resolved(snapshot, 1)
    for _ in range(3):
        assert found_together(turns, (served, one, Pace())) == [alone(snapshot, one)]
    assert groups == [1, 1, 1]


def waits(turns: Turns, *asked: Any) -> bool:
    """Whether a search that is alone gives others a turn of the loop to come."""
    finding = turns.find(*asked)
    for waited in (False, True):
        try:
            finding.send(None)
        except StopIteration:
            return waited
    raise AssertionError("it waits more than once")


def test_after_some_that_had_no_company_two_in_so_many_wait_for_it(snapshot: Snapshot) -> None:
    turns, asked = Turns(), (SimpleNamespace(snapshot=snapshot), resolved(snapshot, 1), Pace())
    assert all(waits(turns, *asked) for _ in range(SOME))
    assert sum(waits(turns, *asked) for _ in range(3 * SOME)) == 6


@pytest.mark.parametrize("together", range(2, 9))
def test_what_comes_together_after_a_lonely_time_is_soon_made_together_again(
    snapshot: Snapshot, groups: list[int], together: int
) -> None:
    turns, served = Turns(), SimpleNamespace(snapshot=snapshot)
    asked = [(served, resolved(snapshot, seed), Pace()) for seed in range(together)]
    while waits(turns, *asked[0]):
        pass
    groups.clear()
    for _ in range(SOME):
        assert found_together(turns, *asked) == [alone(snapshot, one) for _, one, _ in asked]
    single = groups.index(together)
    assert 0 < single <= SOME
    assert set(groups[single:]) == {together}


def test_one_that_is_given_up_keeps_no_other_from_its_answer(snapshot: Snapshot) -> None:
    turns, served, one = Turns(), SimpleNamespace(snapshot=snapshot), resolved(snapshot, 1)

    async def run() -> list[Any]:
        first, second = (asyncio.create_task(turns.find(served, one, Pace())) for _ in range(2))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        first.cancel()
        return await asyncio.gather(first, second, return_exceptions=True)

    given_up, answered = asyncio.run(run())
    assert isinstance(given_up, asyncio.CancelledError)
    assert answered == alone(snapshot, one)


def test_what_goes_wrong_is_told_to_each_whom_it_concerns(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = SimpleNamespace(snapshot=snapshot), SimpleNamespace(snapshot="damaged")
    find_each: Callable[..., Any] = queries.find_each

    def finding(asked: Any, resolved: Sequence[Resolved]) -> Any:
        if asked == "damaged":
            raise CorruptGeneration("A file is damaged.")
        return find_each(asked, resolved)

    monkeypatch.setattr(queries, "find_each", finding)
    one, turns = resolved(snapshot, 1), Turns()
    answers = found_together(turns, (bad, one, Pace()), (good, one, Pace()), (bad, one, Pace()))
    assert answers[1] == alone(snapshot, one)
    assert [str(answers[0]), str(answers[2])] == ["A file is damaged."] * 2
    assert found_together(turns, (good, one, Pace())) == [alone(snapshot, one)]


def test_who_waited_for_a_search_that_was_broken_off_gets_no_empty_answer(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, served, one = Turns(), SimpleNamespace(snapshot=snapshot), resolved(snapshot, 1)

    def broken_off(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(queries, "find_each", broken_off)
    first, second = found_together(turns, (served, one, Pace()), (served, one, Pace()))
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, RuntimeError)
