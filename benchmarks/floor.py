"""What could a search over HTTP cost at the least, and what does a text query cost without one?

Servers and a loop with nothing of Parecido around them, for `http` to put beside the service:

- `echo`: FastAPI with one `async def` route that answers what it is sent;
- `starlette`: Starlette with one route that reads the vector with orjson, asks the same FAISS index as hard (see
  `_beside`), and writes the ten hits with their metadata and texts, which it holds as Python objects, with orjson;
  nothing is checked. With a filter by `share` FAISS is handed a bitmap of the items that pass, made before, and finds
  what it finds. A text is embedded by the same model, each by itself;
- `model`: the collection's model, computed as the service does, one text after the other in the process itself.

    python -m benchmarks.floor echo|starlette STORE FD WORKERS     (FD is a listening socket)
    python -m benchmarks.floor model STORE < TEXTS
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks._beside import SHARES, on_files
from benchmarks.stores import COLLECTION
from indexer.models import Model
from indexer.snapshot import open_newest
from indexer.storage import collection_folder


def echo() -> Any:
    """FastAPI, as its tutorial has it."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/search")
    async def answer(body: dict[str, Any]) -> dict[str, Any]:
        return body

    return app


def starlette(store: Path, workers: int) -> Any:
    """Starlette over the index and the items of the only segment, in one of so many processes."""
    import faiss
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    snapshot = open_newest(collection_folder(store, COLLECTION))
    (part,) = snapshot.segments
    segment, model = part.segment, _model(store, workers)
    bare = {share: on_files(snapshot, share=share) for share in (None, *SHARES)}
    faiss.omp_set_num_threads(1)
    hits = [
        {"id": segment.id(row), "metadata": segment.metadata(row), "text": segment.text(row)}
        for row in segment.item_rows.tolist()
    ]

    async def search(request: Any) -> Response:
        body = orjson.loads(await request.body())
        if "text" in body:
            vector = model.embed_query([body["text"]])
        else:
            vector = np.array([body["vector"]], dtype=np.float32)
            vector /= np.linalg.norm(vector)
        share = body["filter"]["share"]["$lt"] if "filter" in body else None
        figures, rows = bare[share].search(vector)
        found = [
            {"similarity": figure, **hits[row]}
            for figure, row in zip(figures[0].tolist(), rows[0].tolist(), strict=True)
            if row >= 0
        ]
        return Response(orjson.dumps({"hits": found}), media_type="application/json")

    return Starlette(routes=[Route("/search", search, methods=["POST"])])


def serve(kind: str, store: Path, listener: socket.socket, workers: int) -> None:
    """Answer from so many processes until the parent is gone."""
    import uvicorn

    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    app = echo() if kind == "echo" else starlette(store, workers)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


def _model(store: Path, processes: int) -> Model:
    """The collection's model, as one of so many processes of the service has it."""
    from indexer import models
    from indexer.config import load

    fingerprint = open_newest(collection_folder(store, COLLECTION)).generation.fingerprint
    providers = load(None, os.environ).providers
    local = providers.local.model_copy(update={"processes": processes})
    loaded = models.load(fingerprint, None, providers.model_copy(update={"local": local}))
    loaded.warm()
    return loaded


def model(store: Path) -> None:
    """Read texts, a JSON list a line; answer each line with the median of milliseconds a text."""
    loaded = _model(store, 1)
    for line in sys.stdin.buffer:
        times = []
        for text in orjson.loads(line):
            began = time.perf_counter()
            loaded.embed_query([text])
            times.append((time.perf_counter() - began) * 1000)
        print(statistics.median(times), flush=True)


def main() -> None:
    """Be the one that is named."""
    kind, store = sys.argv[1], Path(sys.argv[2])
    if kind == "model":
        model(store)
    else:
        serve(kind, store, socket.socket(fileno=int(sys.argv[3])), int(sys.argv[4]))


if __name__ == "__main__":
    main()
