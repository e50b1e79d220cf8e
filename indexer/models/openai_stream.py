"""How are many texts asked for, several requests at once?

One thread decides: which request goes next, whether it may, what an answer means; others only wait for the API. What
always holds: a place in flight is filled again only after its answer was handed over and the next one was asked for;
whatever ends it, answers that are still under way and good are handed over first.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from indexer.errors import ModelUnavailable
from indexer.models import Allows, Embedded
from indexer.models.openai_answers import Answer, Failure, SpoiledAnswer
from indexer.models.openai_pace import Pace
from indexer.models.openai_packing import Request, pack

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the first retry, at most, and before any; in between the bound doubles each time."""
SPOILED_AT_MOST = 3
"""So often one request may have a spoiled answer."""
REFUSED_AT_MOST = 16
"""So many texts may be refused before any is embedded, until it is the API that must be wrong, not the texts."""

Outcome = tuple[Answer | SpoiledAnswer | Failure, Mapping[str, str]]


class Asking(Protocol):
    """Whoever makes one request."""

    def ask(self, texts: Sequence[str], seconds: float) -> Outcome:
        """The answer, or why there is none, and the headers that came with it."""

    def unavailable(self, words: str) -> ModelUnavailable:
        """The error where nothing can be had."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for."""

    texts: Sequence[str]
    tokens: Sequence[int]
    """In each."""
    exact: bool
    """Whether these are counted, and not estimated."""
    in_flight: int
    """Most requests at once."""
    give_up: float
    """Seconds without any success after which it ends."""
    kept: bool = False
    """Whether what came is of use although the rest did not."""


def stream(asked: Asked, connection: Asking, allows: Allows) -> Iterator[Embedded]:
    """Answers about all the texts as they come; raises ModelUnavailable."""
    return _Stream(asked, connection, allows).answers()


@dataclass(slots=True)
class _Stream:
    asked: Asked
    connection: Asking
    allows: Allows
    waiting: deque[Request] = field(default_factory=deque)
    under_way: int = 0
    finished: queue.SimpleQueue[tuple[Request, Outcome | BaseException]] = field(default_factory=queue.SimpleQueue)
    pace: Pace = field(init=False)
    error: BaseException | None = None
    succeeded: float = field(default_factory=time.monotonic)
    """When the API last gave a useful answer, or all began."""
    embedded: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.pace = Pace(self.asked.in_flight)
        self.waiting.extend(pack(self.asked.tokens, self.asked.exact))

    def answers(self) -> Iterator[Embedded]:
        """All of them."""
        while self.waiting or self.under_way:
            pause = self._send()
            if not self.under_way:
                time.sleep(pause or 0.0)
                continue
            try:
                request, got = self.finished.get(timeout=pause)
            except queue.Empty:
                continue
            yield from self._read(request, got)
        if self.error is not None:
            raise self.error

    def _send(self) -> float | None:
        """Send what may be sent now; returns the seconds after which to look again, None for when an answer comes."""
        while self.waiting and self.under_way < self.pace.width:
            now = time.monotonic()
            request = min(self.waiting, key=lambda each: each.not_before)
            pause = max(request.not_before - now, self.pace.wait(request.tokens, now))
            if pause > 0:
                return pause
            if not request.allowed and not self.allows(request.tokens):
                self.waiting.clear()
                return None
            request.allowed = True
            self.waiting.remove(request)
            self.pace.send(request.tokens)
            self.under_way += 1
            # A daemon, so that whoever ends the process does not wait for an answer that nobody will keep.
            threading.Thread(target=self._ask, args=(request,), name="parecido-api", daemon=True).start()
        return None

    def _ask(self, request: Request) -> None:
        """Make one request, in a thread of its own."""
        try:
            texts = [self.asked.texts[row] for row in request.rows]
            self.finished.put((request, self.connection.ask(texts, self.asked.give_up)))
        except BaseException as error:  # raised again by whoever reads
            self.finished.put((request, error))

    def _read(self, request: Request, got: Outcome | BaseException) -> Iterator[Embedded]:
        """What an answer comes to; a request that failed may be tried again."""
        now = time.monotonic()
        self.under_way -= 1
        self.pace.end(request.tokens)
        if isinstance(got, BaseException):
            self._end(got)
            return
        outcome, headers = got
        self.pace.hear(headers, now)
        if isinstance(outcome, Answer):
            self.succeeded, self.embedded = now, self.embedded + len(request.rows)
            self.pace.succeed()
            billed = request.tokens if outcome.billed is None else outcome.billed
            yield Embedded(request.rows, outcome.vectors, "", request.tokens, billed, outcome.billed is None)
        elif isinstance(outcome, SpoiledAnswer):
            if outcome.billed:
                yield Embedded([], None, "", request.tokens, outcome.billed)
                request.allowed = False
            self._again(
                request, Failure("again", f"its answer is spoiled: {outcome}"), request.attempts >= SPOILED_AT_MOST
            )
        elif outcome.kind == "inputs":
            self.succeeded = now
            yield from self._refused(request, outcome)
        elif outcome.kind == "over":
            self._end(self.connection.unavailable(outcome.words))
        else:
            if outcome.rate:
                self.pace.too_much()
            self._again(request, outcome, now - self.succeeded > self.asked.give_up)

    def _refused(self, request: Request, failure: Failure) -> Iterator[Embedded]:
        """Find out which of the texts it is that the API refuses."""
        if len(request.rows) > 1:
            self.waiting.extendleft(reversed(request.halves(self.asked.tokens)))
            return
        self.refused += 1
        if self.refused >= REFUSED_AT_MOST and not self.embedded:
            self._end(self.connection.unavailable(f"it refuses every text ({failure.words})"))
            return
        yield Embedded(request.rows, None, failure.words, request.tokens)

    def _again(self, request: Request, failure: Failure, enough: bool) -> None:
        """Have a request tried again later: after a pause that doubles each time, of random length (full jitter)."""
        if enough:
            kept = "; what was embedded is kept, and the next run goes on with it" if self.asked.kept else ""
            self._end(self.connection.unavailable(f"{failure.words}, in {request.attempts + 1} tries{kept}"))
            return
        bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2**request.attempts)
        pause = max(random.uniform(0, bound), failure.wait or 0.0)  # noqa: S311 – no secret
        request.attempts += 1
        request.not_before = time.monotonic() + pause
        self.waiting.append(request)

    def _end(self, error: BaseException) -> None:
        """Ask for no more; what is under way still comes."""
        self.error = self.error or error
        self.waiting.clear()
