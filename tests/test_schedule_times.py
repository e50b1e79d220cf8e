"""When is the next run due by a cron expression, in local time, and does the plan say why?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from indexer.errors import ConfigurationError
from indexer.schedule import next_time, plan

DAILY = "0 3 * * *"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""A Monday."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (DAILY, "2026-01-06 03:00"),
        ("*/15 * * * *", "2026-01-05 12:15"),
        ("0 12 * * *", "2026-01-06 12:00"),
        ("30 4 * * sun", "2026-01-11 04:30"),
        ("0 0 1,15 * *", "2026-01-15 00:00"),
        ("0 0 13 * 5", "2026-01-09 00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("5-7 9-17/4 * MAR 1-5", "2026-03-02 09:05"),
        ("  0  3  *  *  * ", "2026-01-06 03:00"),
    ],
)
def test_the_next_time_is_the_one_that_cron_would_take(expression: str, expected: str) -> None:
    assert next_time(expression, NOON, UTC) == at(expected)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "daily",
        "0 3 * *",
        "0 0 3 * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 30 2 *",
        "0 3 * * ?",
        "a b c d e",
        "-1 * * * *",
    ],
)
def test_what_is_not_a_cron_expression_is_refused_with_an_example(expression: str) -> None:
    with pytest.raises(ConfigurationError, match=r'for example "0 3 \* \* \*"') as refused:
        next_time(expression, NOON)
    assert repr(expression) in refused.value.message
    assert refused.value.param == "schedule"


@pytest.fixture
def central_europe(zone: Callable[[str], None]) -> None:
    """Summer time from 2026-03-29 2:00 to 2026-10-25 3:00."""
    zone("CET-1CEST,M3.5.0,M10.5.0/3")


def times(expression: str, after: str, count: int) -> list[str]:
    """So many times, each asked for when the one before has come."""
    found, now = [], at(after)
    for _ in range(count):
        now = next_time(expression, now)
        found.append(f"{now:%d %H:%M}")
    return found


@pytest.mark.usefixtures("central_europe")
def test_an_expression_is_read_in_local_time_in_winter_and_in_summer() -> None:
    assert next_time(DAILY, at("2026-01-05 12:00")) == at("2026-01-06 02:00")
    assert next_time(DAILY, at("2026-07-05 12:00")) == at("2026-07-06 01:00")


@pytest.mark.usefixtures("central_europe")
def test_a_time_that_summer_time_leaves_out_comes_right_after_the_gap() -> None:
    assert times("30 2 * * *", "2026-03-28 00:00", 3) == ["28 01:30", "29 01:00", "30 00:30"]
    assert times("0 * * * *", "2026-03-28 23:30", 4) == ["29 00:00", "29 01:00", "29 02:00", "29 03:00"]


@pytest.mark.usefixtures("central_europe")
def test_a_time_that_winter_time_repeats_comes_once_and_every_hour_is_every_hour() -> None:
    assert times("30 2 * * *", "2026-10-24 12:00", 2) == ["25 00:30", "26 01:30"]
    assert next_time("30 2 * * *", at("2026-10-25 01:10")) == at("2026-10-26 01:30")  # the second 2:10 of that night
    assert times("0 * * * *", "2026-10-24 23:30", 4) == ["25 00:00", "25 01:00", "25 02:00", "25 03:00"]


def test_what_is_not_published_is_due_at_once_and_the_reason_says_so() -> None:
    now = plan(DAILY, NOON, ("a", "b", "c"), ("a", "c"), UTC)
    assert (now.at, now.collections, now.reason) == (NOON, ("a", "c"), "nothing is published yet in a, c")
    later = plan(DAILY, NOON, ("a", "b"), (), UTC)
    assert (later.at, later.collections) == (at("2026-01-06 03:00"), ("a", "b"))
    assert later.reason == "by the schedule '0 3 * * *'"
    with pytest.raises(ConfigurationError):
        plan("0 3", NOON, ("a",), ("a",))
