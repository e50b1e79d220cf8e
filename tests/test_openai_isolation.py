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
