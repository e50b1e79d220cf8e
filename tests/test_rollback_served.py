"""Does a service that is asked all the time follow rollbacks, resumes and changes of the model?

Real processes on a real port with the packaged model; another prompt for documents makes it another model, whose
vectors cannot be compared with the first one's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from asker import Asker
from service_support import Service, process, publish, ready, search

from indexer.errors import OnHold
from indexer.rollback import resume, rollback

OLD = [
    {"id": "bread", "text": "Bake a loaf of bread with flour and yeast.", "n": 1},
    {"id": "stars", "text": "The telescope photographs a distant galaxy.", "n": 2},
    {"id": "goal", "text": "The striker scores a goal in the football match.", "n": 3},
]
SPOILT = [{**row, "text": f"Lorem ipsum dolor sit amet {row['n']}"} for row in OLD]
PROMPT = "A letter to the editor about opera: "
QUERY = "baking bread at home"
ENOUGH = 5
"""Answers of a generation in which it would differ from itself if it could."""


class Answers:
    """Asks one collection; keeps, for each generation, the answers that were seen."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: dict[int, set[str]] = {}

    def ask(self, client: httpx.Client) -> int:
        body = search(client, self._name, text=QUERY, include=["text"])
        number: int = body["generation"]
        self._seen.setdefault(number, set()).add(json.dumps(body["hits"]))
        return number

    def hits(self, number: int) -> str:
        """The one answer that every request to a generation got."""
        (hits,) = self._seen[number]
        return hits

    def texts(self, number: int) -> dict[str, str]:
        """The texts that the generation answered with, by id."""
        return {hit["id"]: hit["text"] for hit in json.loads(self.hits(number))}

    def similarities(self, number: int) -> dict[str, float]:
        """The similarities that the generation answered with, by id."""
        return {hit["id"]: hit["similarity"] for hit in json.loads(self.hits(number))}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two collections of two generations each, of which the newer is spoilt."""
    store = tmp_path_factory.mktemp("rolled") / "store"
    for name in ("rolled", "flipped"):
        for rows in (OLD, SPOILT):
            publish(store, name, rows)
    return store


@pytest.fixture(scope="module")
def service(store: Path) -> Iterator[Service]:
    """A service over them."""
    with ready(Service(store, store.parent / "log")) as service:
        yield service


def test_a_service_follows_a_rollback_and_a_resume_and_answers_throughout(store: Path, service: Service) -> None:
    answers = Answers("rolled")
    with Asker(service, answers.ask).asking() as asker:
        asker.wait_for(2, ENOUGH)
        rollback(store, "rolled")
        asker.wait_for(3, ENOUGH)
        assert answers.texts(3) == {row["id"]: row["text"] for row in OLD}
        assert json.loads(answers.hits(3))[0]["id"] == "bread"
        with pytest.raises(OnHold):
            publish(store, "rolled", SPOILT)
        resume(store, "rolled")
        asker.wait_for(4, ENOUGH)
        assert answers.hits(4) == answers.hits(3)
        publish(store, "rolled", SPOILT)
        asker.wait_for(5, ENOUGH)
        assert answers.hits(5) == answers.hits(2)
        assert answers.texts(5) == {row["id"]: row["text"] for row in SPOILT}


def test_a_service_follows_one_line_of_configuration_to_another_model_and_a_rollback_from_it(
    store: Path, service: Service
) -> None:
    answers = Answers("flipped")
    with Asker(service, answers.ask).asking() as asker:
        asker.wait_for(2, ENOUGH)
        report = index_with(store, f"document_prompt = {json.dumps(PROMPT)}")
        assert (report["generation"], report["passages"]["embedded"], report["items"]["unchanged"]) == (3, 3, 3)
        asker.wait_for(3, ENOUGH)
        assert answers.texts(3) == answers.texts(2)
        assert answers.similarities(3) != answers.similarities(2)
        rollback(store, "flipped")
        asker.wait_for(4, ENOUGH)
        assert answers.hits(4) == answers.hits(2)
        resume(store, "flipped")
        asker.wait_for(5, ENOUGH)
        assert publish(store, "flipped", SPOILT, document_prompt=PROMPT).passages.embedded == 0
        asker.wait_for(6, ENOUGH)
        assert answers.hits(6) == answers.hits(3)


def index_with(store: Path, line: str) -> Any:
    """The report of a run that differs from the earlier ones by one line of its configuration."""
    lines = ['store = "store"', "[collections.flipped]", 'source = "store/flipped.jsonl"', line]
    (store.parent / "parecido.toml").write_text("\n".join(lines), encoding="utf-8")
    done = process(store.parent, "index", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
