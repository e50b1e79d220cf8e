"""Which texts does a model read together, so that little of what it computes is padding?

Sorted by length and packed by tokens: a batch of long texts has few of them, one of short texts many, and both cost
about the same. Lengths are rounded up and counts are powers of two, so that there are few shapes, each of which costs
some milliseconds the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

BATCH_TOKENS = 2048
"""Most tokens in a batch, padding included, unless one text has more."""
STEP = 16
"""Lengths are rounded up to a multiple of it. Half of it would save 4 % of padding, but kernels that cannot fill their
vector registers round otherwise, and a text's vector came to depend on how far its row was filled up."""


def rounded(length: int) -> int:
    """The tokens that a row of so many is filled up to."""
    return max(1, -(-length // STEP)) * STEP


def batches(lengths: Sequence[int], most: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """All rows, longest first, batch by batch."""
    rows = sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True)
    start = 0
    while start < len(rows):
        fitting = max(1, most // rounded(lengths[rows[start]]))
        count = _power_of_two(min(fitting, len(rows) - start))
        yield rows[start : start + count]
        start += count


def _power_of_two(most: int) -> int:
    """The largest that is not above."""
    return 1 << (most.bit_length() - 1)
