"""Does somebody who waits get vectors from the API soon, or an error?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from openai_fixtures import expected, model_of, server
from openai_server import OpenAIServer

from indexer.errors import InvalidRequest, ModelUnavailable
from indexer.models import openai_queries

__all__ = ["server"]


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client waits by its own choice is short."""
    monkeypatch.setattr("indexer.models.openai_failures.FIRST_WAIT", 0.01)


def test_many_ask_at_once_and_each_gets_its_own(server: OpenAIServer) -> None:
    model = model_of(server)
    texts = [f"query {n}" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda text: model.embed_query([text])[0], texts))
    assert np.allclose(rows, expected(server, texts))


@pytest.mark.parametrize("kind", ["busy", "status_500", "cut_before", "lost_503", "few", "nan", "html"])
def test_what_may_pass_is_asked_again(server: OpenAIServer, kind: str) -> None:
    server.plan(kind, kind)
    assert np.allclose(model_of(server).embed_query(["a", "b"]), expected(server, ["a", "b"]))


def test_a_wrong_answer_is_asked_for_a_few_times_only(server: OpenAIServer) -> None:
    server.plan("zeros", times=10)
    with pytest.raises(ModelUnavailable, match="after 4 tries"):
        model_of(server).embed_query(["a"])
    assert len(server.ledger.requests) == 4


def test_nobody_waits_for_longer_than_a_few_seconds(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_queries, "AT_MOST", 1.0)
    model = model_of(server)
    server.plan("busy_after", seconds=60)
    with pytest.raises(ModelUnavailable, match="Rate limit reached"):
        model.embed_query(["a"])
    assert len(server.ledger.requests) == 1
    server.plan("hold_before", seconds=60)
    with pytest.raises(ModelUnavailable, match="no answer came within"):
        model.embed_query(["a"])
    server.mix("status_503", share=1)
    with pytest.raises(ModelUnavailable, match="The server had an error"):
        model.embed_query(["a"])


def test_nobody_waits_for_an_answer_that_drips_in(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_queries, "AT_MOST", 1.0)
    server.mix("slow", share=1, seconds=8)
    with pytest.raises(ModelUnavailable, match="no answer came within"):
        model_of(server).embed_query(["a"])


def test_a_text_that_the_api_refuses_is_the_callers(server: OpenAIServer) -> None:
    server.set(poison="poison")
    with pytest.raises(InvalidRequest, match="Your input was rejected as a result of our safety system"):
        model_of(server).embed_query(["poison"])
    assert len(server.ledger.requests) == 1


def test_documents_of_one_who_waits_are_all_there_or_an_error(server: OpenAIServer) -> None:
    model = model_of(server)
    assert np.allclose(model.embed_documents(["a", "b"]), expected(server, ["a", "b"]))
    server.set(poison="poison")
    with pytest.raises(InvalidRequest):
        model.embed_documents(["a", "poison"])
