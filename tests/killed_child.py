"""A process that forks runs of the indexer and other verbs which do not live to their end.

One JSON object a line comes in: `store`, `source`, `name`, and maybe `settings`, `rebuild`, `verb`, what is done in
the place of a run (`rollback`, `resume` or `prune`, which keeps the last generation), `kill`, the number of the step
before which the run kills itself, `limit`, the bytes that no file may pass, `asked`, a file to which every text is
appended that the model is asked to embed, and `die_in_call`, the call of the model that does not return. One goes out:
`signal`, what ended the run (0 for nothing), `error`, what it raised, and `steps`, the names of its steps where it
ended by itself. A step is a call that changes the disk; one of `write` is done by half before the kill. With `server`,
the address of a server of OpenAI's API, the run sends batches there, and a step is also a call of the API and its end,
and a transaction of a database, but no single write.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from posted import fingerprint_of, providers_of
from support import Silent, StandIn, settings_for

from indexer import models, spool
from indexer.batches import sending
from indexer.build import build
from indexer.config import CollectionSettings
from indexer.models.openai_batches import OpenAIBatches
from indexer.providers import Providers
from indexer.prune import prune
from indexer.rollback import resume, rollback
from indexer.storage import DatabaseFile, OutputFile, collection_folder, lock
from indexer.vectors import Vectors

CALLS = ("fsync", "ftruncate", "link", "mkdir", "pwrite", "rename", "replace", "rmdir", "unlink")


class Steps:
    """Counts the steps of this process, and ends it at one of them."""

    def __init__(self, kill: int) -> None:
        self.names: list[str] = []
        self._kill = kill

    def watch(self) -> None:
        """From now on."""
        for name in CALLS:
            setattr(os, name, self._counted(name, getattr(os, name)))
        write = OutputFile.write

        def counted(file: OutputFile, data: Any) -> int:
            if self._is_last("write"):
                view = memoryview(data).cast("B")
                write(file, view[: view.nbytes // 2])
                file._file.flush()
                die()
            return write(file, data)

        OutputFile.write = counted  # type: ignore[method-assign]

    def watch_batches(self) -> None:
        """From now on, what is done about batches: what the API is asked, and what is written down."""
        for name in ("link", "replace"):
            setattr(os, name, self._counted(name, getattr(os, name)))
        for name in ("upload", "uploaded", "create", "named", "get", "cancel", "download", "delete"):
            act = self._counted(name, getattr(OpenAIBatches, name))
            setattr(OpenAIBatches, name, self._counted_after(name, act))
        transaction = DatabaseFile.transaction

        @contextlib.contextmanager
        def counted(file: DatabaseFile, write: bool = True) -> Iterator[sqlite3.Connection]:
            with transaction(file, write) as connection:
                yield connection
                if write and self._is_last("transaction"):
                    die()

        DatabaseFile.transaction = counted  # type: ignore[method-assign]

    def _counted_after(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(act)
        def counted(*args: Any, **named: Any) -> Any:
            done = act(*args, **named)
            if self._is_last(f"{name} done"):
                die()
            return done

        return counted

    def _counted(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(act)
        def counted(*args: Any, **named: Any) -> Any:
            if self._is_last(name):
                die()
            return act(*args, **named)

        return counted

    def _is_last(self, name: str) -> bool:
        self.names.append(name)
        return len(self.names) == self._kill


def write_down(stand_in: StandIn, order: dict[str, Any]) -> None:
    """Append what the model is asked to a file, and end the process in one of the calls."""
    embed, calls = stand_in.embed_documents, 0

    def written_down(texts: Sequence[str]) -> Vectors:
        nonlocal calls
        calls += 1
        with Path(order["asked"]).open("ab", buffering=0) as file:
            file.write("".join(f"\n{json.dumps(text)}" for text in texts).encode())
        if calls == order["die_in_call"]:
            die()
        return embed(texts)

    stand_in.embed_documents = written_down  # type: ignore[method-assign]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(order: dict[str, Any], stand_in: StandIn) -> dict[str, Any]:
    """One run of the indexer, in a process of its own; what came of it."""
    if "server" in order:
        stand_in.fingerprint = fingerprint_of(order["server"])
        sending.UNSURE_SECONDS = 0
    if "asked" in order:
        write_down(stand_in, order)
    steps = Steps(order.get("kill", 0))
    steps.watch_batches() if "server" in order else steps.watch()
    settings = settings_for(Path(order["source"]), **order.get("settings", {}))
    if "limit" in order:
        spool.FLUSH_ROWS = 50  # many small files, so that the limit meets those of the store too
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], resource.RLIM_INFINITY))
    try:
        do(order, settings)
    except Exception as error:
        return {"steps": steps.names, "error": f"{type(error).__name__}: {error}"}
    return {"steps": steps.names, "error": None}


def do(order: dict[str, Any], settings: CollectionSettings) -> None:
    """What is asked for."""
    store, name = Path(order["store"]), order["name"]
    match order.get("verb"):
        case "rollback":
            rollback(store, name)
        case "resume":
            resume(store, name)
        case "prune":
            folder = collection_folder(store, name)
            with lock(folder):
                prune(folder, 1, timedelta(0))
        case _:
            providers = providers_of(order["server"]) if "server" in order else Providers()
            build(store, name, settings, Silent(), rebuild=order.get("rebuild", False), providers=providers)


def follow(order: dict[str, Any], stand_in: StandIn) -> dict[str, Any]:
    """Fork a run and see how it ends."""
    if "server" in order:  # once for all of them: it takes as long as several runs
        import openai.resources.batches
        import openai.resources.files  # noqa: F401
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(run(order, stand_in)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        answer = file.read()
    _, status = os.waitpid(child, 0)
    ended = {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}
    return ended | (json.loads(answer) if answer else {"steps": None, "error": None})


def main() -> None:
    """Follow orders until there are no more."""
    stand_in = StandIn()
    models.identify = lambda *_: stand_in.fingerprint
    models.load = lambda *_: stand_in
    for line in sys.stdin:
        sys.stdout.write(json.dumps(follow(json.loads(line), stand_in)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
