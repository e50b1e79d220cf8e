"""Is everything that was allowed paid or given back, however a stream ends, and is what was allowed asked for?"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from openai_fixtures import expected, model_of, server
from openai_server import OpenAIServer

from indexer.errors import ModelUnavailable
from indexer.models import Embedded, Model, openai, openai_packing

__all__ = ["server"]

TEXTS = [f"text number {n}" for n in range(40)]


@pytest.fixture(autouse=True)
def small_requests_and_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four texts a request, ten requests for all of TEXTS."""
    monkeypatch.setattr(openai, "pack", functools.partial(openai_packing.pack, inputs=4))
    monkeypatch.setattr("indexer.models.openai_failures.FIRST_WAIT", 0.01)


@dataclass
class Got:
    """What a stream said, to its end, by a meter that allows `most` requests."""

    most: int
    allowed: list[int] = field(default_factory=list)
    answers: list[Embedded] = field(default_factory=list)
    error: ModelUnavailable | None = None

    def allows(self, tokens: int) -> bool:
        if len(self.allowed) == self.most:
            return False
        self.allowed.append(tokens)
        return True

    @property
    def embedded(self) -> list[int]:
        return sorted(row for answer in self.answers if answer.vectors is not None for row in answer.rows)

    def check(self, server: OpenAIServer) -> None:
        """Whatever was allowed has ended, what was paid is known, and what came is right."""
        assert sum(answer.reserved for answer in self.answers) == sum(self.allowed)
        assert sum(answer.billed for answer in self.answers) == server.ledger.tokens_paid
        for answer in self.answers:
            if answer.rows and answer.vectors is not None:
                assert np.allclose(answer.vectors, expected(server, [TEXTS[row] for row in answer.rows]))


def ask(model: Model, most: int = 1_000) -> Got:
    got = Got(most)
    try:
        for answer in model.embed_stream(TEXTS, got.allows):
            got.answers.append(answer)
    except ModelUnavailable as error:
        got.error = error
    return got


def test_once_no_more_is_allowed_what_was_allowed_is_tried_again_until_it_is_there(server: OpenAIServer) -> None:
    server.plan("no_usage", "busy", "status_500", "cut_before", "busy")
    got = ask(model_of(server), most=4)
    got.check(server)
    assert (got.error, got.embedded) == (None, list(range(16)))


def test_once_no_more_is_allowed_poison_is_still_looked_for_in_what_was(server: OpenAIServer) -> None:
    server.set(poison="number 1")
    got = ask(model_of(server), most=1)
    got.check(server)
    assert (got.error, got.embedded) == (None, [0, 2, 3])
    assert [answer.rows for answer in got.answers if answer.refusal] == [[1]]


def test_what_was_paid_in_vain_is_not_asked_for_again_where_no_more_is_allowed(server: OpenAIServer) -> None:
    server.plan("nan", "no_usage", "few")
    got = ask(model_of(server), most=3)
    got.check(server)
    assert (got.error, len(got.embedded), len(server.ledger.requests)) == (None, 4, 3)


def test_where_nothing_is_allowed_nothing_is_asked(server: OpenAIServer) -> None:
    got = ask(model_of(server), most=0)
    got.check(server)
    assert (got.error, got.answers, server.ledger.requests) == (None, [], [])


@pytest.mark.parametrize(
    "kinds",
    [("quota",), ("status_401",), ("busy", "status_503", "quota"), ("no_usage", "busy", "status_400", "quota"),
     ("no_usage", "hold_before", "status_500", "quota")],
)  # fmt: skip
def test_what_was_allowed_is_given_back_where_all_ends(server: OpenAIServer, kinds: tuple[str, ...]) -> None:
    server.plan(*kinds, seconds=0.2)
    server.plan("quota", times=50)
    got = ask(model_of(server))
    got.check(server)
    assert isinstance(got.error, ModelUnavailable)


@pytest.mark.parametrize("kind", ["status_503", "cut_before", "busy", "nan"])
def test_what_was_allowed_is_given_back_where_it_is_given_up(server: OpenAIServer, kind: str) -> None:
    model = model_of(server, give_up_seconds=0.5)
    server.plan(*["no_usage"] * 3)
    server.mix(kind, share=1)
    got = ask(model)
    got.check(server)
    assert isinstance(got.error, ModelUnavailable)
    assert len(got.embedded) == 12


def test_a_fault_of_our_own_gives_back_what_was_allowed_too(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("indexer.models.openai_client.Connection.ask", broken)
    got = Got(1_000)
    with pytest.raises(ZeroDivisionError):
        got.answers.extend(model_of(server).embed_stream(TEXTS, got.allows))
    assert sum(answer.reserved for answer in got.answers) == sum(got.allowed) > 0


def test_what_is_billed_is_what_the_server_says_with_every_kind_of_failure(server: OpenAIServer) -> None:
    server.set(poison="7")
    server.mix("busy", "status_500", "few", "nan", "cut_before", "wrong_index", share=0.4, seed=3)
    got = ask(model_of(server))
    got.check(server)
    assert got.embedded == [row for row in range(40) if row % 10 != 7]


def test_what_the_reader_takes_for_itself_is_no_reason_to_give_up(server: OpenAIServer) -> None:
    server.plan("no_usage")
    server.mix("status_503", share=1)
    answers = model_of(server, in_flight=2, give_up_seconds=0.5).embed_stream(TEXTS)
    rows = len(next(answers).rows)
    time.sleep(0.6)
    server.mix()
    assert rows + sum(len(answer.rows) for answer in answers) == len(TEXTS)
