"""How are many texts embedded through the API, several requests at once?

The consumer's own thread sends, and only when it asks for the next answer; other threads only wait for the API. What
always holds: no more than `in_flight` requests are under way or have an answer that the consumer has not taken and
kept; each was allowed; whatever ends the stream, the good answers under way come first, what was allowed and is not
made any more is given back, and then comes the error.
"""

from __future__ import annotations

import logging
import math
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from indexer.errors import ModelUnavailable
from indexer.models import Allows, Embedded
from indexer.models.openai_answers import Answer
from indexer.models.openai_failures import Failure, Verdict, explain, given_up, wait_for
from indexer.models.openai_pace import Pace, Ticket
from indexer.models.openai_patience import WRONG_ANSWERS, Blame, Patience
from indexer.models.openai_requests import Asked, Request, given_back, harmless
from indexer.providers import OpenAISettings
from indexer.vectors import Vectors

log = logging.getLogger("parecido")

LOOK_AGAIN = 0.05
"""Seconds between two looks at what others are asking the same API."""
LEAVE = 5.0
"""Most seconds that a stream which nobody wants any more waits for what is under way."""
TOO_FAST = 3
"""How often a request of several texts may come too fast until it is taken for too large."""
ERROR = 500
"""The status of a fault that may come from a text: 502, 503 and 504 tell of what is before the API, or of load."""
WARN_AFTER = 10.0
"""Seconds without an answer after which people are told why nothing happens."""
KEPT = "What was embedded is kept, and the next run goes on with it."

Ask = Callable[[Sequence[str], Ticket], Answer | Failure]
"""Asks the API once, and lets the pace know."""


class Stream:
    """One pass over some texts."""

    def __init__(
        self, asked: Asked, packs: Sequence[list[int]], ask: Ask, pace: Pace, settings: OpenAISettings, allows: Allows
    ) -> None:
        self._asked, self._ask, self._pace, self._allows = asked, ask, pace, allows
        self._slots, self._leave_after = settings.in_flight, min(LEAVE, settings.timeout_seconds)
        self._ready = deque(asked.request(rows) for rows in packs)
        self._later: list[tuple[float, Request]] = []
        self._came: queue.SimpleQueue[tuple[Request, Answer | Failure | BaseException]] = queue.SimpleQueue()
        self._taken = 0
        """Slots that are: requests of which the outcome was not dealt with."""
        self._patience = Patience(settings.give_up_seconds)
        self._warned = False
        self._asking_harmless = False
        """Whether the harmless text is asked for."""
        self._no_more = False
        """Whether a request was not allowed: then those that were are brought to their end."""
        self._error: BaseException | None = None
        """Why nothing is asked any more."""

    def answers(self) -> Iterator[Embedded]:
        """Every answer, as it comes; raises ModelUnavailable behind the last where some have none."""
        try:
            while True:
                wait = self._send()
                if self._taken == 0 and (self._error or not (self._ready or self._later)):
                    break
                if came := self._next(wait):
                    answer = self._deal(*came)
                    if answer is not None:
                        yield answer
        finally:
            self._leave()
        yield from (given_back(request) for request in self._left() if request.allowed)
        if self._error is not None:
            raise self._error

    def _send(self) -> float:
        """Send what may be sent now; returns after how many seconds there may be more."""
        while self._error is None and self._taken < self._slots:
            now = time.monotonic()
            self._wake(now)
            if not self._ready:
                return max(0.0, min((due for due, _ in self._later), default=math.inf) - now)
            if self._too_large(self._ready[0]):
                self._split(self._ready.popleft())
            elif hold := self._pace.hold(self._ready[0].tokens, now):
                self._check_hold(hold)
                return hold
            elif self._allowed(self._ready[0]):
                self._start(self._ready.popleft())
        return math.inf

    def _wake(self, now: float) -> None:
        """What was put off and is due goes before the rest."""
        self._ready.extendleft(request for due, request in self._later if due <= now)
        self._later = [(due, request) for due, request in self._later if due > now]

    def _too_large(self, request: Request) -> bool:
        return request.tokens > self._pace.most_tokens and len(request.rows) > 1

    def _check_hold(self, hold: float) -> None:
        """End where the API's limits are used up for longer than anybody would wait."""
        if self._patience.seconds <= hold < math.inf and self._taken == 0:
            self._give_up(Failure(Verdict.LATER, "its limit is used up."), f"and will give none for {hold:.0f} seconds")

    def _split(self, request: Request) -> None:
        self._ready.extendleft(reversed(self._asked.halves(request)))

    def _allowed(self, request: Request) -> bool:
        request.allowed = request.allowed or (not self._no_more and self._allows(request.tokens))
        if not request.allowed:
            self._no_more = True
            self._ready = deque(each for each in self._ready if each.allowed)
            self._later = [(due, each) for due, each in self._later if each.allowed]
        return request.allowed

    def _left(self) -> list[Request]:
        """What is not asked for any more."""
        return [*self._ready, *(request for _, request in self._later)]

    def _start(self, request: Request) -> None:
        self._taken += 1
        ticket = self._pace.send(request.tokens)
        threading.Thread(target=self._wait_for, args=(request, ticket), daemon=True, name="openai").start()

    def _wait_for(self, request: Request, ticket: Ticket) -> None:
        """In a thread of its own."""
        try:
            outcome: Answer | Failure | BaseException = self._ask(self._asked.of(request), ticket)
        except BaseException as error:
            outcome = error
        self._came.put((request, outcome))

    def _next(self, wait: float) -> tuple[Request, Answer | Failure | BaseException] | None:
        """What comes next within so many seconds."""
        if self._taken == 0:
            time.sleep(LOOK_AGAIN if wait == math.inf else wait)
            return None
        try:
            return self._came.get(timeout=None if wait == math.inf else wait)
        except queue.Empty:
            return None

    def _deal(self, request: Request, outcome: Answer | Failure | BaseException) -> Embedded | None:
        """What a request came to, for the consumer; None where there is nothing to tell yet."""
        self._taken -= 1
        if isinstance(outcome, BaseException):
            self._end(outcome)
            return given_back(request)
        if isinstance(outcome, Answer):
            self._patience.answered()
            self._asking_harmless &= bool(request.rows)
            return self._paid(request, request.rows, outcome.vectors if request.rows else None, outcome.billed)
        match outcome.verdict:
            case Verdict.END:
                self._end(explain(outcome, self._asked.model, self._asked.server))
                return given_back(request)
            case Verdict.LATER:
                return self._failed(request, outcome)
            case Verdict.AGAIN:
                return self._wrong(request, outcome)
            case Verdict.SPLIT:
                return self._refused(request, outcome)
        return None

    def _paid(self, request: Request, rows: list[int], vectors: Vectors | None, billed: int | None) -> Embedded:
        unsaid = billed is None
        return Embedded(rows, vectors, "", request.tokens, request.tokens if billed is None else billed, unsaid)

    def _failed(self, request: Request, failure: Failure) -> Embedded | None:
        """Ask again, unless all shows that it is the texts over which the API fails."""
        if not request.rows and self._patience.taken > request.others:
            self._asking_harmless = False
            return given_back(request)
        whose = request.broke(self._patience.taken) if failure.status == ERROR else Blame.API
        if whose is Blame.TEXTS:
            self._split(request)
        elif whose is Blame.TEXT:
            return Embedded(request.rows, None, f"status {ERROR}: {failure.words}", request.tokens)
        else:
            if whose is Blame.UNKNOWN and not (self._ready or self._taken):
                self._ask_harmless()
            self._put_off(request, failure)
        return None

    def _put_off(self, request: Request, failure: Failure) -> None:
        """Ask again later, unless that has gone on for too long."""
        now = time.monotonic()
        wait = wait_for(failure, request.tries, secrets.SystemRandom().random())
        if failure.of_rate or failure.after:
            self._pace.refused(now + wait)
        if failure.slow:
            self._pace.slow(request.tokens)
        if len(request.rows) > 1 and (failure.slow or (failure.of_rate and request.tries >= TOO_FAST)):
            self._split(request)
        else:
            self._try_later(request, now + wait)
        self._tell(failure, wait, now)
        if failure.after >= self._patience.seconds:
            self._give_up(failure, f"and wants to be left alone for {failure.after:.0f} seconds")
        elif self._patience.failed(now):
            self._give_up(failure, f"for {self._patience.seconds:g} seconds")

    def _tell(self, failure: Failure, wait: float, now: float) -> None:
        """For people, once nothing has come for a while; for programs, every time."""
        told = (self._asked.model, self._asked.server, failure.words, wait)
        long = self._patience.failing(now) >= WARN_AFTER and not self._warned
        level = logging.WARNING if long else logging.INFO
        log.log(level, "model %r at %s: %s It is asked again in %.1f s.", *told, extra={"event": "asked_again"})
        self._warned |= long

    def _wrong(self, request: Request, failure: Failure) -> Embedded:
        """Ask again, but not for ever; that it is paid for is told."""
        request.allowed = False
        request.wrong += 1
        wait = wait_for(failure, request.tries, secrets.SystemRandom().random())
        self._try_later(request, time.monotonic() + wait)
        if request.wrong >= WRONG_ANSWERS:
            self._give_up(failure, f"after {request.wrong} tries")
        return self._paid(request, [], None, failure.billed)

    def _try_later(self, request: Request, due: float) -> None:
        request.tries += 1
        self._later.append((due, request))

    def _refused(self, request: Request, failure: Failure) -> Embedded | None:
        """Find out which text is meant; once it is alone, that is told."""
        self._patience.heard()
        if len(request.rows) > 1:
            self._split(request)
            return None
        if not request.rows:
            return self._refused_harmless(request, failure)
        if self._patience.refused(failure.words):
            self._ask_harmless()
        return Embedded(request.rows, None, failure.words, request.tokens)

    def _ask_harmless(self) -> None:
        if not self._asking_harmless:
            self._asking_harmless = True
            self._ready.appendleft(harmless(self._patience.taken))

    def _refused_harmless(self, request: Request, failure: Failure) -> Embedded:
        """End, unless another text was taken meanwhile."""
        self._asking_harmless = False
        if not self._patience.taken:
            self._end(explain(failure, self._asked.model, self._asked.server))
        return given_back(request)

    def _give_up(self, failure: Failure, tried: str) -> None:
        error = given_up(failure, self._asked.model, self._asked.server, tried)
        self._end(ModelUnavailable(f"{error.message} {KEPT}", param=error.param))

    def _end(self, error: BaseException) -> None:
        self._error = self._error or error

    def _leave(self) -> None:
        """Wait for what is under way, where nobody takes it any more."""
        until = time.monotonic() + self._leave_after
        while self._taken and (left := until - time.monotonic()) > 0:
            if self._next(left):
                self._taken -= 1
