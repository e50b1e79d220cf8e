"""Does one caller's work hold up another's, and is anything done for one who has hung up?"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import orjson
import pytest
from held_model import Held
from service_support import Service
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from support import prepared, publish_items, random_vectors

from indexer.queries import Query
from service import routes
from service.answering import Answering
from service.app import App
from service.embedder import QueryEmbedder
from service.served import Collections, Served

pytest_plugins = ["service_fixtures"]

LONG = [f"Text number {number}: " + "bread is baked of flour, water and yeast, and eaten with soup. " * 30
        for number in range(40)]  # fmt: skip


@pytest.fixture
def busy(service: Service) -> Iterator[threading.Thread]:
    """A service that has a batch to answer which takes seconds."""

    def ask() -> None:
        with service.client() as client:
            body = {"queries": [{"text": text, "limit": 1} for text in LONG]}
            client.post("/v1/collections/notes/search/batch", json=body).raise_for_status()

    thread = threading.Thread(target=ask)
    thread.start()
    yield thread
    thread.join()


def test_health_and_other_searches_are_answered_before_a_long_batch_is(
    busy: threading.Thread, api: httpx.Client
) -> None:
    for path in ("/healthz", "/readyz", "/v1/collections"):
        assert api.get(path).status_code == 200
    for body in ({"id": "bread"}, {"text": "a loaf"}, {"id": "soup", "filter": {"n": {"$gt": 0}}, "limit": 1000}):
        assert api.post("/v1/collections/notes/search", json=body).status_code == 200
    assert busy.is_alive()


def test_a_caller_who_hangs_up_while_the_model_is_at_work_is_not_embedded_for(tmp_path: Path) -> None:
    held, gone = Held(), asyncio.Event()
    vectors = random_vectors(np.random.default_rng(1), 1, 16)
    served = Served(publish_items(tmp_path, [[prepared("a", vectors)]]), QueryEmbedder(held), frozenset())

    async def stays() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def leaves() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def run() -> None:
        answering = Answering()
        first, second, third = (
            asyncio.create_task(answering.search(served, Query(text=text), receive))
            for text, receive in (("first", stays), ("given up", leaves), ("third", stays))
        )
        while not held.turns:
            await asyncio.sleep(0.001)
        gone.set()
        with pytest.raises(ClientDisconnect):
            await second
        held.go.release(2)
        for task in (first, third):
            assert orjson.loads(await task)["hits"][0]["id"] == "a"

    asyncio.run(run())
    assert held.turns == [["first"], ["third"]]


def test_json_may_be_declared_with_parameters_and_as_a_kind_of_json(api: httpx.Client) -> None:
    for kind in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json"):
        answer = api.post("/v1/collections/notes/search", content=b'{"id": "bread"}', headers={"content-type": kind})
        assert answer.status_code == 200, kind


def test_a_failure_in_a_search_is_told_in_the_envelope_without_its_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: object) -> object:
        raise RuntimeError("a secret")

    monkeypatch.setattr(routes, "_collections", broken)
    with TestClient(App(Collections(tmp_path)), raise_server_exceptions=False) as client:
        answer = client.post("/v1/collections/notes/search", json={"id": "x"}, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "mine"
