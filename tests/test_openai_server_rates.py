"""Does the test server measure requests and tokens as OpenAI does, and count whom it refused?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from openai_rates import Rates, duration
from openai_server import OpenAIServer
from test_openai_server import SMALL, TEXTS, ask, client


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


def test_requests_and_tokens_that_come_too_fast_are_refused_and_counted(server: OpenAIServer) -> None:
    server.set(rates=Rates(requests=2, tokens=1000, period=3600))
    first = ask(server, "x")
    assert (first.headers["x-ratelimit-limit-requests"], first.headers["x-ratelimit-remaining-requests"]) == ("2", "1")
    assert first.headers["x-ratelimit-remaining-tokens"] == "999"
    assert first.headers["x-ratelimit-reset-requests"].startswith(("29m", "30m"))
    assert ask(server, "x").status_code == 200
    third = ask(server, "x")
    assert (third.status_code, third.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1700 < int(third.headers["retry-after"]) <= 1800
    server.set(rates=Rates(requests=10, tokens=5, retry_after="none"))
    assert ask(server, TEXTS[0]).status_code == 200
    late = ask(server, TEXTS[0])
    assert (late.status_code, late.json()["error"]["type"], "retry-after" in late.headers) == (429, "tokens", False)
    assert server.ledger.refused_for_rate == 2
    assert server.ledger.paid == Counter({"x": 2, TEXTS[0]: 1})


def test_buckets_fill_again(server: OpenAIServer) -> None:
    server.set(rates=Rates(requests=1, period=0.2))
    with client(server, max_retries=3) as api:
        for _ in range(3):
            api.embeddings.create(model=SMALL, input="x")
    assert server.ledger.paid == Counter({"x": 3})


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.02, "20ms"), (1, "1s"), (8.64, "8.64s"), (360, "6m0s"), (72.5, "1m12.5s"), (3600, "1h0m0s")],
)
def test_durations_are_told_as_openai_tells_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told
