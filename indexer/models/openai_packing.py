"""Which texts go into one request?

As many as the API takes, in their order. Where tokens are only estimated, less is taken for full.
"""

from __future__ import annotations

from collections.abc import Sequence

INPUTS = 2048
"""Most texts in one request."""
TOKENS = 300_000
"""Most tokens in one request."""
SAFE_SHARE = 0.5
"""Of the tokens, where they are only estimated."""


def most_tokens(exact: bool) -> int:
    """Most tokens that are put into one request."""
    return TOKENS if exact else int(TOKENS * SAFE_SHARE)


def pack(tokens: Sequence[int], most: int, inputs: int | None = None) -> list[list[int]]:
    """The numbers of the texts in each request, by their tokens; a text that is over the limit goes alone.

    `inputs` is how many there may be in one; as many as the API takes where it is not given.
    """
    inputs = INPUTS if inputs is None else inputs
    packs: list[list[int]] = []
    total = 0
    for row, count in enumerate(tokens):
        if not packs or len(packs[-1]) >= inputs or total + count > most:
            packs.append([])
            total = 0
        packs[-1].append(row)
        total += count
    return packs


def halves(rows: list[int]) -> tuple[list[int], list[int]]:
    """Two requests for what was one, of two texts or more."""
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]
