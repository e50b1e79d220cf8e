"""Are texts read together so that all are read once, little is padding, and there are few shapes?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.models.packing import BATCH_TOKENS, FEW_TOKENS, PADDING, batches, rounded

LENGTHS = st.lists(st.integers(1, 3000), max_size=200)


@given(LENGTHS, st.sampled_from([8, 16]), st.integers(1, 8))
def test_every_row_is_in_one_batch_that_is_not_too_large(lengths: list[int], step: int, at_least: int) -> None:
    parts = list(batches(lengths, step, at_least))
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    for part in parts:
        longest = rounded(max(lengths[row] for row in part), step)
        padding = sum(longest - rounded(lengths[row], step) for row in part)
        assert len(part) & (len(part) - 1) == 0
        assert len(part) == 1 or longest * len(part) <= BATCH_TOKENS
        assert padding <= max(FEW_TOKENS, PADDING * longest * len(part))
    ordered = [lengths[row] for part in parts for row in part]
    assert ordered == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("lengths", "at_least", "sizes"),
    [
        ([], 2, []),
        ([500], 4, [1]),
        ([20] * 16, 1, [16]),
        ([20] * 16, 2, [8, 8]),
        ([20] * 16, 4, [4, 4, 4, 4]),
        ([20] * 3, 2, [1, 1, 1]),
        ([30] * 8 + [10] * 8, 1, [8, 8]),
        ([24] * 8 + [16], 1, [8, 1]),
        ([24] * 7 + [16], 1, [8]),
        ([256] * 20, 1, [8, 8, 4]),
        ([3000, 2000], 1, [1, 1]),
    ],
)
def test_the_sizes_of_batches(lengths: list[int], at_least: int, sizes: list[int]) -> None:
    assert [len(part) for part in batches(lengths, 8, at_least)] == sizes


def test_many_texts_of_all_lengths_are_hardly_padded() -> None:
    lengths = np.random.default_rng(1).gamma(2, 45, 4000).astype(int).clip(3, 256).tolist()
    parts = list(batches(lengths, 8))
    read = sum(len(part) * rounded(max(lengths[row] for row in part), 8) for part in parts)
    assert read < 1.06 * sum(lengths)
    assert len(parts) < 2 * sum(lengths) / BATCH_TOKENS + 8
