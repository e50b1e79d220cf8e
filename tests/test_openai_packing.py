"""Which texts go into one request to the API?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.models.openai_packing import INPUTS, TOKENS, halves, most_tokens, pack


@pytest.mark.parametrize(
    ("tokens", "most", "inputs", "packs"),
    [
        ([], 10, 5, []),
        ([3], 10, 5, [[0]]),
        ([5, 5, 1], 10, 5, [[0, 1], [2]]),
        ([5, 6], 10, 5, [[0], [1]]),
        ([1, 1, 1], 10, 2, [[0, 1], [2]]),
        ([1, 99, 1], 10, 5, [[0], [1], [2]]),
        ([0, 0, 0], 10, 2, [[0, 1], [2]]),
    ],
)
def test_a_request_takes_what_the_api_takes(tokens: list[int], most: int, inputs: int, packs: list[list[int]]) -> None:
    assert pack(tokens, most, inputs) == packs


@given(st.lists(st.integers(0, 400), max_size=200), st.integers(1, 500), st.integers(1, 20))
def test_every_text_is_asked_for_once_in_order_and_within_the_limits(tokens: list[int], most: int, inputs: int) -> None:
    packs = pack(tokens, most, inputs)
    assert [row for rows in packs for row in rows] == list(range(len(tokens)))
    assert all(1 <= len(rows) <= inputs for rows in packs)
    assert all(len(rows) == 1 or sum(tokens[row] for row in rows) <= most for rows in packs)


@given(st.lists(st.integers(), min_size=2, unique=True))
def test_halves_are_the_whole(rows: list[int]) -> None:
    left, right = halves(rows)
    assert left + right == rows
    assert abs(len(left) - len(right)) <= 1


def test_estimated_tokens_fill_half_a_request() -> None:
    assert (INPUTS, most_tokens(exact=True), most_tokens(exact=False)) == (2048, TOKENS, TOKENS // 2)
