"""Does a service answer throughout while a collection goes to a model behind an API, to other dimensions, and back?

Real processes: `parecido serve` is asked by text all the time, each generation is queried with its own model, and the
exact text of an item is found with similarity 1. Then the API goes away.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from asker import Asker
from behind_api import DIMENSION, SMALL, providers, variables
from openai_embeddings import stand_in
from openai_server import OpenAIServer
from service_support import Quiet, Service, ready, search, write_rows
from support import settings_for

from indexer.build import build
from indexer.config import DEFAULT_MODEL
from indexer.generation import read
from indexer.report import Report
from indexer.rollback import resume, rollback
from indexer.storage import collection_folder

SHORT = 8
CONFIGURATION = f'[models."{SMALL}"]\ndimension = {DIMENSION}\n'
ROWS = [
    {"id": "bread", "text": "Bake a loaf of bread with flour and yeast."},
    {"id": "stars", "text": "The telescope photographs a distant galaxy."},
    {"id": "goal", "text": "The striker scores a goal in the football match."},
    {"id": "tax", "text": "Send in the tax return by the end of May."},
]


class Answers:
    """Asks for the exact text of one item after another, which must be found; keeps which models answered."""

    def __init__(self) -> None:
        self._rows = itertools.cycle(ROWS)
        self.models: set[tuple[int, str]] = set()

    def ask(self, client: httpx.Client) -> int:
        row = next(self._rows)
        body = search(client, text=row["text"], limit=1)
        (hit,) = body["hits"]
        assert (hit["id"], hit["similarity"] >= 0.99999) == (row["id"], True), body
        self.models.add((body["generation"], body["model"]))
        number: int = body["generation"]
        return number


class Switched:
    """A store whose collection goes from model to model, the API, and a service over it."""

    def __init__(self, folder: Path, server: OpenAIServer) -> None:
        self.store, self.server = folder / "store", server
        self.store.mkdir()
        self._source = write_rows(folder / "rows.jsonl", ROWS)
        self._log = folder / "log"
        (folder / "parecido.toml").write_text(CONFIGURATION, encoding="utf-8")

    def index(self, **settings: Any) -> Report:
        return build(
            self.store, "notes", settings_for(self._source, **settings), Quiet(), providers=providers(self.server)
        )

    @contextlib.contextmanager
    def service(self, **environment: str) -> Iterator[Service]:
        """A ready service over the store."""
        with ready(Service(self.store, self._log, **environment)) as service:
            yield service


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def switched(tmp_path: Path, server: OpenAIServer) -> Switched:
    return Switched(tmp_path, server)


def test_every_generation_answers_with_its_own_model_while_the_model_is_switched_and_rolled_back(
    switched: Switched,
) -> None:
    server, answers = switched.server, Answers()
    switched.index()
    with switched.service(**variables(server)) as service, Asker(service, answers.ask).asking() as asker:
        asker.wait_for(1, len(ROWS))
        asked = len(server.ledger.requests)
        assert asked == 0, "the model on this machine needs no API"
        assert switched.index(model=SMALL).paid.requests == 1
        asker.wait_for(2, len(ROWS))
        assert switched.index(model=SMALL, dimensions=SHORT).paid.requests == 1
        asker.wait_for(3, len(ROWS))
        rollback(switched.store, "notes")
        asker.wait_for(4, len(ROWS))
        rollback(switched.store, "notes", 1)
        asker.wait_for(5, len(ROWS))
        resume(switched.store, "notes")
        asker.wait_for(6, len(ROWS))
        again = switched.index(model=SMALL)
        assert (again.published, again.passages.embedded, again.paid.tokens) == (True, 0, 0)
        asker.wait_for(7, len(ROWS))
    local = {number for number, model in answers.models if model == DEFAULT_MODEL}
    assert local == {1, 5, 6}
    assert {number for number, model in answers.models if model == SMALL} == {2, 3, 4, 7}
    folder = collection_folder(switched.store, "notes")
    dimensions = [read(folder, number).fingerprint.dimension for number in range(1, 8)]
    assert dimensions == [384, 16, 8, 16, 384, 384, 16]


def test_without_the_api_only_texts_are_refused_and_with_it_they_are_answered_again(switched: Switched) -> None:
    with OpenAIServer() as server:
        switched.server = server
        switched.index(model=SMALL)
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        environment = variables(server)
    with switched.service(**environment) as service, service.client() as api:
        assert_texts_are_refused(api, "127.0.0.1")
        with OpenAIServer(port=port):
            assert search(api, text=ROWS[1]["text"], limit=1)["hits"][0]["id"] == "stars"


def test_without_a_key_the_service_starts_and_only_texts_are_refused(switched: Switched) -> None:
    switched.index(model=SMALL)
    environment = {**variables(switched.server), "OPENAI_API_KEY": ""}
    asked = len(switched.server.ledger.requests)
    with switched.service(**environment) as service, service.client() as api:
        assert_texts_are_refused(api, "OPENAI_API_KEY")
    assert len(switched.server.ledger.requests) == asked


def test_with_a_wrong_key_texts_are_refused_and_the_key_is_told_to_nobody(switched: Switched) -> None:
    switched.index(model=SMALL)
    environment = {**variables(switched.server), "OPENAI_API_KEY": "sk-of-somebody-else"}
    with switched.service(**environment) as service, service.client() as api:
        told = assert_texts_are_refused(api, "OPENAI_API_KEY")
    assert "sk-of-somebody-else" not in told + service.log


def assert_texts_are_refused(api: httpx.Client, named: str) -> str:
    """What needs the model is 503 with a message that names why; all else is answered. Returns the message."""
    assert api.get("/readyz").status_code == 200
    assert search(api, id="bread", limit=3)["hits"]
    vector = stand_in(DIMENSION).vectorise([ROWS[2]["text"]])[0].tolist()
    assert search(api, vector=vector, limit=1)["hits"][0]["id"] == "goal"
    assert api.post("/v1/collections/notes/compare", json={"a": {"id": "tax"}, "b": {"id": "goal"}}).status_code == 200
    asked: list[tuple[str, Any]] = [
        ("search", {"text": "anything"}),
        ("compare", {"a": {"id": "tax"}, "b": {"text": "anything"}}),
        ("search/batch", {"queries": [{"id": "bread"}, {"text": "anything"}]}),
    ]
    with ThreadPoolExecutor() as pool:  # each takes some seconds where nobody answers
        *refused, batch = pool.map(lambda one: api.post(f"/v1/collections/notes/{one[0]}", json=one[1]), asked)
    for answer in refused:
        assert answer.status_code == 503, answer.text
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("provider_error", "model_unavailable")
        assert named in error["message"]
    assert batch.status_code == 200, batch.text
    by_id, by_text = batch.json()["results"]
    assert by_id["hits"]
    assert by_text["error"]["code"] == "model_unavailable"
    assert api.get("/readyz").status_code == 200
    return " ".join(answer.text for answer in [*refused, batch])
