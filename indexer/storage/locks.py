"""Who may write to a collection?

One process at a time. The kernel drops the lock of a process that has ended, however it ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson

from indexer.errors import CollectionLocked
from indexer.storage.files import make_folder
from indexer.storage.places import CollectionFolder
from indexer.storage.refusals import disk


@contextlib.contextmanager
def lock(folder: CollectionFolder) -> Iterator[None]:
    """Hold the collection for writing; raises CollectionLocked, naming the holder, where another process does.

    The kernel drops the lock when its holder ends, however it ends.
    """
    make_folder(folder.path)
    path = folder.path / "lock"
    with disk(path, "write"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CollectionLocked(_held(folder.name, descriptor)) from error
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat()}
        with disk(path, "write"):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, orjson.dumps(holder), 0)
        yield
    finally:
        os.close(descriptor)


def _held(name: str, descriptor: int) -> str:
    try:
        holder = orjson.loads(os.pread(descriptor, 4096, 0))
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        who = "another process, which has not yet said who it is"
    return f"Collection {name!r} is being indexed by {who}: wait until it ends, or stop it."
