"""Which generations are kept, and why? A pure function, tabulated."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pruning import DAY

from indexer.prune import plan_prune

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - days * DAY


OLD = "it is older than 1 day and not one of the last 2"
LAST = "it is one of the last 2"
YOUNG = "it is younger than 1 day"
CURRENT = "it is current"


@pytest.mark.parametrize(
    ("published", "opened", "expected"),
    [
        ([], None, []),
        ([(1, ago(400))], None, [CURRENT]),
        ([(1, ago(400)), (2, ago(399))], None, [LAST, CURRENT]),
        ([(n, ago(9 - n)) for n in range(1, 5)], None, [OLD, OLD, LAST, CURRENT]),
        ([(1, ago(1.1)), (2, ago(0.9)), (5, ago(0.5)), (7, ago(0))], None, [OLD, YOUNG, LAST, CURRENT]),
        ([(1, ago(1)), (2, ago(0)), (3, ago(0))], None, [OLD, LAST, CURRENT]),
        ([(1, ago(-3)), (2, ago(9)), (3, ago(8)), (4, ago(7))], None, [YOUNG, OLD, LAST, CURRENT]),
        ([(1, None), (2, ago(5)), (3, None), (4, None)], None, ["its manifest cannot be read", OLD, LAST, CURRENT]),
        ([(n, ago(9)) for n in range(1, 5)], 1, ["it is the newest that can be opened", OLD, LAST, CURRENT]),
        ([(n, ago(9)) for n in range(1, 5)], 3, [OLD, OLD, LAST, CURRENT]),
    ],
)
def test_what_is_kept_and_why(
    published: list[tuple[int, datetime | None]], opened: int | None, expected: list[str]
) -> None:
    verdicts = plan_prune(published, 2, DAY, NOW, opened)
    assert [verdict.number for verdict in verdicts] == [number for number, _ in published]
    assert [verdict.reason for verdict in verdicts] == expected
    assert [verdict.keep for verdict in verdicts] == [reason != OLD for reason in expected]


@pytest.mark.parametrize(("days", "words"), [(0, "0 days"), (0.5, "0.5 days"), (1, "1 day"), (30, "30 days")])
def test_the_reason_names_the_policy(days: float, words: str) -> None:
    gone, _ = plan_prune([(1, ago(99)), (2, ago(98))], 1, days * DAY, NOW)
    assert gone.reason == f"it is older than {words} and not one of the last 1"
