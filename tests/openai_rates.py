"""May this request come now, by the test server's measure of requests and tokens?

Two buckets that fill evenly; a request takes one from the one and its tokens from the other, or nothing from either.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rates:
    """How much may come in a period."""

    requests: int = 1_000_000
    tokens: int = 1_000_000_000
    period: float = 60.0
    """Seconds in which an empty bucket fills."""
    headers: bool = True
    """Whether answers carry `x-ratelimit-*`."""
    retry_after: str = "both"
    """What a refusal carries: `seconds`, `ms`, `both` or `none`."""


@dataclass(frozen=True, slots=True)
class TooFast:
    """A refusal."""

    kind: str
    """`requests` or `tokens`."""
    limit: int
    wait: float | None
    """Seconds after which it would be let in; None where it never would."""


@dataclass
class _Bucket:
    limit: int
    period: float
    level: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = float(self.limit)

    def fill(self, seconds: float) -> None:
        self.level = min(self.limit, self.level + seconds * self.limit / self.period)

    def wait(self, amount: float) -> float:
        return max(0.0, (amount - self.level) * self.period / self.limit)


class Gate:
    """The two buckets; safe to use from several threads."""

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self._buckets = {
            "requests": _Bucket(rates.requests, rates.period),
            "tokens": _Bucket(rates.tokens, rates.period),
        }
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def admit(self, tokens: int) -> TooFast | None:
        """Take one request of that many tokens, or say why not."""
        amounts = {"requests": 1, "tokens": tokens}
        with self._lock:
            self._fill()
            for kind, bucket in self._buckets.items():
                if bucket.level < amounts[kind]:
                    never = amounts[kind] > bucket.limit
                    return TooFast(kind, bucket.limit, None if never else bucket.wait(amounts[kind]))
            for kind, bucket in self._buckets.items():
                bucket.level -= amounts[kind]
        return None

    def headers(self) -> Mapping[str, str]:
        """The state of the buckets, as OpenAI tells it."""
        if not self.rates.headers:
            return {}
        told = {}
        with self._lock:
            self._fill()
            for kind, bucket in self._buckets.items():
                told[f"x-ratelimit-limit-{kind}"] = str(bucket.limit)
                told[f"x-ratelimit-remaining-{kind}"] = str(math.floor(bucket.level))
                told[f"x-ratelimit-reset-{kind}"] = duration(bucket.wait(bucket.limit))
        return told

    def _fill(self) -> None:
        now = time.monotonic()
        for bucket in self._buckets.values():
            bucket.fill(now - self._at)
        self._at = now


def retry_after(seconds: float, style: str) -> Mapping[str, str]:
    """The headers that say when to come again; `seconds` can only say whole ones."""
    whole = {"retry-after": str(math.ceil(seconds))} if style in ("seconds", "both") else {}
    fine = {"retry-after-ms": str(math.ceil(seconds * 1000))} if style in ("ms", "both") else {}
    return {**whole, **fine}


def duration(seconds: float) -> str:
    """A duration as OpenAI writes it: `20ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    end = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{end}"
    return f"{minutes}m{end}" if minutes else end
