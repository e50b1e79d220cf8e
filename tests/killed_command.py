"""The real command, with the stand-in for a model, in processes that may be killed at any moment.

With arguments it is one such process: LOG, and then what `parecido` takes. Without, it forks them: one JSON object a
line comes in with `log`, `arguments`, `output` (a file for what the command says), `cold` (whether the process starts
from nothing), and maybe `kill`: seconds `after` which it is killed, counted from its start or, where `seen` names a
folder or a file, from when something there changes. One goes out: `code`, the exit code or minus the signal, and
`seconds`.

Before the model computes anything it writes a line to the log: which texts it is `asked` for, by their hashes, and
which of these the embedding cache has already, which should be none.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support import StandIn

import indexer.build
import indexer.estimate
import indexer.progress  # noqa: F401 – as the two before: what the command imports is there before it is forked
from indexer import models
from indexer.chunking import document_chunker
from indexer.config import PassageSettings
from indexer.models import slices
from indexer.storage import file_names
from indexer.vectors import Vectors
from service.cli import main

SLICE = 8
SECONDS_A_TEXT = 0.002
POLL_SECONDS = 0.0005

Command = Callable[[Path, list[str]], None]
"""Is `parecido` with those arguments, and a log of its own."""


class Logged(StandIn):
    """The stand-in, slow enough to be killed at work, and on record."""

    def __init__(self) -> None:
        super().__init__()
        self.log = self.cache = Path()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row a text, and a line in the log."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        record = {"asked": [name(key) for key in keys], "cached": [name(key) for key in cached(self.cache, keys)]}
        with self.log.open("ab", buffering=0) as file:
            file.write(json.dumps(record).encode() + b"\n")
        time.sleep(SECONDS_A_TEXT * len(texts))
        return self.embed_query(texts)


def name(key: bytes) -> str:
    return key.hex()[:16]


def cached(cache: Path, keys: list[bytes]) -> list[bytes]:
    """Which of the texts have a vector in the embedding cache, which is asked without the product."""
    if not cache.exists():
        return []
    connection = sqlite3.connect(f"file:{cache}?mode=ro", uri=True)
    try:
        marks = ",".join("?" for _ in keys)
        query = f"SELECT sha256 FROM entries JOIN vectors USING (id) WHERE sha256 IN ({marks})"
        return [row[0] for row in connection.execute(query, keys)]
    finally:
        connection.close()


def command(model: Logged, log: Path, arguments: list[str]) -> None:
    """Be `parecido`."""
    model.log, model.cache = log, Path(arguments[arguments.index("--store") + 1]) / "embeddings.sqlite"
    main(arguments, prog_name="parecido")


def follow(order: dict[str, Any], be: Command, script: str) -> dict[str, Any]:
    """Start the command, and kill it when it is time; `script` is what starts it from nothing."""
    kill = order.get("kill")
    before = state(kill)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        become(order, be, script)
    if kill is not None:
        while "seen" in kill and state(kill) == before and not over(child):
            time.sleep(POLL_SECONDS)
        time.sleep(kill["after"])
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began}


def become(order: dict[str, Any], be: Command, script: str) -> None:
    """The command in this process; does not return."""
    code = 70
    try:
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if order["cold"]:
            os.execv(sys.executable, [sys.executable, script, order["log"], *order["arguments"]])
        be(Path(order["log"]), order["arguments"])
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def state(kill: dict[str, Any] | None) -> object:
    """Of what is watched: the names in a folder, or the size of a file."""
    if not kill or "seen" not in kill:
        return None
    path = Path(kill["seen"])
    return path.stat().st_size if path.is_file() else file_names(path)


def over(child: int) -> bool:
    """Whether the process has ended; it is still to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def start() -> None:
    """Put the stand-in in the model's place, and be the command or fork it."""
    model = Logged()
    models.identify = lambda *_: model.fingerprint
    models.load = lambda *_: model
    slices.SLICE = SLICE
    if len(sys.argv) > 1:
        command(model, Path(sys.argv[1]), sys.argv[2:])
    document_chunker(model, PassageSettings())  # takes a while, and is kept
    model.embed_query(["a text"])
    obey(functools.partial(command, model), __file__)


def obey(be: Command, script: str) -> None:
    """Follow the orders that come in, until no more do."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(follow(json.loads(line), be, script)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    start()
