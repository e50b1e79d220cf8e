"""Is a text that the API does not embed told apart from the others, and from an API that embeds nothing?"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from openai_fixtures import expected, gathered, model_of, server
from openai_server import OpenAIServer

from indexer.errors import ModelUnavailable
from indexer.models import Embedded
from indexer.models.openai_requests import HARMLESS

__all__ = ["server"]

TEXTS = [f"text number {n}" for n in range(300)]


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client waits by its own choice is short."""
    monkeypatch.setattr("indexer.models.openai_failures.FIRST_WAIT", 0.01)


def test_poison_is_told_apart_and_the_rest_goes_through(server: OpenAIServer) -> None:
    server.set(poison="poison")
    texts = [f"{text} poison" if n in (0, 77, 78, 299) else text for n, text in enumerate(TEXTS)]
    vectors, refusals = gathered(model_of(server).embed_stream(texts), len(texts))
    assert refusals == dict.fromkeys((0, 77, 78, 299), "Your input was rejected as a result of our safety system.")
    good = [row for row in range(len(texts)) if row not in refusals]
    assert np.allclose(vectors[good], expected(server, texts)[good])
    assert server.ledger.paid == Counter(texts[row] for row in good)


def test_poison_costs_nothing_and_what_was_allowed_is_given_back(server: OpenAIServer) -> None:
    server.set(poison="number 7 ")
    allowed: list[int] = []
    texts = [f"{text} " for text in TEXTS[:20]]
    answers = list(model_of(server).embed_stream(texts, lambda tokens: allowed.append(tokens) is None))
    assert sum(allowed) == sum(answer.reserved for answer in answers)
    assert sum(answer.billed for answer in answers) == server.ledger.tokens_paid < sum(allowed)


def test_a_server_that_refuses_everything_is_at_fault_and_not_the_texts(server: OpenAIServer) -> None:
    server.set(poison="text")
    taken: list[Embedded] = []
    with pytest.raises(ModelUnavailable, match="refuses every request"):
        taken.extend(model_of(server).embed_stream(TEXTS))
    assert all(answer.vectors is None for answer in taken)
    assert server.ledger.paid == {}
    assert len(server.ledger.requests) < 70
    assert [entry.texts for entry in server.ledger.requests].count((HARMLESS,)) == 1


def test_many_refused_texts_are_at_fault_where_a_harmless_one_is_taken(server: OpenAIServer) -> None:
    server.set(poison="number")
    allowed: list[int] = []
    answers = list(model_of(server).embed_stream(TEXTS[:100], lambda tokens: allowed.append(tokens) is None))
    _, refusals = gathered(answers, 100)
    assert len(refusals) == 100
    assert server.ledger.paid == {HARMLESS: 1}
    assert sum(answer.billed for answer in answers) == server.ledger.tokens_paid
    assert sum(answer.reserved for answer in answers) == sum(allowed)


def test_the_harmless_text_is_asked_for_again_where_that_may_help(server: OpenAIServer) -> None:
    server.set(poison="number")
    server.mix("busy", "nan", "cut_before", share=0.4, seed=2)
    _, refusals = gathered(model_of(server).embed_stream(TEXTS[:40]), 40)
    assert len(refusals) == 40


def test_where_no_more_is_allowed_no_harmless_text_is_asked_for(server: OpenAIServer) -> None:
    server.set(poison="number")
    left = iter([True])
    _, refusals = gathered(model_of(server).embed_stream(TEXTS[:40], lambda tokens: next(left, False)), 40)
    assert len(refusals) == 40
    assert server.ledger.paid == {}


def test_a_few_texts_may_all_be_poison(server: OpenAIServer) -> None:
    server.set(poison="text")
    _, refusals = gathered(model_of(server).embed_stream(TEXTS[:5]), 5)
    assert len(refusals) == 5


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_text_over_which_the_api_always_fails_is_told_apart(server: OpenAIServer, count: int) -> None:
    server.set(poison="number 0", poison_status=500, poison_message="Oops.")
    texts = TEXTS[:count]
    allowed: list[int] = []
    answers = list(model_of(server).embed_stream(texts, lambda tokens: allowed.append(tokens) is None))
    vectors, refusals = gathered(answers, count)
    assert refusals == {0: "status 500: Oops."}
    assert np.allclose(vectors[1:], expected(server, texts)[1:])
    assert server.ledger.paid.keys() <= {*texts[1:], HARMLESS}
    assert all(server.ledger.paid[text] == 1 for text in texts[1:])
    assert sum(answer.billed for answer in answers) == server.ledger.tokens_paid
    assert sum(answer.reserved for answer in answers) == sum(allowed)


def test_an_api_that_fails_over_everything_is_given_up_and_no_text_is_blamed(server: OpenAIServer) -> None:
    server.mix("status_500", share=1)
    taken: list[Embedded] = []
    with pytest.raises(ModelUnavailable, match="The server had an error"):
        taken.extend(model_of(server, give_up_seconds=1).embed_stream(TEXTS[:1]))
    assert [answer for answer in taken if answer.rows] == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_fails_otherwise_blames_no_text(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr("indexer.models.openai_packing.INPUTS", 1)
    server.set(poison="number 0", poison_status=status, poison_message="Oops.")
    taken: list[Embedded] = []
    with pytest.raises(ModelUnavailable, match="gave no answer that can be used"):
        taken.extend(model_of(server, give_up_seconds=0.5).embed_stream(TEXTS[:30]))
    assert [answer for answer in taken if answer.refusal] == []


def test_an_error_that_passes_blames_no_text(server: OpenAIServer) -> None:
    server.plan("status_500", times=9)
    _, refusals = gathered(model_of(server).embed_stream(TEXTS[:1]), 1)
    assert refusals == {}
