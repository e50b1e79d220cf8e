"""How is a server filled and served, in two commands that all have in common?

    python serve_NAME.py fill DATA FOLDER     print what came of it, as JSON
    python serve_NAME.py serve FOLDER PORT    answer until the process is ended

DATA holds `vectors.npy` and, in the same order, `rows.jsonl`; FOLDER is the server's own. Filling is a process of its
own, so that what it held does not count as the server's memory. Run by an interpreter that has the peer's packages and
nothing of Parecido.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]


class Data:
    """What a server is filled with: its rows and, in the same order, their vectors."""

    def __init__(self, folder: Path) -> None:
        self.vectors = np.load(folder / "vectors.npy")
        with (folder / "rows.jsonl").open("rb") as file:
            self.rows: list[Row] = [json.loads(line) for line in file]
        self.seconds = 0.0

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Measures what it takes to fill a server that is there, so without imports and the like."""
        began = time.perf_counter()
        yield
        self.seconds = time.perf_counter() - began

    def batches(self, size: int) -> Iterator[tuple[list[Row], Any]]:
        """Rows and vectors, at most so many at once."""
        for start in range(0, len(self.rows), size):
            yield self.rows[start : start + size], self.vectors[start : start + size]


def main(fill: Callable[[Data, Path], Row], serve: Callable[[Path, int], None]) -> None:
    """Do what the command line says; filling says what it returns and how long it took."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    if sys.argv[1] == "fill":
        data, folder = Data(Path(sys.argv[2])), Path(sys.argv[3])
        said = fill(data, folder)
        print(json.dumps({"seconds": data.seconds, **said}))
    else:
        serve(Path(sys.argv[2]), int(sys.argv[3]))


def answer_searches(search: Callable[[Row], Any], port: int, lifespan: Any = None) -> None:
    """A bare Starlette endpoint, for what does not speak HTTP: `search` gives the hits that answer a body.

    One process, uvloop and httptools, orjson in and out; nothing is checked.
    """
    import orjson
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(request: Request) -> Response:
        hits = await search(orjson.loads(await request.body()))
        return Response(orjson.dumps({"hits": hits}), media_type="application/json")

    async def ready(_: Request) -> Response:
        return Response()

    app = Starlette(routes=[Route("/search", answer, methods=["POST"]), Route("/", ready)], lifespan=lifespan)
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_level="warning", access_log=False)
