"""What becomes of query texts that arrive together?

They are embedded together: what comes while the model is at work waits for it and goes with the next turn; where
nothing is under way, nobody waits. A turn takes one text of each request in order of arrival, round and round, so that
a hundred texts of one do not hold up one of another. What goes wrong with a text is told to whoever sent it. A request
that is given up costs nothing unless its turn has begun. Vectors of the last texts are kept.

A model behind an API is asked several things at once: there a text waits for others for two milliseconds at most.

Everything here happens in the thread of one event loop, but for the embedding itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from indexer.errors import InvalidRequest, ParecidoError
from indexer.models import Model
from indexer.query_texts import embed_passages, query_passages
from indexer.vectors import Vectors

MOST_TEXTS = 32
"""In one turn."""
MOST_CHARACTERS = 16_000
"""In one turn, unless one text alone has more."""
MOST_KEPT = 4_096
"""Texts whose vectors are kept."""
LONGEST_KEPT = 2_000
"""Characters of such a text."""
API_AT_ONCE = 16
"""Turns under way with a model behind an API."""
API_SECONDS = 0.002
"""How long a text may wait for others there, while another one is under way."""

Embeddings = Mapping[str, Vectors | ParecidoError]
"""The vectors of a text's passages, (passages, dimension), or why there are none."""


@dataclass(eq=False)
class _Asked:
    """The texts of one request that are not known yet."""

    left: deque[str]
    """Those whose turn has not begun."""
    wanted: int
    """How many have not been answered."""
    done: asyncio.Future[Embeddings]
    found: dict[str, Vectors | ParecidoError] = field(default_factory=dict)


class QueryEmbedder:
    """Embeds the query texts of all requests with one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        several = model.device == "api"
        self._at_once = API_AT_ONCE if several else 1
        self._patience = API_SECONDS if several else None
        self._threads = ThreadPoolExecutor(self._at_once, "parecido-embed")
        self._waiting: deque[_Asked] = deque()
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None
        self._kept: OrderedDict[str, Vectors] = OrderedDict()

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """What each of these texts embeds to."""
        known: dict[str, Vectors | ParecidoError] = {}
        unknown: deque[str] = deque()
        for text in dict.fromkeys(texts):
            if text in self._kept:
                self._kept.move_to_end(text)
                known[text] = self._kept[text]
            else:
                unknown.append(text)
        if not unknown:
            return known
        asked = _Asked(unknown, len(unknown), asyncio.get_running_loop().create_future(), known)
        self._waiting.append(asked)
        self._begin()
        return await asked.done

    def _begin(self) -> None:
        """Start what may start now."""
        loop = asyncio.get_running_loop()
        if self._under_way == 0:
            self._start_turn(loop)
        if self._waiting and self._patience is not None and self._timer is None and self._under_way < self._at_once:
            self._timer = loop.call_later(self._patience, self._time_is_over, loop)

    def _time_is_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start as many turns as there may be for all that waits."""
        self._timer = None
        while self._waiting and self._under_way < self._at_once:
            self._start_turn(loop)

    def _start_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        turn = self._next_turn()
        if turn:
            self._under_way += 1
            texts = list(dict.fromkeys(text for text, _ in turn))
            future = loop.run_in_executor(self._threads, embed_each, self.model, texts)
            future.add_done_callback(lambda done: self._end_turn(turn, texts, done))

    def _next_turn(self) -> list[tuple[str, _Asked]]:
        """Texts to be embedded together, and who asked for them."""
        turn: list[tuple[str, _Asked]] = []
        room = MOST_CHARACTERS
        while self._waiting and len(turn) < MOST_TEXTS:
            asked = self._waiting.popleft()
            if asked.done.done():  # given up, or failed with an earlier text
                continue
            if turn and len(asked.left[0]) > room:
                self._waiting.appendleft(asked)
                break
            text = asked.left.popleft()
            room -= len(text)
            turn.append((text, asked))
            if asked.left:
                self._waiting.append(asked)
        return turn

    def _end_turn(
        self,
        turn: Sequence[tuple[str, _Asked]],
        texts: Sequence[str],
        done: asyncio.Future[list[Vectors | ParecidoError]],
    ) -> None:
        self._under_way -= 1
        failure = done.exception()
        found = {} if failure else dict(zip(texts, done.result(), strict=True))
        for text, embedded in found.items():
            if not isinstance(embedded, ParecidoError):
                self._keep(text, embedded)
        for text, asked in turn:
            if asked.done.done():
                continue
            if failure is not None:
                asked.done.set_exception(failure)
                continue
            asked.found[text] = found[text]
            asked.wanted -= 1
            if not asked.wanted:
                asked.done.set_result(asked.found)
        self._start_turn(asyncio.get_running_loop())

    def _keep(self, text: str, vectors: Vectors) -> None:
        if len(text) <= LONGEST_KEPT:
            self._kept[text] = vectors
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)


def embed_each(model: Model, texts: Sequence[str]) -> list[Vectors | ParecidoError]:
    """The vectors of each text, or what is wrong with it; where the model refuses one, each is asked alone."""
    groups = [_passages(model, text) for text in texts]
    good = [group for group in groups if not isinstance(group, ParecidoError)]
    embedded = iter(_embed(model, good) if good else [])
    return [group if isinstance(group, ParecidoError) else next(embedded) for group in groups]


def _embed(model: Model, groups: Sequence[Sequence[str]]) -> list[Vectors | ParecidoError]:
    try:
        return [rows.copy() for rows in embed_passages(model, groups)]  # one of them kept shall not keep them all
    except InvalidRequest as error:
        return [error] if len(groups) == 1 else [_embed(model, [group])[0] for group in groups]
    except ParecidoError as error:
        return [error for _ in groups]


def _passages(model: Model, text: str) -> list[str] | ParecidoError:
    try:
        return query_passages(model, text)
    except ParecidoError as error:
        return error
