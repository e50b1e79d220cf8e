"""Do batches stay within the limits of the API, of money and of the time that a run may wait?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from openai_server import OpenAIServer
from posted import TO_THE_END, Posted, rows, texts
from support import StandIn

from indexer import batches
from indexer.errors import BrakeRefused


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(pace="told") as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, server: OpenAIServer, stand_in: StandIn) -> Posted:
    return Posted(tmp_path, server, stand_in)


def test_a_batch_that_was_too_large_for_the_queue_is_sent_in_smaller_ones(place: Posted, server: OpenAIServer) -> None:
    server.fate("token_limit")
    place.run(rows(10))
    server.advance(TO_THE_END)
    place.run()
    assert [batch.requests for batch in place.batches] == [10, 5, 5]
    server.advance(TO_THE_END)
    assert place.run().published


def test_a_queue_that_is_full_gets_no_more_than_it_takes_until_all_is_through(
    place: Posted, server: OpenAIServer
) -> None:
    tokens = 5
    server.set(limits={"enqueued_tokens": 8 * tokens})
    for _ in range(12):
        if place.run(rows(40)).published:
            break
        server.advance(TO_THE_END)
    assert place.holds(rows(40))
    assert place.asked.paid == texts(rows(40))
    assert place.asked.asked("POST /v1/batches") < 20


def test_files_stay_within_the_limits_and_equal_texts_are_sent_once(
    place: Posted, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches.sending, "MOST_REQUESTS", 4)
    twice = [*rows(10), {"id": "copy", "text": rows(1)[0]["text"]}]
    assert place.run(twice).pending == 10
    assert [batch.requests for batch in place.batches] == [4, 4, 2]
    monkeypatch.setattr(batches.sending, "MOST_BYTES", 2 * (place.batches[0].bytes // 4) + 20)
    place.run([*twice, *rows(4, start=20)])
    assert [batch.requests for batch in place.batches[3:]] == [2, 2]
    server.advance(TO_THE_END)
    assert place.run().published
    assert place.asked.paid == texts([*rows(10), *rows(4, start=20)])


def test_a_run_that_may_wait_stays_until_it_can_publish(
    place: Posted, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "POLL_SECONDS", 0.01)
    server.set(pace="retrieval")
    server.fate("expire")
    report = place.run(rows(10), wait=60)
    assert (report.published, report.pending) == (True, 0)
    assert place.holds(rows(10))
    assert place.asked.paid == texts(rows(10))


def test_a_run_that_may_wait_for_a_while_leaves_the_rest_to_the_next(
    place: Posted, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "POLL_SECONDS", 0.01)
    assert place.run(rows(3), wait=0.1).pending == 3
    threading.Timer(0.1, server.advance, (TO_THE_END,)).start()
    assert place.run(wait=60).published


def test_a_run_that_waits_for_what_fails_every_time_ends(
    place: Posted, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "POLL_SECONDS", 0.01)
    server.set(pace="retrieval")
    for _ in range(5):
        server.fate("fail")
    assert not place.run(rows(3), wait=60).published


def test_nothing_is_sent_that_would_be_too_dear(place: Posted, server: OpenAIServer) -> None:
    with pytest.raises(BrakeRefused, match=r"Nothing was sent or published: the run would pay .*max_cost is \$0.001"):
        place.run(rows(10), max_cost="0.001")
    assert place.asked.entries == []
    assert place.batches == []
    assert place.run(max_cost="1").pending == 10
    server.advance(TO_THE_END)
    assert place.run(max_cost="0").published


def test_what_is_under_way_counts_against_the_month(place: Posted) -> None:
    tokens = sum(place.stand_in.tokenizer.count(row["text"]) + 2 for row in rows(10))
    openai = place.providers.openai.model_copy(update={"max_cost_month": Decimal(tokens) * 3 / 4000})
    place.providers = place.providers.model_copy(update={"openai": openai})
    place.run(rows(10))
    with pytest.raises(BrakeRefused, match=r"max_cost_month is .* are spent"):
        place.run([*rows(10), *rows(10, start=20)])
