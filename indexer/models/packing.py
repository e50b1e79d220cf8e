"""Which texts does a model read together, so that little of what it computes is padding?

Sorted by length and packed by tokens: a batch of long texts has few of them, one of short texts many, and both cost
about the same. Lengths are rounded up and counts are powers of two, so that there are few shapes, each of which costs
some milliseconds the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

BATCH_TOKENS = 2048
"""Most tokens in a batch, padding included, unless one text has more."""
PADDING = 1 / 8
"""Most of a batch that is to be padding, where it has several texts: a batch of their own costs less."""
FEW_TOKENS = 16
"""Unless it is so few: as many as the call for another batch costs."""


def rounded(length: int, step: int) -> int:
    """The tokens that a row of so many is filled up to, a multiple of the step."""
    return max(1, -(-length // step)) * step


def batches(lengths: Sequence[int], step: int, at_least: int = 1) -> Iterator[list[int]]:
    """All rows, longest first, batch by batch, each filled up to a multiple of the step.

    There are about so many batches at least, where there are as many rows.
    """
    rows = sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True)
    filled = [rounded(lengths[row], step) for row in rows]
    most = min(BATCH_TOKENS, -(-sum(filled) // at_least)) if at_least > 1 else BATCH_TOKENS
    start = 0
    while start < len(rows):
        fitting = max(1, most // filled[start])
        count = _power_of_two(min(fitting, _alike(filled[start : start + fitting])))
        yield rows[start : start + count]
        start += count


def _alike(filled: Sequence[int]) -> int:
    """How many of these, longest first, may stand together."""
    longest, padding = filled[0], 0
    for count, own in enumerate(filled):
        padding += longest - own
        if padding > max(FEW_TOKENS, PADDING * longest * (count + 1)):
            return count
    return len(filled)


def _power_of_two(most: int) -> int:
    """The largest that is not above."""
    return 1 << (most.bit_length() - 1)
