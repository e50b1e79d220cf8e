"""How fast may requests follow each other, by what the API's headers say?

The API has a bucket for requests and one for tokens; each answer says how much is in them, how much fits, and in how
long they are full. Time is passed in, so that all of this is arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from indexer.models.openai_answers import duration

FULL_SECONDS = 60.0
"""How long an empty bucket takes to fill where nothing tells: limits are by the minute."""


@dataclass(slots=True)
class Bucket:
    """What is left of a limit."""

    limit: float = 0.0
    """How much fits; 0 where there is no limit, or none is known yet."""
    remaining: float = 0.0
    heard: float = 0.0
    """When that was so."""
    rate: float = 0.0
    """How much comes back in a second."""
    under_way: float = 0.0
    """Of requests without an answer, whether or not the API has counted them already."""

    def hear(self, limit: float, remaining: float, reset: float | None, now: float) -> None:
        """Take note of what an answer says."""
        gone = limit - remaining
        self.limit, self.remaining, self.heard = limit, remaining, now
        self.rate = gone / reset if reset and gone > 0 else limit / FULL_SECONDS

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much may be asked for."""
        if not self.limit or not self.rate:
            return 0.0
        there = min(self.limit, self.remaining + self.rate * (now - self.heard)) - self.under_way
        missing = min(amount, self.limit) - there
        return max(0.0, missing / self.rate) if self.under_way or there < self.limit else 0.0


@dataclass(slots=True)
class Pace:
    """Both buckets, and how many requests may be under way."""

    most: int
    """Requests at once, by the configuration."""
    width: int = 2
    """Requests at once by now: few until an answer has come, fewer where it was too much."""
    _requests: Bucket = field(default_factory=Bucket)
    _tokens: Bucket = field(default_factory=Bucket)

    def __post_init__(self) -> None:
        self.width = min(self.width, self.most)

    def wait(self, tokens: int, now: float) -> float:
        """Seconds until a request of so many tokens may be sent."""
        return max(self._requests.wait(1, now), self._tokens.wait(tokens, now))

    def send(self, tokens: int) -> None:
        """A request is under way."""
        self._requests.under_way += 1
        self._tokens.under_way += tokens

    def end(self, tokens: int) -> None:
        """It is no more."""
        self._requests.under_way -= 1
        self._tokens.under_way -= tokens

    def hear(self, headers: Mapping[str, str], now: float) -> None:
        """Take note of an answer's headers."""
        for what, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            try:
                limit = float(headers[f"x-ratelimit-limit-{what}"])
                remaining = float(headers[f"x-ratelimit-remaining-{what}"])
            except (KeyError, ValueError):
                continue
            bucket.hear(limit, remaining, duration(headers.get(f"x-ratelimit-reset-{what}")), now)

    def succeed(self) -> None:
        """More at once may go well."""
        self.width = min(self.most, self.width * 2)

    def too_much(self) -> None:
        """Fewer at once may go better."""
        self.width = max(1, self.width // 2)
