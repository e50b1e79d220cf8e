"""Which texts were embedded before, and what were their vectors?

The embedding cache is shared by all collections of a store. Its key is the fingerprint and the hash of the exact text
sent, so that a renamed item, the same text in another collection, a rebuild, a model that was changed and changed back,
and the run after one that was killed embed nothing twice. What always holds: a vector comes back bit for bit as it was
put, or its damage is named; what a run has used or made is not evicted before that run's collection has published.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import orjson

from indexer.config import CacheSettings
from indexer.errors import StorageError
from indexer.models import Fingerprint
from indexer.models.cache_file import cache_file, forget, forget_vanished, marks, remove, row_of
from indexer.storage import DatabaseFile
from indexer.vectors import Vectors

FILE = "embeddings.sqlite"
LOOKUP = 500
"""Texts asked for at once; SQLite takes 999 parameters at least."""
EVICTED_AT_ONCE = 1000

_FIND = """
SELECT sha256, entries.id, crc32, CAST(vector AS BLOB) FROM entries LEFT JOIN vectors ON vectors.id = entries.id
WHERE space = (SELECT id FROM spaces WHERE fingerprint = ?) AND sha256 IN ({})
"""
_KNOWN = """
SELECT sha256 FROM entries WHERE space = (SELECT id FROM spaces WHERE fingerprint = ?) AND sha256 IN ({})
"""
_OLDEST = """
SELECT id FROM entries WHERE NOT EXISTS (SELECT 1 FROM pins WHERE vector = entries.id) ORDER BY used, id LIMIT ?
"""


def cache_path(store: Path, settings: CacheSettings) -> Path:
    """Where the embedding cache of a store is."""
    return settings.path or store / FILE


def text_key(text: str) -> bytes:
    """The 32 bytes under which the vector of an exact text, prompt included, is found: its SHA-256."""
    return hashlib.sha256(text.encode()).digest()


def today() -> int:
    """The day it is in UTC, counted from 1970-01-01."""
    return int(time.time() // 86_400)


def _space(fingerprint: Fingerprint) -> str:
    """A fingerprint as it stands in the file."""
    return orjson.dumps(fingerprint.to_json(), option=orjson.OPT_SORT_KEYS).decode()


class EmbeddingCache:
    """An embedding cache; several processes may use the same at once. Every method may raise StorageError."""

    def __init__(self, path: Path) -> None:
        """Opens nothing: the file is made when the first vector comes."""
        self._file = cache_file(path)

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def for_run(self, fingerprint: Fingerprint, collection: Path) -> RunCache:
        """The vectors of one space, as a run of the collection in that folder uses them."""
        return RunCache(self._file, fingerprint, collection)

    def known(self, fingerprint: Fingerprint, keys: Collection[bytes]) -> set[bytes]:
        """Which of the texts have a vector of that space, by their keys, LOOKUP at most; marks nothing as used."""
        if not keys or not self._file.exists:
            return set()
        with self._file.transaction(write=False) as connection:
            found = connection.execute(_KNOWN.format(marks(keys)), [_space(fingerprint), *keys]).fetchall()
        return {row[0] for row in found}

    def finished(self, collection: Path) -> None:
        """No run of the collection in that folder is unfinished any more: what was kept for them may go."""
        if not self._file.exists:
            return
        with self._file.transaction(write=False) as connection:
            query = "SELECT id FROM runs WHERE collection = ?"
            runs = [row[0] for row in connection.execute(query, (str(collection.resolve()),)).fetchall()]
        if runs:
            with self._file.transaction() as connection:
                forget(connection, runs)

    def evict(self, max_bytes: int) -> int:
        """Remove what was not used for longest until the file has at most that size; returns how many vectors went.

        Vectors that are kept for a run that has not published stay, and the file is then larger.
        """
        removed = 0
        if not self._file.exists:
            return removed
        while (excess := self._file.pages()[1] - max_bytes) > 0:
            with self._file.transaction() as connection:
                forget_vanished(connection)
                count = min(EVICTED_AT_ONCE, 1 + excess // 4096)
                gone = [row[0] for row in connection.execute(_OLDEST, (count,)).fetchall()]
                remove(connection, gone)
            removed += len(gone)
            if not gone:
                break
        if self._file.pages()[0] > max_bytes:
            self._file.shrink()
        return removed


class RunCache:
    """The cache as one run of a collection sees it: vectors of one space, kept until the collection publishes."""

    def __init__(self, file: DatabaseFile, fingerprint: Fingerprint, collection: Path) -> None:
        self._file = file
        self._fingerprint = fingerprint
        self._space = _space(fingerprint)
        self._collection = str(collection.resolve())
        self._crc = zlib.crc32(self._space.encode())

    def fill(self, keys: Sequence[bytes], rows: Sequence[int], vectors: Vectors) -> set[int]:
        """Copy the known vectors into `vectors` (…, dimension), that of keys[i] into row rows[i]; returns those rows.

        No key comes twice. Raises StorageError naming a vector that is not what was put.
        """
        known: set[int] = set()
        if not self._file.exists:
            return known
        for start in range(0, len(keys), LOOKUP):
            wanted = dict(zip(keys[start : start + LOOKUP], rows[start : start + LOOKUP], strict=True))
            with self._file.transaction() as connection:
                found = connection.execute(_FIND.format(marks(wanted)), [self._space, *wanted]).fetchall()
                for key, id, crc, blob in found:
                    vectors[wanted[key]] = self._checked(key, id, crc, blob)
                self._use(connection, [id for _, id, _, _ in found])
            known.update(wanted[key] for key, *_ in found)
        return known

    def put(self, keys: Sequence[bytes], vectors: Vectors, numeric_path: str) -> None:
        """Keep the vectors (len(keys), dimension); they are on disk when this returns."""
        day, blobs = today(), [row.tobytes() for row in vectors.astype("<f4", copy=False)]
        with self._file.transaction() as connection:
            space = row_of(connection, "spaces", "fingerprint", self._space)
            run = row_of(connection, "runs", "collection", self._collection)
            for key, blob in zip(keys, blobs, strict=True):
                crc = zlib.crc32(key + blob, self._crc)
                made = connection.execute(
                    "INSERT OR IGNORE INTO entries (space, sha256, numeric_path, used, crc32) VALUES (?, ?, ?, ?, ?)",
                    (space, key, numeric_path, day, crc),
                )
                if made.rowcount:  # else another process was first
                    connection.execute("INSERT INTO vectors (id, vector) VALUES (?, ?)", (made.lastrowid, blob))
            connection.executemany(
                "INSERT OR IGNORE INTO pins (vector, run) SELECT id, ? FROM entries WHERE space = ? AND sha256 = ?",
                ((run, space, key) for key in keys),
            )

    def _use(self, connection: sqlite3.Connection, ids: Sequence[int]) -> None:
        """Remember that this run has used these entries."""
        if ids:
            run, day = row_of(connection, "runs", "collection", self._collection), today()
            pins = ((id, run) for id in ids)
            connection.executemany("INSERT OR IGNORE INTO pins (vector, run) VALUES (?, ?)", pins)
            days = ((day, id, day) for id in ids)
            connection.executemany("UPDATE entries SET used = ? WHERE id = ? AND used < ?", days)

    def _checked(self, key: bytes, id: int, crc: int, blob: bytes | None) -> Vectors:
        dimension = self._fingerprint.dimension
        if blob is None or len(blob) != dimension * 4 or zlib.crc32(key + blob, self._crc) != crc:
            raise StorageError(
                f"The embedding cache {str(self._file.path)!r} is damaged: vector {id}, of model "
                f"{self._fingerprint.name!r}, is not what was stored. Empty the cache with `parecido cache --empty "
                "--all` or move the file away, and run it again; what it held is then embedded again."
            )
        return np.frombuffer(blob, dtype="<f4")
