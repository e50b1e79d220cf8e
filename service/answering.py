"""Where is a question answered, so that it is answered soon and holds nobody else up?

The event loop reads requests, writes answers and says whether the service is alive; whatever takes long is done by a
few threads beside it. To hand a search over and back costs about as much as a quick one takes, so that those that have
been quick lately are made where they came in, with what came in together, see `turns`. Texts are embedded by a thread
of their own, see `embedder`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from indexer import queries
from indexer.compare import Side, compare
from indexer.errors import ParecidoError
from indexer.queries import Query, Resolved
from service.served import Served
from service.turns import Turns

QUICK = 0.002
"""Seconds that a search may take on the event loop."""
FEW = 100
"""Most hits of a search that may be answered there."""

T = TypeVar("T")


class Answering:
    """Answers questions to what is served, in JSON."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max(2, len(os.sched_getaffinity(0))), "parecido-answer")
        self._turns = Turns()

    async def search(self, served: Served, query: Query, receive: Receive) -> bytes:
        """Answer one query; raises what is wrong with it, and ClientDisconnect where nobody waits any more."""
        began = time.perf_counter()
        resolved = queries.resolve(served.snapshot, query)
        if query.text is not None:
            found = await _unless_gone(served.embedder.embed([query.text]), receive)
            vectors = found[query.text]
            if isinstance(vectors, ParecidoError):
                raise vectors
            resolved = resolved._replace(vectors=vectors)
        work = partial(_encoded, queries.answer, served.snapshot, resolved, began, served.shown.page)
        if not _as_most(query, resolved):
            return await self._beside(work)
        pace = served.paces.of(resolved.filter)
        if pace.seconds < QUICK:
            nearest = await self._turns.find(served, resolved, pace)
            return _encoded(queries.answered, served.snapshot, resolved, nearest, began, served.shown.page)
        answer, seconds = await self._beside(partial(_timed, work))
        pace.note(seconds)
        return answer

    async def batch(self, served: Served, asked: Sequence[Query | ParecidoError], receive: Receive) -> bytes:
        """Answer several; raises ClientDisconnect where nobody waits any more."""
        began = time.perf_counter()
        resolved = await self._beside(partial(queries.resolve_all, served.snapshot, asked))
        if texts := queries.texts_of(resolved):
            found = await _unless_gone(served.embedder.embed(list(texts.values())), receive)
            resolved = queries.with_vectors(resolved, {at: found[text] for at, text in texts.items()})
        return await self._beside(
            partial(_encoded, queries.answer_batch, served.snapshot, resolved, began, served.shown.page)
        )

    async def compare(self, served: Served, a: Side, b: Side, pairs: int, model: str | None) -> bytes:
        """Compare two sides."""
        return await self._beside(partial(_encoded, compare, served.snapshot, lambda: served.model, a, b, pairs, model))

    async def _beside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _as_most(query: Query, resolved: Resolved) -> bool:
    """Whether a search takes about as long as others with its filter: it asks for few hits, with one vector, no harder.

    Others may take any time, of which that of these says nothing, nor theirs of these.
    """
    as_hard = not query.exact and query.recall is None
    return as_hard and query.offset + query.limit <= FEW and len(resolved.vectors) == 1


def _encoded(verb: Callable[..., object], *told: object) -> bytes:
    return orjson.dumps(verb(*told))


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """The outcome, and how long its thread was at work.

    It also waits for the others beside it; by the time that goes by, what has once become slow would never come back.
    """
    began = time.thread_time()
    outcome = work()
    return outcome, time.thread_time() - began


async def _unless_gone(work: Awaitable[T], receive: Receive) -> T:
    """The outcome of the work; it is given up when the caller hangs up, which is what comes after a body is read."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(receive())
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
