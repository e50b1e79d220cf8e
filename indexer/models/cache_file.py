"""What does the embedding cache look like on disk, and what happens where SQLite refuses?

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

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from indexer import storage
from indexer.errors import StorageError

FORMAT = 1
BUSY_SECONDS = 60.0
"""How long to wait for another process; its transactions take a fraction of a second."""
VACUUM_PAGES = 1000

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

_DAMAGED = "it is damaged ({}): move it away and run it again; what it held is then embedded again"
_DECODING = "Could not decode"
"""What Python's module says, without SQLite's knowledge, of a text that is none."""
_NO_FILE = "it cannot be opened there: let this user write to the folder, or set another cache.path"
_BUSY = f"another process has held it for {BUSY_SECONDS:g} seconds: wait until that one ends, and run it again"
_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room and run it again",
    sqlite3.SQLITE_READONLY: "it is read-only: make it writable, or set another cache.path",
    sqlite3.SQLITE_PERM: _NO_FILE,
    sqlite3.SQLITE_CANTOPEN: _NO_FILE,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_IOERR: "the disk reports an error, or the file would pass the allowed file size: check the disk's "
    "health, or raise the limit and run it again",
    sqlite3.SQLITE_IOERR_SHMSIZE: "the disk is full: make room and run it again; or the file would pass the allowed "
    "file size: raise the limit and run it again",
}


class CacheFile:
    """The database: opened when it is first asked for, made when it is first written to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a file to ask."""
        return self._connection is not None or storage.size(self.path) is not None

    @contextlib.contextmanager
    def transaction(self, write: bool = True) -> Iterator[sqlite3.Connection]:
        """What is done inside happens as a whole and is on disk afterwards, or does not happen.

        Others can read meanwhile, and write where this does not. Raises StorageError where the disk refuses, the file
        is damaged, or another process does not let go of it.
        """
        with self._refusals():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def pages(self) -> tuple[int, int]:
        """Bytes of the pages that there are, and of those that hold something."""
        with self._refusals():
            connection = self._open()
            size, count, free = (
                int(connection.execute(f"PRAGMA {what}").fetchone()[0])
                for what in ("page_size", "page_count", "freelist_count")
            )
            return size * count, size * (count - free)

    def shrink(self) -> None:
        """Give the disk back what is free, in steps that let others in between."""
        with self._refusals():
            connection = self._open()
            for _ in range(0, connection.execute("PRAGMA freelist_count").fetchone()[0], VACUUM_PAGES):
                connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")  # `execute` frees one page only
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def bytes_on_disk(self) -> int:
        """The length of the file and of the log of what is on its way into it."""
        return sum(storage.size(Path(f"{self.path}{part}")) or 0 for part in ("", "-wal"))

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            storage.make_folder(self.path.parent)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables where the file is new; raises StorageError where it is not what this version reads."""
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            version = self._create(connection)
        if version != FORMAT:
            raise StorageError(
                f"The embedding cache {str(self.path)!r} has format {version}; this version of Parecido reads format "
                f"{FORMAT}: use the version that wrote it, or set another cache.path."
            )
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StorageError(
                f"The embedding cache {str(self.path)!r} cannot be shared between processes where it is: set a "
                "cache.path on a local disk."
            )

    def _create(self, connection: sqlite3.Connection) -> int:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has to be said before there is a table
        connection.execute("BEGIN IMMEDIATE")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])  # another process may have been first
        if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StorageError(f"{str(self.path)!r} is a database of something else: set another cache.path.")
        if version == 0:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
        connection.execute("COMMIT")
        return version or FORMAT

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Translate what SQLite says into a StorageError."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            if str(error).startswith(_DECODING):
                code = sqlite3.SQLITE_CORRUPT
            if code is None:  # a mistake of ours, which has to be seen
                raise
            hint = (_HINTS.get(code) or _HINTS.get(code & 0xFF, "{}: mend it and run it again")).format(error)
            raise StorageError(f"Cannot use the embedding cache {str(self.path)!r}: {hint}.") from error


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
