"""Are searches that take long kept off the event loop, and no others?"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from indexer import queries
from indexer.queries import Query
from service.answering import FEW, QUICK, Answering
from service.pace import Pace
from service.shown import Shown

PLAIN = Query()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bool]]:
    """Asks one query after the other, each answered by that work; says which were answered on the loop."""

    def ask(work: Callable[[], None], times: int, query: Query = PLAIN) -> list[bool]:
        on_loop = []

        def answer(*_: object) -> None:
            on_loop.append(threading.current_thread() is threading.main_thread())
            work()

        async def run() -> None:
            answering, served = Answering(), SimpleNamespace(snapshot=None, pace=Pace(), shown=Shown())
            for _ in range(times):
                await answering.search(served, query, never)  # type: ignore[arg-type]

        monkeypatch.setattr(queries, "resolve", lambda *_: None)
        monkeypatch.setattr(queries, "answer", answer)
        asyncio.run(run())
        return on_loop

    return ask


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


@pytest.mark.parametrize("query", [Query(filter={}), Query(limit=FEW + 1), Query(limit=1, offset=FEW)])
def test_what_may_take_long_never_comes_to_the_loop(asked: Callable[..., list[bool]], query: Query) -> None:
    assert asked(lambda: None, 3, query) == [False] * 3
