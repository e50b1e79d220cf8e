"""Does the client send what the server would take, and no more?"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from indexer.models.openai_pace import LEAST_TOKENS, Pace, Said, read_headers, seconds


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h0m0s", 3600.0),
        ("1m30.5s", 90.5),
        ("2d1h", 176_400.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("", None),
        ("ms", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1764000000", None),
    ],
)
def test_a_duration_is_read_as_it_is_written(said: str, expected: float | None) -> None:
    assert seconds(said) == expected


def told(remaining: int, reset: str, limit: int = 100, kind: str = "requests") -> dict[str, str]:
    """The headers of an answer."""
    return {
        f"x-ratelimit-limit-{kind}": str(limit),
        f"x-ratelimit-remaining-{kind}": str(remaining),
        f"x-ratelimit-reset-{kind}": reset,
    }


@pytest.mark.parametrize("missing", ["limit", "remaining", "reset"])
def test_headers_count_when_all_three_are_there(missing: str) -> None:
    headers = told(5, "1s")
    assert read_headers(headers, "requests") == Said(100, 5, 1.0)
    del headers[f"x-ratelimit-{missing}-requests"]
    assert read_headers(headers, "requests") is None
    assert read_headers({**headers, f"x-ratelimit-{missing}-requests": "?"}, "requests") is None


def answer(pace: Pace, headers: Mapping[str, str], now: float = 0.0, tokens: int = 10) -> None:
    """One request that was sent and answered."""
    pace.answered(pace.send(tokens), headers, now, good=True)


def test_it_begins_with_one_request_at_once() -> None:
    pace = Pace(8)
    assert pace.hold(10, 0) == 0
    ticket = pace.send(10)
    assert pace.hold(10, 0) == math.inf
    pace.answered(ticket, told(99, "1s"), 0, good=True)
    assert [pace.hold(10, 0) or pace.send(10) for _ in range(8)].count(math.inf) == 0
    assert pace.hold(10, 0) == math.inf


def test_a_server_that_says_nothing_is_asked_by_one_more_at_once_after_each_answer() -> None:
    pace = Pace(3)
    for width in (1, 2, 3, 3):
        tickets = [pace.send(1) for _ in range(width)]
        assert pace.hold(1, 0) == math.inf
        pace.answered(tickets[0], {}, 0, good=True)
        for ticket in tickets[1:]:
            pace.answered(ticket, {}, 0, good=False)


def test_what_is_under_way_is_not_sent_again() -> None:
    pace = Pace(8)
    answer(pace, told(2, "10s"))
    pace.send(10)
    pace.send(10)
    assert pace.hold(10, 0) == 10


@pytest.mark.parametrize("kind", ["requests", "tokens"])
def test_what_is_used_up_waits_for_the_reset(kind: str) -> None:
    pace = Pace(8)
    answer(pace, told(0, "6s", kind=kind), now=100)
    assert pace.hold(10, 101) == 5
    assert pace.hold(10, 106) == 0


def test_after_the_reset_one_request_goes_ahead_and_tells_for_the_rest() -> None:
    pace = Pace(8)
    answer(pace, told(0, "6s"))
    ticket = pace.send(10)
    assert pace.hold(10, 7) == math.inf
    pace.answered(ticket, told(50, "3s"), 7, good=True)
    assert pace.hold(10, 7) == 0


def test_more_tokens_than_are_left_wait_and_fewer_do_not() -> None:
    pace = Pace(8)
    answer(pace, told(30, "6s", kind="tokens"))
    assert pace.hold(31, 0) == 6
    assert pace.hold(30, 0) == 0
    assert pace.most_tokens == 100


def test_an_answer_that_comes_late_is_not_taken_for_what_is_left_now() -> None:
    pace = Pace(8)
    answer(pace, told(100, "0s"))
    early, late = pace.send(10), pace.send(10)
    pace.answered(late, told(98, "1s"), 0, good=True)
    pace.answered(early, told(99, "1s"), 0, good=True)
    for _ in range(98):
        assert pace.hold(10, 0) == 0
        pace.answered(pace.send(10), {}, 0, good=True)
    assert pace.hold(10, 0) == 1


def test_what_others_use_of_the_same_account_is_believed() -> None:
    pace = Pace(8)
    answer(pace, told(90, "1s"))
    answer(pace, told(0, "8s"))
    assert pace.hold(10, 0) == 8


def test_a_refusal_holds_everything_and_halves_what_goes_at_once() -> None:
    pace = Pace(8)
    answer(pace, told(90, "1s"))
    pace.refused(5.0)
    pace.refused(3.0)
    assert pace.hold(10, 1) == 4
    pace.send(10)
    pace.send(10)
    assert pace.hold(10, 6) == math.inf


def test_what_had_no_answer_in_time_is_asked_for_in_smaller_requests() -> None:
    pace = Pace(8)
    assert pace.most_tokens == math.inf
    pace.slow(100_000)
    assert pace.most_tokens == 50_000
    pace.slow(200_000)
    assert pace.most_tokens == 50_000
    answer(pace, {})
    assert pace.most_tokens == pytest.approx(55_000)
    pace.slow(10)
    assert pace.most_tokens == LEAST_TOKENS
