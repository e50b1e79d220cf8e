"""Are searches that take long kept off the event loop, and no others?"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from indexer import queries
from indexer.filters.tree import Exists
from indexer.parts import FILTERS_KEPT
from indexer.queries import Query
from service.answering import FEW, QUICK, Answering
from service.pace import FILTERS, Paces
from service.shown import Shown

PLAIN = Query()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bool]]:
    """Asks some queries, so many times, each answered by that work; says which were answered on the loop."""

    def ask(work: Callable[[], None], times: int, *asked: Query, passages: int = 1) -> list[bool]:
        on_loop = []

        def resolve(_: object, query: Query) -> SimpleNamespace:
            return SimpleNamespace(filter=query.filter, vectors=np.zeros((passages, 8), dtype=np.float32))

        def answer(*_: object) -> list[tuple[()]]:
            on_loop.append(threading.current_thread() is threading.main_thread())
            work()
            return [()]

        async def run() -> None:
            answering, served = Answering(), SimpleNamespace(snapshot=None, paces=Paces(), shown=Shown())
            for _ in range(times):
                for query in asked or (PLAIN,):
                    await answering.search(served, query, never)  # type: ignore[arg-type]

        monkeypatch.setattr(queries, "resolve", resolve)
        monkeypatch.setattr(queries, "answer", answer)
        monkeypatch.setattr(queries, "find_each", answer)
        monkeypatch.setattr(queries, "answered", answer_shown)
        asyncio.run(run())
        return on_loop

    return ask


def answer_shown(*_: object) -> None:
    """What is found is not looked at here."""


async def never() -> Any:
    await asyncio.Event().wait()


def toil() -> None:
    """Keeps a processor busy for longer than is quick."""
    began = time.thread_time()
    while time.thread_time() - began < 2 * QUICK:
        pass


def test_what_keeps_a_processor_busy_stays_off_the_loop(asked: Callable[..., list[bool]]) -> None:
    assert asked(toil, 5) == [False] * 5


def test_quick_searches_are_answered_on_the_loop_once_one_was_seen(asked: Callable[..., list[bool]]) -> None:
    assert asked(lambda: None, 3) == [False, True, True]


def test_what_only_waits_beside_the_loop_comes_back_to_it_and_leaves_it_again(
    asked: Callable[..., list[bool]],
) -> None:
    """Beside it a search waits for others; on it, one that waits, for a disk say, holds all up."""
    assert asked(lambda: time.sleep(50 * QUICK), 3) == [False, True, False]


HARD = [Query(limit=FEW + 1), Query(limit=1, offset=FEW), Query(exact=True), Query(recall=0.99)]


@pytest.mark.parametrize("query", HARD)
def test_what_may_take_long_never_comes_to_the_loop(asked: Callable[..., list[bool]], query: Query) -> None:
    assert asked(lambda: None, 3, query) == [False] * 3


def test_a_query_of_several_passages_never_comes_to_the_loop(asked: Callable[..., list[bool]]) -> None:
    assert asked(lambda: None, 3, passages=2) == [False] * 3


@pytest.mark.parametrize("query", HARD)
def test_what_takes_long_says_nothing_of_what_does_not(asked: Callable[..., list[bool]], query: Query) -> None:
    works = iter([lambda: None, toil, lambda: None])
    assert asked(lambda: next(works)(), 1, PLAIN, query, PLAIN) == [False, False, True]


def by(field: str) -> Query:
    return Query(filter=Exists(field))


def test_a_filter_comes_to_the_loop_once_its_items_were_found_and_a_search_among_them_was_quick(
    asked: Callable[..., list[bool]],
) -> None:
    assert asked(lambda: None, 4, by("n")) == [False, False, True, True]
    assert asked(toil, 4, by("n")) == [False] * 4


def test_finding_what_passes_a_filter_says_nothing_of_searches_among_it(asked: Callable[..., list[bool]]) -> None:
    works = iter([toil, lambda: None, lambda: None])
    assert asked(lambda: next(works)(), 3, by("n")) == [False, False, True]


def test_each_filter_has_a_pace_of_its_own_while_it_is_among_the_last(asked: Callable[..., list[bool]]) -> None:
    assert asked(lambda: None, 3, PLAIN, by("n"), by("m")) == [False] * 3 + [True, False, False] + [True] * 3
    few, many = [by(f"{i}") for i in range(FILTERS)], [by(f"{i}") for i in range(FILTERS + 1)]
    assert asked(lambda: None, 3, *few) == [False] * (2 * FILTERS) + [True] * FILTERS
    assert asked(lambda: None, 3, *many) == [False] * (3 * (FILTERS + 1))
    assert FILTERS < FILTERS_KEPT


def test_the_pace_of_the_filter_that_came_longest_ago_is_forgotten_first() -> None:
    paces, filters = Paces(), [Exists(f"{i}") for i in range(FILTERS + 1)]
    for one in filters[:FILTERS]:
        paces.of(one)  # the first of each is nobody's
    second, *others, first = (paces.of(one) for one in [*filters[1:FILTERS], filters[0]])
    paces.of(filters[FILTERS])
    assert paces.of(filters[0]) is first
    assert [paces.of(one) for one in filters[2:FILTERS]] == others
    assert paces.of(filters[1]) is not second
