"""A process that reads a collection while others publish and prune.

With arguments STORE and `hold` it opens the newest generation, touches none of its rows, says so with a line, and for
each line that comes in tells as JSON what it holds: `generation`, `items` (each with its text and metadata), `hits`.
With `loop` it opens the newest generation and reads it again and again until its input ends; then it tells which
generations it has `seen`, how often it has `opened` one, and what was `wrong`: an error, or rows of another generation.
"""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path
from typing import Any

from support import NAME, QUERY, StandIn

from indexer.errors import ParecidoError
from indexer.queries import Query, search
from indexer.snapshot import Snapshot, open_newest
from indexer.storage import collection_folder


def told(snapshot: Snapshot, model: StandIn) -> dict[str, Any]:
    """All that a snapshot answers."""
    items = {}
    for part in snapshot.segments:
        for row in range(part.segment.entry.items):
            id = part.segment.id(row)
            if snapshot.find(id) is not None:
                items[id] = [part.segment.text(row), part.segment.metadata(row)]
    hits = search(snapshot, lambda: model, Query(text=QUERY, limit=100))["hits"]
    return {"generation": snapshot.generation.number, "items": items, "hits": hits}


def hold(store: Path) -> None:
    snapshot, model = open_newest(collection_folder(store, NAME)), StandIn()
    say(snapshot.generation.number)
    for _ in sys.stdin:
        say(told(snapshot, model))


def loop(store: Path) -> None:
    model, seen, opened, wrong = StandIn(), set[int](), 0, list[str]()
    say("ready")
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            answer = told(open_newest(collection_folder(store, NAME)), model)
        except ParecidoError as error:
            wrong.append(error.message)
            continue
        opened += 1
        seen.add(answer["generation"])
        if {metadata["made_for"] for _, metadata in answer["items"].values()} != {answer["generation"]}:
            wrong.append(f"generation {answer['generation']} has rows of another")
    say({"seen": sorted(seen), "opened": opened, "wrong": wrong})


def say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"hold": hold, "loop": loop}[sys.argv[2]](Path(sys.argv[1]))
