"""Is every vector of the embedding cache what was put there?

SQLite is asked whether its pages are sound, and each vector is compared with its check. Nothing is changed; what is
damaged is named. Others may use the cache meanwhile: it is read in steps.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from indexer.errors import StorageError
from indexer.models.cache_contents import looked_into
from indexer.models.cache_file import cache_file
from indexer.storage import DatabaseFile

AT_ONCE = 1000
NAMED = 20
"""Damaged vectors that are named one by one; of more, only their number is told."""

_NEXT = """
SELECT entries.id, fingerprint, sha256, crc32, CAST(vector AS BLOB) FROM entries
LEFT JOIN spaces ON spaces.id = space LEFT JOIN vectors ON vectors.id = entries.id
WHERE entries.id > ? ORDER BY entries.id LIMIT ?
"""
_NAMELESS = "SELECT count(*) FROM vectors WHERE NOT EXISTS (SELECT 1 FROM entries WHERE entries.id = vectors.id)"


@dataclass(frozen=True, slots=True)
class CacheVerification:
    """What was looked at in an embedding cache, and what is wrong."""

    path: Path
    vectors: int
    bytes: int
    """On disk; 0 where there is no file yet."""
    damages: tuple[str, ...]


def verify_cache(path: Path) -> CacheVerification:
    """Read the whole cache in that file; what cannot be read is a damage, never an error."""
    file, damages, checked, size = cache_file(path), list[str](), 0, 0
    try:
        if file.exists:
            with looked_into(file):
                size = file.bytes_on_disk()
                damages += _unsound_pages(file)
                for damage in _vectors(file) if not damages else ():
                    checked += 1
                    damages += [damage] if damage else []
    except StorageError as error:
        damages.append(error.message)
    if len(damages) > NAMED:
        damages[NAMED:] = [f"{len(damages) - NAMED:,} more"]
    return CacheVerification(path, checked, size, tuple(damages))


def _unsound_pages(file: DatabaseFile) -> Iterator[str]:
    with file.transaction(write=False) as connection:
        found = connection.execute(f"PRAGMA integrity_check({NAMED})").fetchall()
        nameless = connection.execute(_NAMELESS).fetchone()[0]
    yield from (str(row[0]) for row in found if row[0] != "ok")
    if nameless:
        yield f"{nameless:,} vectors belong to no text"


def _vectors(file: DatabaseFile) -> Iterator[str | None]:
    """What is wrong with each vector; None where nothing is."""
    last, rows = -1, list[sqlite3.Row]()
    while True:
        with file.transaction(write=False) as connection:
            rows = connection.execute(_NEXT, (last, AT_ONCE)).fetchall()
        if not rows:
            return
        for id, fingerprint, key, crc, blob in rows:
            yield _fault(id, fingerprint, key, crc, blob)
        last = rows[-1][0]


def _fault(id: int, fingerprint: str | None, key: bytes, crc: int, blob: bytes | None) -> str | None:
    if fingerprint is None or blob is None:
        return f"vector {id} is missing" if blob is None else f"the model of vector {id} is missing"
    print_ = orjson.loads(fingerprint)
    if len(blob) == 4 * print_["dimension"] and zlib.crc32(key + blob, zlib.crc32(fingerprint.encode())) == crc:
        return None
    return f"vector {id}, of model {print_['name']!r}, is not what was stored"
