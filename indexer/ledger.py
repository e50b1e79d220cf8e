"""What was paid, when, and for what?

One SQLite database, `costs.sqlite` in the store, of format 1 (its `user_version`), in WAL mode:

    paid      day, collection, model,     one row for what a run has spent with a model in a mode on a day: the day in
              mode, run, estimated,       UTC, as "2026-11-25"; the model's configured name; `mode` is "normal" or
              unpriced, requests,         "batch"; `estimated` is 1 where the tokens were counted here and not by the
              texts, tokens,              API; `unpriced` is 1 where the price was not known, and `nano_dollars`, in
              nano_dollars                billionths of a dollar, is NULL there and only there
    once      key, day                    what has been recorded and must not be again, such as a batch's id

What always holds: what was recorded is on disk when `record` returns, in the same transaction as its key; amounts are
whole numbers, so that sums are exact; what had no known price is told apart, never added as 0. Runs of several
collections may record at once. The file is made when the first money is recorded, and the service does not know it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any, Literal

from indexer.errors import StorageError
from indexer.storage import DatabaseFile, DatabaseKind

FILE = "costs.sqlite"
FORMAT = 1

By = Literal["day", "month", "model", "collection", "run", "mode"]

_TABLES = f"""
CREATE TABLE paid (
    day TEXT NOT NULL, collection TEXT NOT NULL, model TEXT NOT NULL, mode TEXT NOT NULL, run TEXT NOT NULL,
    estimated INTEGER NOT NULL, unpriced INTEGER NOT NULL,
    requests INTEGER NOT NULL, texts INTEGER NOT NULL, tokens INTEGER NOT NULL, nano_dollars INTEGER,
    PRIMARY KEY (day, collection, model, mode, run, estimated, unpriced)
) WITHOUT ROWID;
CREATE INDEX paid_by_run ON paid (run);
CREATE TABLE once (key TEXT PRIMARY KEY, day TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {FORMAT}
"""
_KIND = DatabaseKind(
    name="ledger of costs",
    format=FORMAT,
    tables=_TABLES,
    elsewhere="choose another --store",
    on_a_local_disk="choose a --store on a local disk",
    loss="what was spent before is then no longer counted, so keep it",
)
_RECORD = """
INSERT INTO paid VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
requests = requests + excluded.requests, texts = texts + excluded.texts, tokens = tokens + excluded.tokens,
nano_dollars = nano_dollars + excluded.nano_dollars
"""
_ONCE = "INSERT OR IGNORE INTO once VALUES (?, ?)"
_SUMS = """
SELECT {}sum(requests), sum(texts), sum(tokens), sum(nano_dollars), sum(tokens * unpriced), sum(tokens * estimated)
FROM paid WHERE {} GROUP BY {}
"""
_COLUMNS: dict[By, str] = {
    "day": "day",
    "month": "substr(day, 1, 7)",
    "model": "model",
    "collection": "collection",
    "run": "run",
    "mode": "mode",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What some requests came to."""

    collection: str
    model: str
    """Its configured name."""
    mode: Literal["normal", "batch"]
    run: str
    """Which run asked for it."""
    requests: int
    texts: int
    tokens: int
    nano_dollars: int | None
    """None where the price is unknown."""
    estimated: bool = False
    """Whether the tokens were counted here, because the API did not say."""
    day: date | None = None
    """In UTC; the day it is where it is not given."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What several entries come to."""

    requests: int = 0
    texts: int = 0
    tokens: int = 0
    nano_dollars: int = 0
    """For the tokens whose price was known."""
    unpriced_tokens: int = 0
    """Those whose price was not known, which `nano_dollars` leaves out."""
    estimated_tokens: int = 0
    """Those that were counted here and not by the API."""

    @property
    def all_unpriced(self) -> bool:
        """Whether nothing at all is known of what it cost."""
        return self.unpriced_tokens == self.tokens > 0


@dataclass(frozen=True, slots=True)
class Line:
    """What entries that have something in common come to."""

    of: tuple[str, ...]
    """What they have in common: the values of what was asked for, in that order."""
    spent: Spent


class Ledger:
    """The ledger of a store. Every method may raise StorageError."""

    def __init__(self, path: Path) -> None:
        """Opens nothing."""
        self._file = DatabaseFile(path, _KIND)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def record(self, entry: Entry, once: str | None = None) -> bool:
        """Add an entry, which is on disk when this returns.

        Under a key `once` only the first is added, whoever records it; returns whether this one was.
        """
        day = (entry.day or datetime.now(UTC).date()).isoformat()
        counts = (entry.requests, entry.texts, entry.tokens, entry.nano_dollars)
        names = (day, entry.collection, entry.model, entry.mode, entry.run)
        with self._file.transaction() as connection:
            if once is not None and not connection.execute(_ONCE, (once, day)).rowcount:
                return False
            connection.execute(_RECORD, (*names, entry.estimated, entry.nano_dollars is None, *counts))
        return True

    def recorded(self, once: str) -> bool:
        """Whether something was recorded under that key."""
        if not self._file.exists:
            return False
        with self._file.transaction(write=False) as connection:
            return connection.execute("SELECT 1 FROM once WHERE key = ?", (once,)).fetchone() is not None

    def month(self, day: date) -> Spent:
        """What was spent in the calendar month of that day."""
        first = day.replace(day=1)
        next_month = (first + timedelta(days=31)).replace(day=1)
        return self._sum("day >= ? AND day < ?", (first.isoformat(), next_month.isoformat()))

    def run(self, run: str) -> Spent:
        """What a run has spent."""
        return self._sum("run = ?", (run,))

    def total(self, since: date = date.min, until: date = date.max) -> Spent:
        """What was spent from one day to another, both included."""
        return self._sum("day BETWEEN ? AND ?", (since.isoformat(), until.isoformat()))

    def by(self, what: Sequence[By], since: date = date.min, until: date = date.max) -> list[Line]:
        """The same apart by day, model, …, in that order."""
        columns = [_COLUMNS[one] for one in what]
        rows = self._rows(columns, "day BETWEEN ? AND ?", (since.isoformat(), until.isoformat()))
        return [Line(tuple(row[: len(what)]), _spent(row[len(what) :])) for row in rows]

    def _sum(self, where: str, values: tuple[str, ...]) -> Spent:
        return next((_spent(row) for row in self._rows([], where, values)), Spent())

    def _rows(self, columns: Sequence[str], where: str, values: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
        """The sums, apart and in order by those columns; none where nothing was recorded."""
        if not self._file.exists:
            return
        shown = "".join(f"{column}, " for column in columns)
        query = _SUMS.format(shown, where, ", ".join(columns) or "NULL") + (
            f" ORDER BY {', '.join(columns)}" if columns else ""
        )
        with self._file.transaction(write=False) as connection:
            rows = connection.execute(query, values).fetchall()
        if any(not isinstance(value, (str, int, NoneType)) for row in rows for value in row):
            raise StorageError(f"The ledger of costs {str(self._file.path)!r} is damaged: {_KIND.remedy}.")
        yield from rows


def ledger(store: Path) -> Ledger:
    """The ledger of a store."""
    return Ledger(store / FILE)


def _spent(sums: Sequence[Any]) -> Spent:
    requests, texts, tokens, nano_dollars, unpriced, estimated = sums
    return Spent(requests, texts, tokens, nano_dollars or 0, unpriced, estimated)
