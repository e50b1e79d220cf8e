"""How fast may the API be asked?

As fast as its answers say. The headers `x-ratelimit-limit-*`, `-remaining-*` and `-reset-*` of an answer tell how many
requests and tokens were left when it was made, and when there will be as many as ever. What always holds: a request
that would pass what is left, those under way counted, is not made before that; then one goes ahead, and its answer
tells what there is. A server that says nothing is asked by more and more at once, and by half as many after a refusal.

The headers: https://platform.openai.com/docs/guides/rate-limits
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass

_PARTS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SECONDS = (86_400.0, 3600.0, 60.0, 1.0, 0.001)
LEAST_TOKENS = 4096
"""A request of fewer is not taken for too large."""
RECOVERS = 1.1
"""After each answer that came in time, so many times as much may be asked for."""
LONGEST = 7 * 86_400.0
"""Seconds; what is said to take longer is no duration, but a time of day, or a mistake."""


def seconds(duration: str) -> float | None:
    """A duration such as "1s", "6m0s", "20ms" or "1.5"; None for anything else."""
    text = duration.strip().lower()
    try:
        value = float(text)
    except ValueError:
        found = _PARTS.fullmatch(text)
        if not text or found is None:
            return None
        value = sum(float(part) * unit for part, unit in zip(found.groups(), _SECONDS, strict=True) if part)
    return value if 0 <= value <= LONGEST else None


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says of requests, or of tokens."""

    limit: int
    remaining: int
    reset: float
    """Seconds until there are as many as `limit` again."""


def read_headers(headers: Mapping[str, str], kind: str) -> Said | None:
    """What the headers, with names in lower case, say of `requests` or `tokens`; None where that is not all there."""
    limit, remaining, reset = (headers.get(f"x-ratelimit-{what}-{kind}") for what in ("limit", "remaining", "reset"))
    wait = seconds(reset) if reset is not None else None
    if limit is None or remaining is None or wait is None or not (limit.isdecimal() and remaining.isdecimal()):
        return None
    return Said(int(limit), int(remaining), wait)


@dataclass(slots=True)
class Bucket:
    """Requests, or tokens, of which there are so many in a time.

    An answer says what was left when the server took the request; which of the others under way it had taken by then
    is unknown. So what is left now lies between that, and that less all that was under way at any time since.
    """

    limit: int | None = None
    left: int | None = None
    """Surely; None where nobody said."""
    full_at: float = 0.0
    sent: int = 0
    """All that was ever asked for."""
    done: int = 0
    """Of that, what was answered."""

    def send(self, cost: int) -> None:
        """Count a request."""
        self.sent += cost
        if self.left is not None:
            self.left -= cost

    def answered(self, cost: int, done_before: int, said: Said | None, now: float) -> None:
        """Count its answer; `done_before` is what was answered when it was sent."""
        self.done += cost
        if said is not None:
            least = said.remaining - (self.sent - done_before - cost)
            self.left = min(least if self.left is None else max(self.left, least), said.remaining)
            self.limit, self.full_at = said.limit, now + said.reset

    def hold(self, cost: int, now: float, alone: bool) -> float:
        """Seconds until so much may be asked for; infinite where the answer to something under way comes first."""
        if self.left is None or self.left >= cost:
            return 0.0
        if now < self.full_at:
            return self.full_at - now
        return 0.0 if alone else math.inf


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request under way."""

    tokens: int
    requests_done: int
    """What was answered when it was sent."""
    tokens_done: int


class Pace:
    """What is known of how fast an API may be asked; used by several threads. Times are of a clock that never jumps."""

    def __init__(self, most: int) -> None:
        """`most` is how many requests there may be at once; it begins with one."""
        self._most, self._width = most, 1
        self._requests, self._tokens = Bucket(), Bucket()
        self._under_way = 0
        self._held_until = 0.0
        self._refused = False
        self._in_time = math.inf
        self._turn = threading.Lock()

    @property
    def most_tokens(self) -> float:
        """Tokens above which a request would always be refused, or not answered in time; infinite until told."""
        limit = self._tokens.limit
        return min(self._in_time, math.inf if limit is None else limit)

    def hold(self, tokens: int, now: float) -> float:
        """Seconds until a request of so many tokens may be sent; infinite where an answer has to come first."""
        with self._turn:
            if self._under_way >= self._width:
                return math.inf
            alone = self._under_way == 0
            held = max(self._requests.hold(1, now, alone), self._tokens.hold(tokens, now, alone))
            return max(held, self._held_until - now, 0.0)

    def send(self, tokens: int) -> Ticket:
        """Count a request."""
        with self._turn:
            self._under_way += 1
            self._requests.send(1)
            self._tokens.send(tokens)
            return Ticket(tokens, self._requests.done, self._tokens.done)

    def answered(self, ticket: Ticket, headers: Mapping[str, str], now: float, good: bool) -> None:
        """Count its answer, or that none came: then there are no headers."""
        with self._turn:
            self._under_way -= 1
            said = read_headers(headers, "requests"), read_headers(headers, "tokens")
            self._requests.answered(1, ticket.requests_done, said[0], now)
            self._tokens.answered(ticket.tokens, ticket.tokens_done, said[1], now)
            if good:
                self._in_time *= RECOVERS
                told = any(said) and not self._refused
                self._width = self._most if told else min(self._most, self._width + 1)

    def slow(self, tokens: int) -> None:
        """Ask for less at once, after a request of so many tokens had no answer in time."""
        with self._turn:
            self._in_time = min(self._in_time, max(LEAST_TOKENS, tokens // 2))

    def refused(self, until: float) -> None:
        """Send nothing before that time, and less at once after it."""
        with self._turn:
            self._refused = True
            self._width = max(1, self._width // 2)
            self._held_until = max(self._held_until, until)
