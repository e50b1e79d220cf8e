"""What does the client make of an answer that is none, and what does it say of it?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from indexer.models.openai_failures import (
    LONGEST_WAIT,
    LONGEST_WORDS,
    Failure,
    Verdict,
    backoff,
    explain,
    judge,
    masked,
    retry_after,
    sentence,
    wait_for,
)
from indexer.models.openai_patience import REFUSED_ALIKE, Blame, Patience, blame

KEY = "sk-proj-abcdefghijklmnop1234"
NOW = datetime(2025, 11, 25, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_asked_again(status: int) -> None:
    assert judge(status, "", "", "") is Verdict.LATER


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "invalid_api_key", ""),
        (402, "", ""),
        (403, "", ""),
        (404, "model_not_found", ""),
        (400, "model_not_found", ""),
        (405, "", ""),
        (429, "insufficient_quota", ""),
        (429, "", "insufficient_quota"),
        (400, "billing_hard_limit_reached", ""),
        (501, "", ""),
    ],
)
def test_what_will_never_work_ends_it(status: int, code: str, kind: str) -> None:
    assert judge(status, code, kind, "") is Verdict.END


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    ("param", "verdict"),
    [
        ("", Verdict.SPLIT),
        ("input", Verdict.SPLIT),
        ("input[3]", Verdict.SPLIT),
        ("dimensions", Verdict.END),
        ("model", Verdict.END),
    ],
)
def test_only_what_is_refused_for_a_text_is_looked_for_among_the_texts(
    status: int, param: str, verdict: Verdict
) -> None:
    assert judge(status, "", "invalid_request_error", param) is verdict


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 0.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "Tue, 25 Nov 2025 12:00:09 GMT"}, 9.0),
        ({"retry-after": "Tue, 25 Nov 2025 11:00:00 GMT"}, 0.0),
        ({"retry-after": "later"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
    ],
)
def test_what_the_api_asks_to_be_waited_is_understood(headers: dict[str, str], expected: float) -> None:
    assert retry_after(headers, NOW) == expected


def test_waits_double_up_to_a_bound_and_are_spread() -> None:
    assert [backoff(tries, 1.0) for tries in range(8)] == [0.5, 1, 2, 4, 8, 16, LONGEST_WAIT, LONGEST_WAIT]
    assert backoff(10_000, 1.0) == LONGEST_WAIT
    assert backoff(5, 0.0) == 0.0


def test_no_wait_is_shorter_than_what_the_api_asks_for() -> None:
    assert wait_for(Failure(Verdict.LATER, "busy.", after=3.0), 0, 0.0) == 3.0


@pytest.mark.parametrize(
    "words",
    [
        f"Incorrect API key provided: {KEY}.",
        f"Incorrect API key provided: {KEY[:8]}********{KEY[-4:]}. You can find it elsewhere",
        f"The key ending in {KEY[-4:]} is not known",
        f"The key beginning with '{KEY[:7]}' is not known",
        f"Bearer:{KEY}",
        f"x={KEY[4:16]}",
        f"key={KEY[-4:]}",
        f"(sk-…{KEY[-4:]})",
        f"{KEY[:12]}...{KEY[-4:]}",
    ],
)
def test_no_part_of_the_key_is_repeated(words: str) -> None:
    said = sentence(words, KEY)
    assert not any(KEY[at : at + 4] in said for at in range(len(KEY) - 3))
    assert "…" in said


def test_the_word_in_a_key_may_be_said() -> None:
    words = "Your project does not allow that."
    assert masked(words, KEY) == words


def test_words_without_the_key_stay_as_they_are() -> None:
    words = "This model's maximum context length is 8192 tokens, however you requested 9000 tokens."
    assert masked(words, KEY) == words
    assert masked(words, "") == words


def test_words_are_one_line_of_bounded_length_that_ends_like_a_sentence() -> None:
    assert sentence("no\n good ", KEY) == "no good."
    assert sentence("Is it?", KEY) == "Is it?"
    assert len(sentence("word " * 1000, KEY)) <= LONGEST_WORDS


@pytest.mark.parametrize(
    ("status", "code", "part"),
    [
        (401, "", "OPENAI_API_KEY"),
        (403, "", "OPENAI_API_KEY"),
        (404, "", "OPENAI_BASE_URL"),
        (402, "", "Fill it up"),
        (429, "insufficient_quota", "Fill it up"),
        (400, "", "refuses every request"),
    ],
)
def test_every_end_says_what_to_do(status: int, code: str, part: str) -> None:
    error = explain(Failure(Verdict.END, "Nothing doing.", status, code), "openai:x", "http://there/v1")
    assert part in error.message
    assert "http://there/v1" in error.message
    assert error.message.endswith(".")
    assert ".." not in error.message


def test_patience_ends_after_so_many_seconds_without_an_answer() -> None:
    patience = Patience(10)
    assert [patience.failed(now) for now in (0, 9, 10)] == [False, False, True]
    patience.answered()
    assert [patience.failed(now) for now in (20, 29)] == [False, False]
    patience.heard()
    assert [patience.failed(now) for now in (31, 41)] == [False, True]


def test_once_many_texts_are_refused_alike_it_is_time_to_doubt_the_api_unless_it_took_one() -> None:
    patience = Patience(10)
    refusals = [f"input[{n}] is bad" for n in range(REFUSED_ALIKE + 9)]
    assert [at for at, words in enumerate(refusals) if patience.refused(words)] == [REFUSED_ALIKE - 1]
    patience = Patience(10)
    patience.answered()
    assert not any(patience.refused(words) for words in refusals)


@pytest.mark.parametrize(
    ("texts", "failed", "alone", "expected"),
    [
        (300, 1, 1, Blame.API),
        (300, 2, 1, Blame.API),
        (300, 3, 1, Blame.UNKNOWN),
        (300, 100, 1, Blame.UNKNOWN),
        (300, 4, 3, Blame.UNKNOWN),
        (300, 4, 4, Blame.TEXTS),
        (2, 9, 4, Blame.TEXTS),
        (1, 2, 2, Blame.API),
        (1, 4, 4, Blame.UNKNOWN),
        (1, 100, 5, Blame.UNKNOWN),
        (1, 6, 6, Blame.TEXT),
        (1, 100, 6, Blame.TEXT),
        (0, 100, 100, Blame.API),
    ],
)
def test_texts_are_to_blame_only_where_others_are_answered_in_between(
    texts: int, failed: int, alone: int, expected: Blame
) -> None:
    assert blame(texts, failed, alone) is expected
