"""Does a running service follow a rollback, and the way back, with nobody who asks noticing more than other hits?"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import httpx2 as httpx
from service_support import Service, process, publish, until

from indexer import models
from indexer.queries import Query, search
from indexer.snapshot import open_generation
from indexer.storage import collection_folder

NAME = "turning"
GOOD = [
    {"id": "bread", "text": "Bake a loaf of bread with flour and yeast."},
    {"id": "galaxy", "text": "The telescope photographs a distant galaxy."},
    {"id": "goal", "text": "The striker scores a goal in the football match."},
]
BAD = [{**row, "text": "Lorem ipsum dolor sit amet."} for row in GOOD]
QUERY = "fresh bread from the oven"


def answer(store: Path, number: int) -> Any:
    """What a generation answers, without a service."""
    snapshot = open_generation(collection_folder(store, NAME), number)
    model = models.load(snapshot.generation.fingerprint, "cpu")
    return search(snapshot, lambda: model, Query(text=QUERY, include=("text", "metadata")))["hits"]


class Client:
    """Somebody who asks without pause, and remembers what each generation answered."""

    def __init__(self, service: Service) -> None:
        self._service, self._over = service, threading.Event()
        self.seen: list[int] = []
        self.answers: dict[int, Any] = {}
        self.wrong: list[object] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        body = {"text": QUERY, "include": ["text", "metadata"]}
        try:
            with self._service.client() as client:
                while not self._over.is_set():
                    got = client.post(f"/v1/collections/{NAME}/search", json=body).raise_for_status().json()
                    self.seen.append(got["generation"])
                    if self.answers.setdefault(got["generation"], got["hits"]) != got["hits"]:
                        self.wrong.append(got)
        except httpx.HTTPError as error:
            self.wrong.append(error)

    def stop(self) -> None:
        self._over.set()
        if self.thread.is_alive():
            self.thread.join()


def test_a_running_service_follows_a_rollback_across_a_change_of_the_model_and_the_way_back(tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish(store, NAME, GOOD)
    publish(store, NAME, BAD, document_prompt="passage: ")
    publish(store, NAME, BAD[:2], document_prompt="passage: ")
    expected = {1: GOOD, 2: BAD, 3: BAD[:2], 4: BAD, 5: GOOD, 6: GOOD, 7: BAD[:2]}
    service = Service(store, tmp_path / "log")
    client = Client(service)

    def wait_for(number: int) -> None:
        until(lambda: client.seen[-1:] == [number] or bool(client.wrong), f"{number} in use")

    def parecido(*arguments: str) -> Any:
        done = process(tmp_path, *arguments, NAME, "--json", "--store", str(store))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    try:
        service.wait_until_ready()
        client.thread.start()
        wait_for(3)
        assert parecido("rollback")["origin"] == 2
        wait_for(4)
        assert parecido("rollback")["origin"] == 1
        wait_for(5)
        with service.client() as api:
            shown = api.get(f"/v1/collections/{NAME}").json()
        assert (shown["generation"], shown["origin"], shown["hold"]) == (5, 1, True)
        assert parecido("resume")["generation"] == 6
        wait_for(6)
        assert publish(store, NAME, BAD[:2], document_prompt="passage: ").generation == 7
        wait_for(7)
    finally:
        client.stop()
        if service.process.poll() is None:
            service.stop()
    assert client.wrong == []
    assert client.seen == sorted(client.seen)
    assert set(client.seen) == {3, 4, 5, 6, 7}
    for number, hits in client.answers.items():
        assert {hit["id"]: hit["text"] for hit in hits} == {row["id"]: row["text"] for row in expected[number]}
        assert hits == answer(store, number)
    assert client.answers[5][0]["id"] == "bread"
    assert client.answers[6] == client.answers[5]
