"""Which texts go into one request?

As many as the API takes at once: so many inputs, so many tokens. Texts stay in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MOST_INPUTS = 2048
MOST_TOKENS = 300_000
ESTIMATED_SHARE = 0.5
"""How much of the tokens is used where their number is only estimated: of some languages a text has twice as many."""


@dataclass(slots=True)
class Request:
    """Some of the texts, asked for together."""

    rows: list[int]
    """Which texts."""
    tokens: int
    allowed: bool = False
    """Whether somebody has allowed what it costs."""
    attempts: int = 0
    not_before: float = field(default=0.0)
    """When it may be tried again, by time.monotonic."""

    def halves(self, tokens: Sequence[int]) -> list[Request]:
        """Two requests for the same texts, of which there are several."""
        middle = len(self.rows) // 2
        parts = (self.rows[:middle], self.rows[middle:])
        return [Request(rows, sum(tokens[row] for row in rows), self.allowed) for rows in parts]


def pack(tokens: Sequence[int], exact: bool) -> Iterator[Request]:
    """Requests for texts with so many tokens each."""
    most = MOST_TOKENS if exact else int(MOST_TOKENS * ESTIMATED_SHARE)
    rows: list[int] = []
    total = 0
    for row, count in enumerate(tokens):
        if rows and (len(rows) == MOST_INPUTS or total + count > most):
            yield Request(rows, total)
            rows, total = [], 0
        rows.append(row)
        total += count
    if rows:
        yield Request(rows, total)
