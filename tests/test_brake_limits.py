"""What exactly do the brakes let through, and what do they say?"""

from __future__ import annotations

import pytest

from indexer.brakes import too_much_rejected, too_much_shrinks


@pytest.mark.parametrize(
    ("going", "published", "allowed", "stops"),
    [
        (0, 0, 0.0, False),
        (0, 0, 0.2, False),
        (0, 10, 0.0, False),
        (1, 10, 0.0, True),
        (1, 1_000_000_000, 0.0, True),
        (1, 5, 0.2, False),
        (2, 10, 0.2, False),
        (3, 10, 0.2, True),
        (200_000, 1_000_000, 0.2, False),
        (200_001, 1_000_000, 0.2, True),
        (29, 100, 0.29, False),  # 0.29 * 100 is less than 29
        (30, 100, 0.29, True),
        (7, 100, 0.07, False),
        (1, 3, 1 / 3, False),
        (9, 10, 1.0, False),
        (10, 10, 1.0, False),
        (10, 10, 0.9999, True),
    ],
)
def test_exactly_the_limit_passes_and_one_item_more_does_not(
    going: int, published: int, allowed: float, stops: bool
) -> None:
    assert (too_much_shrinks(going, published, allowed, ["a"]) is not None) == stops
    assert (too_much_rejected(going, published, allowed) is not None) == stops


def test_the_reason_has_the_numbers_the_limit_and_some_ids() -> None:
    assert too_much_shrinks(2, 4, 0.2, ["a", "it's"]) == (
        "the run would remove 2 of 4 items (50.0%, and max_shrink is 20%): 'a', \"it's\""
    )
    assert too_much_shrinks(1234, 2000, 0.125, ["a", "b"]) == (
        "the run would remove 1,234 of 2,000 items (61.7%, and max_shrink is 12.5%): 'a', 'b', …"
    )
    assert too_much_rejected(1500, 2000, 0.5) == (
        "1,500 of the source's 2,000 rows were rejected (75.0%, and max_rejects is 50%)"
    )
