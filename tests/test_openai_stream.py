"""Does every text get its vector through the API, whatever goes wrong on the way?"""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
from openai_fixtures import SLOTS, expected, gathered, model_of, server
from openai_rates import Rates
from openai_server import OpenAIServer

from indexer.errors import ModelUnavailable
from indexer.models import Embedded

__all__ = ["server"]

TEXTS = [f"text number {n}" for n in range(300)]
MANY = [f"text number {n} " + "and so on " * 250 for n in range(1500)]
"""More than one request takes: 750 tokens each."""

MIXED = (
    "busy", "busy_after_ms", "status_500", "status_503", "cut_before", "cut_after", "cut_middle", "lost_500",
    "slow", "shuffled", "few", "many", "short", "nan", "same_index", "garbage",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client waits by its own choice is short."""
    monkeypatch.setattr("indexer.models.openai_failures.FIRST_WAIT", 0.01)


def test_many_texts_go_in_full_requests_several_at_once_and_each_is_paid_once(server: OpenAIServer) -> None:
    server.mix("hold_before", share=1, seconds=0.3)
    vectors, refusals = gathered(model_of(server).embed_stream(MANY), len(MANY))
    assert np.allclose(vectors, expected(server, MANY))
    assert refusals == {}
    assert server.ledger.paid == Counter(MANY)
    assert len(server.ledger.requests) == 4
    assert 1 < server.ledger.most_in_flight <= SLOTS


def test_what_was_counted_is_what_is_billed(server: OpenAIServer) -> None:
    answers = list(model_of(server).embed_stream(MANY))
    assert [answer.reserved for answer in answers] == [answer.billed for answer in answers]
    assert sum(answer.billed for answer in answers) == server.ledger.tokens_paid
    assert not any(answer.estimated for answer in answers)


def test_what_the_api_does_not_say_is_counted_here(server: OpenAIServer) -> None:
    server.plan("no_usage")
    (answer,) = model_of(server).embed_stream(TEXTS)
    assert (answer.billed, answer.estimated) == (server.ledger.tokens_paid, True)


def test_vectors_in_another_order_are_put_right(server: OpenAIServer) -> None:
    server.plan("shuffled")
    vectors, _ = gathered(model_of(server).embed_stream(TEXTS), len(TEXTS))
    assert np.allclose(vectors, expected(server, TEXTS))
    assert len(server.ledger.requests) == 1


@pytest.mark.parametrize(
    "kind",
    ["busy", "busy_after", "busy_after_ms", *(f"status_{status}" for status in (408, 409, 500, 502, 503, 504)),
     "cut_before", "cut_after", "cut_middle", "lost_500", "lost_503"],
)  # fmt: skip
def test_what_may_pass_is_asked_again(server: OpenAIServer, kind: str) -> None:
    server.plan(kind, kind)
    vectors, refusals = gathered(model_of(server).embed_stream(TEXTS), len(TEXTS))
    assert np.allclose(vectors, expected(server, TEXTS))
    assert (refusals, server.ledger.acts[kind], len(server.ledger.requests)) == ({}, 2, 3)


def test_no_answer_in_time_is_asked_again_for_less(server: OpenAIServer) -> None:
    server.plan("hold_before", seconds=5)
    vectors, _ = gathered(model_of(server, timeout_seconds=0.5).embed_stream(TEXTS), len(TEXTS))
    assert np.allclose(vectors, expected(server, TEXTS))
    assert [len(entry.texts) for entry in server.ledger.requests if entry.paid] == [150, 150]


def test_an_answer_that_drips_in_is_not_waited_for(server: OpenAIServer) -> None:
    server.plan("slow", seconds=5)
    vectors, _ = gathered(model_of(server, timeout_seconds=1).embed_stream(TEXTS), len(TEXTS))
    assert np.allclose(vectors, expected(server, TEXTS))
    assert [len(entry.texts) for entry in server.ledger.requests] == [300, 150, 150]


@pytest.mark.parametrize(("kind", "least"), [("busy_after_ms", 0.4), ("busy_after", 1.0)])
def test_the_api_is_left_alone_for_as_long_as_it_asks(server: OpenAIServer, kind: str, least: float) -> None:
    server.plan(kind, seconds=0.4)
    list(model_of(server).embed_stream(MANY))
    times = [entry.at for entry in server.ledger.requests]
    assert times[1] - times[0] >= least


@pytest.mark.parametrize(
    "kind",
    ["few", "many", "none", "short", "long", "ragged", "nan", "zeros", "wrong_index", "same_index", "garbage", "html"],
)
def test_a_wrong_answer_is_never_kept_and_is_paid_for(server: OpenAIServer, kind: str) -> None:
    server.plan(kind)
    answers = list(model_of(server).embed_stream(TEXTS))
    assert [len(answer.rows) for answer in answers] == [0, len(TEXTS)]
    assert sum(answer.billed for answer in answers) == server.ledger.tokens_paid
    assert answers[0].reserved == answers[1].reserved
    assert np.allclose(gathered(answers, len(TEXTS))[0], expected(server, TEXTS))


def test_a_request_that_is_always_answered_wrongly_ends_the_run(server: OpenAIServer) -> None:
    server.plan("nan", times=10)
    taken: list[Embedded] = []
    with pytest.raises(ModelUnavailable, match=r"after 4 tries; .* no direction.* What was embedded is kept"):
        taken.extend(model_of(server).embed_stream(TEXTS))
    assert [(list(answer.rows), answer.billed) for answer in taken] == [([], server.ledger.tokens_paid // 4)] * 4
    assert len(server.ledger.requests) == 4


@pytest.mark.parametrize("kind", ["quota", "status_401", "status_403", "status_404", "status_402"])
def test_what_will_never_work_ends_at_once(server: OpenAIServer, kind: str) -> None:
    server.plan(kind, times=10)
    with pytest.raises(ModelUnavailable):
        list(model_of(server).embed_stream(MANY))
    assert len(server.ledger.requests) == 1


def test_a_wrong_key_is_tried_once(server: OpenAIServer) -> None:
    with pytest.raises(ModelUnavailable, match="set OPENAI_API_KEY to one that is valid"):
        list(model_of(server, key="sk-wrong").embed_stream(MANY))
    assert len(server.ledger.requests) == 1


def test_an_unknown_model_ends_at_once(server: OpenAIServer) -> None:
    del server.api.models["text-embedding-3-small"]
    with pytest.raises(ModelUnavailable, match="has no model 'openai:text-embedding-3-small'"):
        list(model_of(server).embed_stream(MANY))
    assert len(server.ledger.requests) == 1


def test_answers_under_way_come_before_the_error(server: OpenAIServer) -> None:
    model = model_of(server)
    list(model.embed_stream(["first"]))  # from now on several go at once
    server.plan("hold_before", "hold_before", "quota", seconds=0.5)
    taken: list[Embedded] = []
    with pytest.raises(ModelUnavailable, match="nothing left to pay with"):
        taken.extend(model.embed_stream(MANY))
    assert server.ledger.paid == Counter(["first", *(MANY[row] for answer in taken for row in answer.rows)])
    assert sum(bool(answer.rows) for answer in taken) == 3


def test_giving_up_keeps_what_came(server: OpenAIServer) -> None:
    model = model_of(server, give_up_seconds=1)
    answers = model.embed_stream(MANY)
    taken = [next(answers)]
    server.mix("status_503", share=1)
    with pytest.raises(ModelUnavailable, match=r"for 1 seconds; .* What was embedded is kept"):
        taken.extend(answers)
    assert 1 <= len(taken) <= 1 + SLOTS
    paid = server.ledger.paid
    assert paid == Counter(MANY[row] for answer in taken for row in answer.rows)


def test_people_are_told_once_why_nothing_happens(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("indexer.models.openai_stream.WARN_AFTER", 0.01)
    server.plan("status_503", times=8)
    list(model_of(server).embed_stream(TEXTS))
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert "The server had an error while processing your request. It is asked again in" in warned[0].getMessage()


def test_nobody_waits_for_longer_than_patience_lasts(server: OpenAIServer) -> None:
    server.plan("busy_after", seconds=3600)
    with pytest.raises(ModelUnavailable, match=r"left alone for 3600 seconds; the last time: Rate limit reached"):
        list(model_of(server).embed_stream(TEXTS))
    assert len(server.ledger.requests) == 1


def test_a_limit_that_is_used_up_for_the_day_ends_it(server: OpenAIServer) -> None:
    server.set(rates=Rates(requests=2, period=86_400.0))
    with pytest.raises(ModelUnavailable, match="its limit is used up"):
        list(model_of(server).embed_stream(MANY))
    assert (len(server.ledger.requests), server.ledger.refused_for_rate) == (2, 0)


def test_a_server_that_is_not_there_is_given_up(server: OpenAIServer) -> None:
    model = model_of(server, give_up_seconds=0.5)
    server.plan("cut_before", times=1000)
    with pytest.raises(ModelUnavailable, match="the connection failed"):
        list(model.embed_stream(TEXTS))


def test_every_slot_waits_until_its_answer_is_taken(server: OpenAIServer) -> None:
    model = model_of(server, in_flight=2)
    list(model.embed_stream(["first"]))
    answers = model.embed_stream(MANY)
    for asked in (2, 3, 4, 4):
        next(answers)
        while len(server.ledger.requests) < 1 + asked:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(server.ledger.requests) == 1 + asked


def test_what_is_not_allowed_is_not_sent_and_what_is_under_way_comes(server: OpenAIServer) -> None:
    asked: list[int] = []

    def allows(tokens: int) -> bool:
        asked.append(tokens)
        return len(asked) < 3

    model = model_of(server)
    list(model.embed_stream(["first"]))
    answers = list(model.embed_stream(MANY, allows))
    assert (len(answers), len(asked), len(server.ledger.requests)) == (2, 3, 3)


def test_an_answer_that_was_paid_for_in_vain_needs_leave_to_be_asked_for_again(server: OpenAIServer) -> None:
    server.plan("zeros", "status_500")
    asked: list[int] = []
    (wasted,) = model_of(server).embed_stream(TEXTS, lambda tokens: asked.append(tokens) or len(asked) < 2)
    assert (list(wasted.rows), wasted.billed, len(asked)) == ([], asked[0], 2)
    assert len(server.ledger.requests) == 1


@pytest.mark.parametrize("taken", [0, 1])
def test_a_stream_that_is_left_asks_for_no_more(server: OpenAIServer, taken: int) -> None:
    model = model_of(server, in_flight=2)
    list(model.embed_stream(["first"]))
    answers = model.embed_stream(MANY)
    for _ in range(taken):
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(server.ledger.requests) <= 1 + 2 * taken
    assert np.allclose(model.embed_query(["after"]), expected(server, ["after"]))


def test_the_rate_is_followed(server: OpenAIServer) -> None:
    server.set(rates=Rates(requests=1000, tokens=400_000, period=1.0))
    vectors, _ = gathered(model_of(server).embed_stream(MANY), len(MANY))
    assert np.allclose(vectors, expected(server, MANY))
    assert server.ledger.refused_for_rate == 0


def test_the_rate_of_requests_is_followed(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.models.openai_packing.TOKENS", 5)
    server.set(rates=Rates(requests=20, period=0.5))
    gathered(model_of(server, in_flight=8).embed_stream(TEXTS[:60]), 60)
    assert len(server.ledger.requests) == 60
    assert server.ledger.refused_for_rate == 0


def test_a_request_that_is_larger_than_the_rate_is_split(server: OpenAIServer) -> None:
    server.set(rates=Rates(tokens=100_000, period=0.2))
    vectors, _ = gathered(model_of(server).embed_stream(MANY), len(MANY))
    assert np.allclose(vectors, expected(server, MANY))
    assert server.ledger.refused_for_rate <= 1


def test_a_rate_that_is_not_told_is_found_out(server: OpenAIServer) -> None:
    server.set(rates=Rates(tokens=600_000, period=1.0, headers=False, retry_after="ms"))
    vectors, _ = gathered(model_of(server).embed_stream(MANY), len(MANY))
    assert np.allclose(vectors, expected(server, MANY))
    assert server.ledger.refused_for_rate <= SLOTS


def test_a_request_that_always_comes_too_fast_is_split_where_no_rate_is_told(server: OpenAIServer) -> None:
    server.set(rates=Rates(tokens=200_000, period=0.1, headers=False, retry_after="none"))
    vectors, _ = gathered(model_of(server).embed_stream(MANY[:400]), 400)
    assert np.allclose(vectors, expected(server, MANY[:400]))


def test_whatever_goes_wrong_each_text_has_one_outcome_and_is_paid_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.models.openai_packing.TOKENS", 200)
    texts = [f"text number {n}{' poison' * (n % 97 == 5)}" for n in range(2000)]
    with OpenAIServer(spoiled_apart=True, poison="poison") as server:
        server.mix(*MIXED, seed=7)
        vectors, refusals = gathered(model_of(server).embed_stream(texts), len(texts))
        bad = {row for row, text in enumerate(texts) if "poison" in text}
        good = [row for row in range(len(texts)) if row not in bad]
        assert refusals.keys() == bad
        assert np.allclose(vectors[good], expected(server, texts)[good])
        assert server.ledger.paid == Counter(texts[row] for row in good)
        assert server.ledger.acts.keys() == set(MIXED)
        assert server.ledger.most_in_flight <= SLOTS
