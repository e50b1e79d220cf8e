"""A process that reads the collection in the folder that it is given while others write to it.

`hold`: opens the newest generation once, and answers whenever a line comes in, with all that it holds as one line of
JSON. `open`: opens the newest generation again and again until the standard input ends, sees that all that it holds is
of one generation, and says in the end, as JSON, how often it did and which generations it saw.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from indexer.queries import Query, search
from indexer.snapshot import Snapshot, open_newest
from indexer.storage import CollectionFolder


def no_model() -> NoReturn:
    raise AssertionError("a search by vector needs no model")


def everything(snapshot: Snapshot, filter: Any = None) -> list[Any]:
    """All items with all that an answer can have, nearest to a fixed direction first."""
    vector = [1.0] * snapshot.generation.fingerprint.dimension
    include = ("text", "metadata", "passages", "vector")
    return list(search(snapshot, no_model, Query(vector=vector, limit=1000, include=include, filter=filter))["hits"])


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def hold(folder: CollectionFolder) -> None:
    snapshot = open_newest(folder)
    for _ in sys.stdin:
        answer = {
            "generation": snapshot.generation.number,
            "hits": everything(snapshot),
            "filtered": everything(snapshot, {"n": {"$lte": 1}}),
            "found": [snapshot.find(hit["id"]) is not None for hit in everything(snapshot)],
        }
        say(json.dumps(answer))


def open_again_and_again(folder: CollectionFolder) -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    opened, seen = 0, set()
    while not ended.is_set():
        snapshot = open_newest(folder)
        hits = everything(snapshot)
        number, held = snapshot.generation.number, {hit["metadata"]["n"] for hit in hits}
        assert held == {number}, f"generation {number} holds items of {held}"
        assert len(hits) == snapshot.generation.counts.items
        opened += 1
        seen.add(number)
        if opened == 1:
            say("opened")
    say(json.dumps({"opened": opened, "seen": sorted(seen)}))


if __name__ == "__main__":
    {"hold": hold, "open": open_again_and_again}[sys.argv[1]](CollectionFolder(Path(sys.argv[2])))
