"""Is the server that stands for OpenAI's API like it, does it misbehave as told, and is its ledger true?"""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import openai
import pytest
from openai_embeddings import Limits, count_tokens, packaged
from openai_ledger import Ledger
from openai_mischief import Mix
from openai_server import OpenAIProcess, OpenAIServer
from support import StandIn

from indexer.models import Model

SMALL, ADA = "text-embedding-3-small", "text-embedding-ada-002"
Server = OpenAIServer | OpenAIProcess
TEXTS = ["a loaf of bread", "the tide at noon", "snow on the pass"]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(poison="☠") as running:
        yield running


def client(server: Server, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(**{"base_url": server.url, "api_key": server.key, "max_retries": 0, "timeout": 30, **options})


def ask(
    server: OpenAIServer | OpenAIProcess, texts: str | list[str], timeout: float = 30, **more: Any
) -> httpx.Response:
    """The answer as it comes, without a client that mends it."""
    body = {"model": SMALL, "input": texts, **more}
    headers = {"authorization": f"Bearer {server.key}"}
    return httpx.post(f"{server.url}/embeddings", json=body, headers=headers, timeout=timeout)


def refusal(server: OpenAIServer, input: Any, **more: Any) -> tuple[int, Mapping[str, Any]]:
    answer = ask(server, input, **more)
    return answer.status_code, answer.json()["error"]


def vectors(answer: httpx.Response) -> list[list[float]]:
    return [each["embedding"] for each in answer.json()["data"]]


def test_it_answers_with_the_packaged_models_vectors_and_the_texts_tokens(model: Model) -> None:
    with OpenAIServer({SMALL: packaged()}) as server, client(server) as api:
        answer = api.embeddings.create(model=SMALL, input=TEXTS)
        wanted = model.embed_documents(TEXTS)
        np.testing.assert_allclose([each.embedding for each in answer.data], wanted, atol=1e-6)
        assert answer.usage.prompt_tokens == sum(count_tokens(text) for text in TEXTS) == 12
        short = np.array(vectors(ask(server, TEXTS, dimensions=100)))
        cut = wanted[:, :100] / np.linalg.norm(wanted[:, :100], axis=1, keepdims=True)
        np.testing.assert_allclose(short, cut, atol=1e-6)


def test_base64_holds_the_same_floats_and_the_stand_in_those_of_the_tests(server: OpenAIServer) -> None:
    figures = np.array(vectors(ask(server, TEXTS)), np.float32)
    packed = vectors(ask(server, TEXTS, encoding_format="base64"))
    assert (np.array([np.frombuffer(base64.b64decode(each), "<f4") for each in packed]) == figures).all()
    assert (figures == StandIn().embed_query(TEXTS)).all()


def test_it_refuses_what_openai_refuses_in_its_words(server: OpenAIServer) -> None:
    server.set(limits=Limits(inputs=3, tokens=12, input_tokens=8))
    assert ask(server, TEXTS).status_code == 200
    assert refusal(server, [*TEXTS, "x"])[1]["code"] == "array_above_max_length"
    assert refusal(server, ["one two three four", "five six seven eight", "nine ten eleven twelve thirteen"]) == (
        400, {"message": "Requested 13 tokens, max 12 tokens per request", "type": "max_tokens_per_request",
              "param": None, "code": "max_tokens_per_request"},
    )  # fmt: skip
    assert (
        "maximum input length is 8 tokens"
        in refusal(server, "one two three four five six seven eight nine")[1]["message"]
    )
    assert refusal(server, ["x", ""])[1]["message"] == "Invalid 'input[1]': input cannot be an empty string."
    assert refusal(server, [[1, 2]])[1]["param"] == "input"
    assert refusal(server, "x", dimensions=17)[1]["param"] == "dimensions"
    assert refusal(server, "x", dimensions=8, model=ADA)[1]["param"] == "dimensions"
    assert refusal(server, "x", model="gpt")[1]["code"] == "model_not_found"
    assert server.ledger.paid == Counter(TEXTS)


def test_a_wrong_key_an_unknown_model_and_an_empty_account_are_told_apart(server: OpenAIServer) -> None:
    with client(server, api_key="sk-other") as stranger, pytest.raises(openai.AuthenticationError, match="API key"):
        stranger.embeddings.create(model=SMALL, input="x")
    with client(server) as api:
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            api.embeddings.create(model="text-embedding-9", input="x")
        with pytest.raises(openai.NotFoundError, match="Invalid URL"):
            api.models.list()
        server.set(empty_account=True)
        with pytest.raises(openai.RateLimitError) as empty:
            api.embeddings.create(model=SMALL, input="x")
        assert empty.value.code == "insufficient_quota"


def test_one_poisonous_text_refuses_the_whole_request_unpaid(server: OpenAIServer) -> None:
    status, error = refusal(server, ["good", "bad ☠"])
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert "safety system" in error["message"]
    assert server.ledger.paid == Counter()
    assert server.ledger.requests[-1].texts == ("good", "bad ☠")


@pytest.mark.parametrize(
    ("kind", "status", "headers"),
    [
        ("busy", 429, set()),
        ("busy_after", 429, {"retry-after"}),
        ("busy_after_ms", 429, {"retry-after-ms"}),
        ("quota", 429, set()),
        ("status_500", 500, set()),
        ("status_502", 502, set()),
        ("status_503", 503, set()),
    ],
)
def test_refusals_on_command_cost_nothing(server: OpenAIServer, kind: str, status: int, headers: set[str]) -> None:
    server.plan(kind)
    answer = ask(server, TEXTS)
    assert (answer.status_code, {"retry-after", "retry-after-ms"} & set(answer.headers)) == (status, headers)
    assert server.ledger.paid == Counter()
    assert server.ledger.refused_for_rate == 0
    assert ask(server, TEXTS).status_code == 200


@pytest.mark.parametrize(("kind", "paid"), [("cut_before", False), ("cut_after", True), ("cut_middle", True)])
def test_connections_are_cut_before_or_after_the_answer_was_computed(
    server: OpenAIServer, kind: str, paid: bool
) -> None:
    server.plan(kind)
    with pytest.raises(httpx.RemoteProtocolError if kind == "cut_middle" else httpx.TransportError):
        ask(server, TEXTS)
    assert server.ledger.paid == server.ledger.spoiled == (Counter(TEXTS) if paid else Counter())


@pytest.mark.parametrize(("kind", "paid"), [("hold_before", False), ("hold_after", True)])
def test_requests_are_held_until_the_client_gives_up_or_answered_if_it_waits(
    server: OpenAIServer, kind: str, paid: bool
) -> None:
    server.plan(kind, seconds=60)
    with pytest.raises(httpx.ReadTimeout):
        ask(server, TEXTS, timeout=0.3)
    while not server.ledger.requests:
        threading.Event().wait(0.01)
    assert server.ledger.paid == server.ledger.spoiled == (Counter(TEXTS) if paid else Counter())
    server.plan(kind, seconds=0.01)
    assert len(vectors(ask(server, ["patience"]))) == 1
    assert (server.ledger.paid["patience"], server.ledger.spoiled["patience"]) == (1, 0)


def shape(answer: httpx.Response) -> list[tuple[int, int]]:
    return [(each["index"], len(each["embedding"])) for each in answer.json()["data"]]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("few", [(0, 16), (1, 16)]),
        ("many", [(0, 16), (1, 16), (2, 16), (3, 16)]),
        ("none", []),
        ("short", [(0, 15), (1, 15), (2, 15)]),
        ("long", [(0, 17), (1, 17), (2, 17)]),
        ("ragged", [(0, 16), (1, 16), (2, 15)]),
        ("nan", [(0, 16), (1, 16), (2, 16)]),
        ("zeros", [(0, 16), (1, 16), (2, 16)]),
        ("wrong_index", [(1, 16), (2, 16), (3, 16)]),
        ("same_index", [(0, 16), (0, 16), (0, 16)]),
    ],
)
def test_wrong_answers_are_paid_and_told_apart(server: OpenAIServer, kind: str, wanted: list[tuple[int, int]]) -> None:
    server.plan(kind)
    assert shape(ask(server, TEXTS)) == wanted
    assert server.ledger.paid == server.ledger.spoiled == Counter(TEXTS)
    server.ledger.spoiled_apart = True
    assert server.ledger.paid == Counter()


def test_what_is_not_a_number_is_null_in_json_and_nan_in_base64(server: OpenAIServer) -> None:
    server.plan("nan", "nan")
    assert vectors(ask(server, TEXTS))[-1] == [None] * 16
    packed = vectors(ask(server, TEXTS, encoding_format="base64"))[-1]
    assert np.isnan(np.frombuffer(base64.b64decode(packed), "<f4")).all()


def test_odd_answers_that_are_right_are_not_spoiled(server: OpenAIServer) -> None:
    plain = {each["index"]: each["embedding"] for each in ask(server, TEXTS).json()["data"]}
    server.plan("shuffled", "slow", "no_usage")
    shuffled = ask(server, TEXTS).json()["data"]
    assert [each["index"] for each in shuffled] == [1, 0, 2]
    assert {each["index"]: each["embedding"] for each in shuffled} == plain
    assert shape(ask(server, TEXTS)) == [(0, 16), (1, 16), (2, 16)]
    assert "usage" not in ask(server, TEXTS).json()
    assert server.ledger.spoiled == Counter()


def test_garbage_is_not_json_and_a_lost_answer_is_paid(server: OpenAIServer) -> None:
    server.plan("garbage", "html", "lost_500")
    for _ in range(2):
        answer = ask(server, TEXTS)
        assert answer.status_code == 200
        with pytest.raises(ValueError):  # noqa: PT011 - of whatever parser
            answer.json()
    assert ask(server, TEXTS).status_code == 500
    assert server.ledger.spoiled == Counter(TEXTS * 3)


def test_a_mix_is_the_same_for_the_same_seed_and_strikes_its_share() -> None:
    kinds = ["busy", "cut_after", "few"]
    one, other = Mix(kinds, seed=7), Mix(kinds, seed=7)
    acts = [one.next() for _ in range(1000)]
    assert acts == [other.next() for _ in range(1000)]
    assert 250 < sum(act is not None for act in acts) < 350
    assert {act.kind for act in acts if act} == set(kinds)
    with pytest.raises(ValueError, match="'fwe'"):
        Mix(["fwe"])


def test_a_client_that_retries_gets_all_through_a_mix_and_the_ledger_counts_each_text(tmp_path: Path) -> None:
    kinds = ("busy", "busy_after_ms", "status_500", "status_503", "cut_before", "shuffled", "hold_before", "slow")
    with OpenAIServer(ledger=tmp_path / "ledger.jsonl") as server, client(server, max_retries=10) as api:
        server.mix(*kinds, share=0.3, seed=3, seconds=0.01)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: api.embeddings.create(model=SMALL, input=[f"{n}a", f"{n}b"]), range(40)))
        wanted = Counter(f"{n}{letter}" for n in range(40) for letter in "ab")
        assert server.ledger.paid == Ledger.read(tmp_path / "ledger.jsonl").paid == wanted
        assert sum(server.ledger.acts.values()) > 0
        assert 1 < server.ledger.most_in_flight <= 8
        assert server.ledger.tokens_paid == 160


def test_a_process_of_its_own_takes_orders_and_its_ledger_is_read_from_here(tmp_path: Path) -> None:
    with OpenAIProcess(
        tmp_path / "ledger.jsonl", "--model", "own=7", "--order", '{"set": {"poison": "bad"}}'
    ) as server:
        assert len(vectors(ask(server, "x", model="own"))[0]) == 7
        assert ask(server, "bad").status_code == 400
        server.plan("status_502")
        assert ask(server, "x").status_code == 502
        server.set(rates={"requests": 1}, key="sk-test")
        with pytest.raises(OSError, match="400"):
            server.plan("no such thing")
        assert server.order({})["requests"] == 3
        assert server.ledger.paid == Counter({"x": 1})
        server.process.terminate()
        server.process.wait()
    with OpenAIProcess(tmp_path / "ledger.jsonl") as again:
        ask(again, "x")
        assert again.ledger.paid == Counter({"x": 2})


def test_a_ledger_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    with OpenAIServer(ledger=tmp_path / "ledger.jsonl") as server:
        ask(server, ["one\u2028line\n", "two"])
    with (tmp_path / "ledger.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": 1})[:-3])
    assert Ledger.read(tmp_path / "ledger.jsonl").paid == Counter(["one\u2028line\n", "two"])
