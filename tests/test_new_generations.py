"""Does anybody who asks without pause notice that new generations are published, other than by their content?"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
from service_support import Service, publish, until

ROUNDS = 5

PAIRS = [
    ("Bake a loaf of bread with flour and yeast.", "Loaves of bread rise with yeast before they are baked."),
    ("The telescope photographs a distant galaxy.", "A far away galaxy is seen through a telescope."),
    ("The striker scores a goal in the football match.", "A goal decides the football game."),
]
TEXTS = [text for pair in PAIRS for text in pair]
COUNT = len(TEXTS)


def rows(number: int) -> list[dict[str, Any]]:
    """The items of a generation: every text moves on by one item, and each item says which generation it is of."""
    return [
        {"id": f"item-{place}", "text": TEXTS[(place + number) % COUNT], "number": number} for place in range(COUNT)
    ]


def holder(text: int, number: int) -> str:
    """The item that has a text in a generation."""
    return f"item-{(text - number) % COUNT}"


@dataclass
class Client:
    """Somebody who asks without pause, and checks every answer against the generation that it names."""

    service: Service
    ask: Callable[[httpx.Client, int], tuple[int, object, object]]
    """Asks for one of the texts or items; returns the generation, the answer and what the answer should be."""
    seen: list[int] = field(default_factory=list)
    wrong: list[object] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            with self.service.client() as client:
                turn = 0
                while not self.stop.is_set():
                    number, answer, expected = self.ask(client, turn % COUNT)
                    self.seen.append(number)
                    if answer != expected:
                        self.wrong.append((number, answer, expected))
                    turn += 1
        except Exception as error:
            self.wrong.append(error)


def _search(client: httpx.Client, body: dict[str, Any]) -> tuple[int, list[tuple[str, int]]]:
    answer = client.post("/v1/collections/turning/search", json={**body, "limit": COUNT}).raise_for_status().json()
    return answer["generation"], [(hit["id"], hit["metadata"]["number"]) for hit in answer["hits"]]


def by_text(client: httpx.Client, turn: int) -> tuple[int, object, object]:
    number, found = _search(client, {"text": TEXTS[turn]})
    numbers = [one for _, one in found]
    return number, (found[0][0], numbers), (holder(turn, number), [number] * COUNT)


def by_id(client: httpx.Client, turn: int) -> tuple[int, object, object]:
    number, found = _search(client, {"id": f"item-{turn}"})
    partner = ((turn + number) % COUNT) ^ 1
    return number, (found[0][0], [one for _, one in found]), (holder(partner, number), [number] * (COUNT - 1))


def item(client: httpx.Client, turn: int) -> tuple[int, object, object]:
    answer = client.get(f"/v1/collections/turning/items/item-{turn}").raise_for_status().json()
    number = answer["generation"]
    return number, (answer["text"], answer["metadata"]["number"]), (TEXTS[(turn + number) % COUNT], number)


def batch(client: httpx.Client, turn: int) -> tuple[int, object, object]:
    queries = [{"text": TEXTS[turn], "limit": 1}, {"id": f"item-{turn}", "limit": 1}]
    answer = client.post("/v1/collections/turning/search/batch", json={"queries": queries}).raise_for_status().json()
    number = answer["generation"]
    found = [result["hits"][0]["id"] for result in answer["results"]]
    return number, found, [holder(turn, number), holder(((turn + number) % COUNT) ^ 1, number)]


def test_no_answer_fails_mixes_generations_or_goes_back_while_generations_are_published(tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish(store, "turning", rows(1))
    service = Service(store, tmp_path / "log")
    clients = [Client(service, ask) for ask in (by_text, by_id, item, batch)]
    threads = [threading.Thread(target=client.run) for client in clients]
    try:
        service.wait_until_ready()
        for thread in threads:
            thread.start()
        until(lambda: all(c.seen or c.wrong for c in clients), "1 in use")
        for number in range(2, ROUNDS + 2):
            report = publish(store, "turning", rows(number))
            assert (report.generation, report.published) == (number, True)
            until(lambda number=number: all(c.seen[-1:] == [number] or c.wrong for c in clients), f"{number} in use")
        for client in clients:
            client.stop.set()
        for thread in threads:
            thread.join()
    finally:
        for client in clients:
            client.stop.set()
        if service.process.poll() is None:
            service.stop(signal.SIGINT)
    for client in clients:
        assert client.wrong == []
        assert client.seen == sorted(client.seen)
        assert set(client.seen) == set(range(1, ROUNDS + 2))
