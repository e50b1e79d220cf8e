"""How is an SQLite file of the store used, and what happens where SQLite refuses?

Such a file is in WAL mode, of a numbered format, and shared between processes. What always holds: what a transaction
has done is on disk when it ends (synchronous = FULL); a file that is damaged or of something else is left as it is, and
all that SQLite refuses is a StorageError that says what to do. Its tables are specified by whoever keeps it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import StorageError
from indexer.storage.files import make_folder, size

BUSY_SECONDS = 60.0
"""How long to wait for another process; its transactions take a fraction of a second."""
VACUUM_PAGES = 1000

_DAMAGED = "it is damaged ({error}): {kind.remedy}"
_DECODING = "Could not decode"
"""What Python's module says, without SQLite's knowledge, of a text that is none."""
_NO_FILE = "it cannot be opened there: let this user write to the folder, or {kind.elsewhere}"
_BUSY = "another process has held it for {seconds:g} seconds: wait until that one ends, and run it again"
_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room and run it again",
    sqlite3.SQLITE_READONLY: "it is read-only: make it writable, or {kind.elsewhere}",
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


@dataclass(frozen=True, slots=True)
class DatabaseKind:
    """What all files of one kind have in common."""

    name: str
    """What it is called."""
    format: int
    """The `user_version` that is read and written."""
    tables: str
    """The statements that make it, apart by semicolons; the last sets `user_version`."""
    elsewhere: str
    """How somebody has it put in another place, as an order."""
    on_a_local_disk: str
    """The same where it has to be on a disk of this machine."""
    loss: str
    """What follows where it is moved away, as a sentence without its end."""

    @property
    def remedy(self) -> str:
        """What to do where it is damaged."""
        return f"move it away and run it again; {self.loss}"


class DatabaseFile:
    """The database: opened when it is first asked for, made when it is first written to."""

    def __init__(self, path: Path, kind: DatabaseKind) -> None:
        self.path = path
        self._kind = kind
        self._connection: sqlite3.Connection | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a file to ask."""
        return self._connection is not None or size(self.path) is not None

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
        return sum(size(Path(f"{self.path}{part}")) or 0 for part in ("", "-wal"))

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            make_folder(self.path.parent)
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
        if version != self._kind.format:
            raise StorageError(
                f"The {self._kind.name} {str(self.path)!r} has format {version}; this version of Parecido reads format "
                f"{self._kind.format}: use the version that wrote it, or {self._kind.elsewhere}."
            )
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StorageError(
                f"The {self._kind.name} {str(self.path)!r} cannot be shared between processes where it is: "
                f"{self._kind.on_a_local_disk}."
            )

    def _create(self, connection: sqlite3.Connection) -> int:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has to be said before there is a table
        connection.execute("BEGIN IMMEDIATE")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])  # another process may have been first
        if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StorageError(f"{str(self.path)!r} is a database of something else: {self._kind.elsewhere}.")
        if version == 0:
            for statement in self._kind.tables.split(";"):
                connection.execute(statement)
        connection.execute("COMMIT")
        return version or self._kind.format

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
            hint = _HINTS.get(code) or _HINTS.get(code & 0xFF, "{error}: mend it and run it again")
            told = hint.format(error=error, kind=self._kind, seconds=BUSY_SECONDS)
            raise StorageError(f"Cannot use the {self._kind.name} {str(self.path)!r}: {told}.") from error
