"""What does the embedding cache look like on disk?

One SQLite database, by default `embeddings.sqlite` in the store, of format 1 (its `user_version`), in WAL mode:

    spaces    id, fingerprint             a vector space: the fields of `Fingerprint` as JSON, keys in order, no blanks
    entries   id, space, sha256,          one row a text and space; the hash is that of the exact text sent, the
              numeric_path, used,         document prompt before the passage, in UTF-8; `numeric_path` is what computed
              crc32                       the vector; `used` the last day it was used, counted from 1970-01-01 in UTC;
                                          `crc32` (zlib's) is over fingerprint, hash and vector, in this order
    vectors   id, vector                  that of the entry of the same id, float32, little-endian, length 1
    runs      id, collection              the folders of collections whose last run has not published
    pins      vector, run                 the entries that such a run has used or made

What always holds: an entry and its vector appear together and are on disk when `transaction` returns; a vector whose
check does not fit is named and never served; a file that is damaged or of something else is left as it is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from indexer.storage import DatabaseFile, DatabaseKind

FORMAT = 1

_TABLES = f"""
CREATE TABLE spaces (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, space INTEGER NOT NULL, sha256 BLOB NOT NULL, numeric_path TEXT NOT NULL,
    used INTEGER NOT NULL, crc32 INTEGER NOT NULL, UNIQUE (space, sha256)
);
CREATE INDEX entries_by_use ON entries (used);
CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE runs (id INTEGER PRIMARY KEY, collection TEXT NOT NULL UNIQUE);
CREATE TABLE pins (vector INTEGER NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (vector, run)) WITHOUT ROWID;
PRAGMA user_version = {FORMAT}
"""

_KIND = DatabaseKind(
    name="embedding cache",
    format=FORMAT,
    tables=_TABLES,
    elsewhere="set another cache.path",
    on_a_local_disk="set a cache.path on a local disk",
    loss="what it held is then embedded again",
)


def cache_file(path: Path) -> DatabaseFile:
    """The embedding cache in that file, which is made when it is first written to."""
    return DatabaseFile(path, _KIND)


def row_of(connection: sqlite3.Connection, table: str, column: str, value: str) -> int:
    """The id of the row with that value, made where there is none; the names are our own."""
    connection.execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (value,))  # noqa: S608
    id: int = connection.execute(f"SELECT id FROM {table} WHERE {column} = ?", (value,)).fetchone()[0]  # noqa: S608
    return id


def marks(values: Iterable[object]) -> str:
    """A question mark a value, for a list in a statement."""
    return ",".join("?" for _ in values)


def remove(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Remove these entries, their vectors and what keeps them."""
    rows = [(id,) for id in ids]
    for table, column in (("pins", "vector"), ("vectors", "id"), ("entries", "id")):
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)  # noqa: S608


def unfinished(connection: sqlite3.Connection) -> dict[int, str]:
    """The runs that have not published, with the folders of their collections, those left out that are gone."""
    runs = connection.execute("SELECT id, collection FROM runs").fetchall()
    return {run: collection for run, collection in runs if os.path.isdir(str(collection))}


def forget(connection: sqlite3.Connection, runs: Iterable[int]) -> None:
    """Keep nothing for these runs any more."""
    for run in runs:
        connection.execute("DELETE FROM pins WHERE run = ?", (run,))
        connection.execute("DELETE FROM runs WHERE id = ?", (run,))


def forget_vanished(connection: sqlite3.Connection) -> None:
    """Keep nothing for collections that are no longer there."""
    runs = {row[0] for row in connection.execute("SELECT id FROM runs").fetchall()}
    forget(connection, runs - unfinished(connection).keys())
