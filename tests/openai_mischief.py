"""What goes wrong, and when, at the test server?

Mischief is planned, act by act, for the next requests of a route, or mixed in by a seed. It is done before a request
is looked at, so that nothing is computed or paid; or to its answer, which is paid for, and spoiled where it is of no
use to the client.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from openai_embeddings import Datum
from openai_ledger import EMBEDDINGS

BEFORE = ("busy", "busy_after", "busy_after_ms", "quota", "hold_before", "cut_before")
"""Nothing is computed; `status_500` and other statuses, too. `hold_before` goes on where the client has waited."""
ANSWER = ("few", "many", "none", "short", "long", "ragged", "nan", "zeros", "wrong_index", "same_index")
"""An answer with embeddings that no client may keep."""
LEGAL = ("shuffled", "no_usage", "slow", "hold_after")
"""An answer that is odd and right; one that is held is spoiled where the client does not wait for it."""
AFTER = ("cut_after", "cut_middle", "garbage", "html", "lost_500", "lost_503")
"""The answer is computed, and does not come as it should."""


@dataclass(frozen=True, slots=True)
class Act:
    """One piece of mischief."""

    kind: str
    """One of the above, or `status_500`, `status_502`, …"""
    seconds: float = 0.05
    """How long is held, drawn out, or told to wait."""

    def __post_init__(self) -> None:
        if self.kind not in BEFORE + ANSWER + LEGAL + AFTER and not re.fullmatch(r"status_\d{3}", self.kind):
            raise ValueError(f"{self.kind!r} is no kind of mischief.")

    @property
    def refuses(self) -> bool:
        """Whether it is done before anything is computed."""
        return self.kind in BEFORE or self.kind.startswith("status_")

    @property
    def spoils(self) -> bool:
        """Whether the answer is of no use to the client."""
        return self.kind in ANSWER or self.kind in AFTER


@dataclass
class Mix:
    """A share of the requests of a route meets with mischief, by a seed."""

    kinds: Sequence[str]
    share: float = 0.3
    seed: int = 0
    seconds: float = 0.05
    on: str = EMBEDDINGS
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            Act(kind)
        self._random = random.Random(self.seed)

    def next(self) -> Act | None:
        """What the next request meets with."""
        chance, kind = self._random.random(), self._random.choice(self.kinds)
        return Act(kind, self.seconds) if chance < self.share else None


class Mischief:
    """Plans first, then mixes; safe to use from several threads."""

    def __init__(self) -> None:
        self._plans: list[tuple[str, Act]] = []
        self._mixes: dict[str, Mix] = {}
        self._lock = threading.Lock()

    def plan(self, kind: str, on: str = EMBEDDINGS, seconds: float = 0.05, times: int = 1) -> None:
        """Do that to the next requests of a route."""
        with self._lock:
            self._plans += [(on, Act(kind, seconds))] * times

    def mix(self, kinds: Sequence[str] = (), on: str = EMBEDDINGS, **values: Any) -> None:
        """From now on do that to a share of the requests of a route; without kinds, leave it alone."""
        with self._lock:
            self._mixes.pop(on, None)
            if kinds:
                self._mixes[on] = Mix(kinds, on=on, **values)

    @property
    def planned(self) -> int:
        """How many acts are still to be done."""
        with self._lock:
            return len(self._plans)

    def next(self, route: str) -> Act | None:
        """What a request of that route meets with."""
        with self._lock:
            for at, (on, act) in enumerate(self._plans):
                if on == route:
                    del self._plans[at]
                    return act
            return self._mixes[route].next() if route in self._mixes else None


Data = list[Datum]

_SPOILT: Mapping[str, Callable[[Data], Data]] = {
    "few": lambda data: data[:-1],
    "many": lambda data: [*data, (len(data), data[0][1])],
    "none": lambda data: [],
    "short": lambda data: [(at, row[:-1]) for at, row in data],
    "long": lambda data: [(at, np.append(row, np.float32(0.5))) for at, row in data],
    "ragged": lambda data: _last(data, lambda row: row[:-1]),
    "nan": lambda data: _last(data, lambda row: np.full_like(row, np.nan)),
    "zeros": lambda data: _last(data, np.zeros_like),
    "wrong_index": lambda data: [(at + 1, row) for at, row in data],
    "same_index": lambda data: [(0 if len(data) > 1 else 1, row) for _, row in data],
    "shuffled": lambda data: data[1::2] + data[::2],
}


def _last(data: Data, change: Callable[[np.ndarray], np.ndarray]) -> Data:
    at, row = data[-1]
    return [*data[:-1], (at, change(row))]


def spoil(rows: np.ndarray, kind: str | None) -> Data:
    """The vectors with their indices, after that kind of mischief."""
    return _SPOILT.get(kind or "", list)(list(enumerate(rows)))
