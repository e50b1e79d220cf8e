"""Does a service that is asked all the time follow rollbacks, resumes and changes of the model?

Real processes on a real port with the packaged model; another prompt for documents makes it another model, whose
vectors cannot be compared with the first one's.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from service_support import Service, process, publish, until

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
SECONDS_BETWEEN_QUESTIONS = 0.005
"""So that who asks leaves the machine to who answers."""


class Asker:
    """Asks all the time; keeps, for each generation, the answers that were seen, and all that failed."""

    def __init__(self, service: Service, name: str) -> None:
        self._service, self._name = service, name
        self.seen: list[int] = []
        self.answers: dict[int, set[str]] = {}
        self.failed: list[object] = []
        self.stop = threading.Event()

    def run(self) -> None:
        try:
            with self._service.client() as client:
                while not self.stop.is_set():
                    self._ask(client)
        except Exception as error:
            self.failed.append(error)

    def _ask(self, client: httpx.Client) -> None:
        answer = client.post(f"/v1/collections/{self._name}/search", json={"text": QUERY, "include": ["text"]})
        if answer.status_code != 200:
            self.failed.append(answer.text)
            return
        body = answer.json()
        self.answers.setdefault(body["generation"], set()).add(json.dumps(body["hits"]))
        self.seen.append(body["generation"])
        self.stop.wait(SECONDS_BETWEEN_QUESTIONS)

    def hits(self, number: int) -> str:
        """The one answer that every request to a generation got."""
        (hits,) = self.answers[number]
        return hits

    def has_seen(self, number: int) -> bool:
        """Whether the generation has answered often enough to differ if it could."""
        return bool(self.failed) or self.seen.count(number) > 5


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
    service = Service(store, store.parent / "log")
    try:
        service.wait_until_ready()
        yield service
    except BaseException:
        service.process.kill()
        raise
    service.stop()


@contextlib.contextmanager
def asking(service: Service, name: str) -> Iterator[Asker]:
    """Somebody asks while this lasts, and no request fails."""
    asker = Asker(service, name)
    thread = threading.Thread(target=asker.run)
    thread.start()
    try:
        yield asker
    finally:
        asker.stop.set()
        thread.join()
    assert asker.failed == []
    assert asker.seen == sorted(asker.seen)


def wait_for(asker: Asker, number: int) -> None:
    """Return when the service answers from that generation."""
    until(functools.partial(asker.has_seen, number), f"answers from generation {number}")
    assert asker.failed == []


def texts(asker: Asker, number: int) -> dict[str, str]:
    """The texts that the generation answered with, by id."""
    found: list[dict[str, Any]] = json.loads(asker.hits(number))
    return {hit["id"]: hit["text"] for hit in found}


def test_a_service_follows_a_rollback_and_a_resume_and_answers_throughout(store: Path, service: Service) -> None:
    with asking(service, "rolled") as asker:
        wait_for(asker, 2)
        rollback(store, "rolled")
        wait_for(asker, 3)
        assert texts(asker, 3) == {row["id"]: row["text"] for row in OLD}
        assert json.loads(asker.hits(3))[0]["id"] == "bread"
        with pytest.raises(OnHold):
            publish(store, "rolled", SPOILT)
        resume(store, "rolled")
        wait_for(asker, 4)
        assert asker.hits(4) == asker.hits(3)
        publish(store, "rolled", SPOILT)
        wait_for(asker, 5)
        assert asker.hits(5) == asker.hits(2)
        assert texts(asker, 5) == {row["id"]: row["text"] for row in SPOILT}


def test_a_service_follows_one_line_of_configuration_to_another_model_and_a_rollback_from_it(
    store: Path, service: Service
) -> None:
    with asking(service, "flipped") as asker:
        wait_for(asker, 2)
        report = index_with(store, f"document_prompt = {json.dumps(PROMPT)}")
        assert (report["generation"], report["passages"]["embedded"], report["items"]["unchanged"]) == (3, 3, 3)
        wait_for(asker, 3)
        assert texts(asker, 3) == texts(asker, 2)
        assert similarities(asker, 3) != similarities(asker, 2)
        rollback(store, "flipped")
        wait_for(asker, 4)
        assert asker.hits(4) == asker.hits(2)
        resume(store, "flipped")
        wait_for(asker, 5)
        assert publish(store, "flipped", SPOILT, document_prompt=PROMPT).passages.embedded == 0
        wait_for(asker, 6)
        assert asker.hits(6) == asker.hits(3)


def index_with(store: Path, line: str) -> Any:
    """The report of a run that differs from the earlier ones by one line of its configuration."""
    lines = ['store = "store"', "[collections.flipped]", 'source = "store/flipped.jsonl"', line]
    (store.parent / "parecido.toml").write_text("\n".join(lines), encoding="utf-8")
    done = process(store.parent, "index", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def similarities(asker: Asker, number: int) -> dict[str, float]:
    """The similarities that the generation answered with, by id."""
    return {hit["id"]: hit["similarity"] for hit in json.loads(asker.hits(number))}
