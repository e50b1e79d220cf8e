"""Which texts are with the Batch API, and how far is each batch?

One SQLite database, `batches.sqlite` in the collection's folder, of format 1 (its `user_version`), in WAL mode. Times
are whole seconds since 1970 in UTC.

    spaces    id, fingerprint          a vector space, as in the embedding cache
    batches   id                       32 hexadecimal digits, our own: they stand in the name of the uploaded file,
                                       `parecido-<id>.jsonl`, and in the batch's metadata under "parecido"
              space, server, stage     the API's address without credentials; the stage is
                                       staged     being written, by a run that has not decided yet
                                       intended   to be uploaded, and maybe uploaded already
                                       uploaded   the API has the file
                                       creating   the API was asked for a batch, and maybe has made it
                                       under way  the API has the batch
                                       ended      it has ended there, and all that it did is kept here
                                       over       and its files there are removed
              bytes, sha256, requests, tokens   of the file, which lies in `batches/<id>.jsonl` until the API has the
                                       batch; the tokens are our own count
              file_id, batch_id, output_id, error_id, status, done   as the API says; NULL, and 0 done, before
              made_at, asked_at, ended_at       when it was made, when the API was asked for it, and when it was
                                       picked up
              billed, estimated, nano_dollars   tokens paid for, whether these were counted here, and what they cost;
                                       NULL before it has ended, the money also where no price is known
              reason                   why it did nothing, or not all
    texts     space, sha256, batch,    one row for each text that was sent since the last publication, by the hash of
              state, reason, failures  the exact text; the state is "asked", "done" (it is in the embedding cache),
                                       "failed" (it may be sent again) or "refused"; `failures` counts answers that
                                       were no vectors
    staged    sha256, batch            the texts of the staged batches

What always holds: a stage is on disk before the next is begun, and a text is in one batch at most; a batch reaches
"ended" in one transaction with the last of its texts.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from indexer import storage
from indexer.batches.batch import Batch, Outcome, Sent, Stage, State
from indexer.models import Fingerprint
from indexer.storage import CollectionFolder, DatabaseFile, DatabaseKind, Sealed

UPLOADS = "batches"
FORMAT = 1
LOOKUP = 500
"""Texts asked for at once; SQLite takes 999 parameters at least."""
QUEUE_FULL = "token_limit_exceeded"
"""What the API says where more tokens would be queued than the account may."""
REMEMBERED_SECONDS = 7 * 86_400
"""How long that counts: an account may get a longer queue."""
KEPT = 1000
"""How many batches that are over are remembered."""

_TABLES = f"""
CREATE TABLE spaces (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE);
CREATE TABLE batches (
    id TEXT PRIMARY KEY, space INTEGER NOT NULL, server TEXT NOT NULL, stage TEXT NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0, sha256 TEXT NOT NULL DEFAULT '', requests INTEGER NOT NULL DEFAULT 0,
    tokens INTEGER NOT NULL DEFAULT 0, file_id TEXT, batch_id TEXT, output_id TEXT, error_id TEXT, status TEXT,
    done INTEGER NOT NULL DEFAULT 0, made_at INTEGER NOT NULL, asked_at INTEGER, ended_at INTEGER,
    billed INTEGER, estimated INTEGER NOT NULL DEFAULT 0, nano_dollars INTEGER, reason TEXT NOT NULL DEFAULT ''
);
CREATE TABLE texts (
    space INTEGER NOT NULL, sha256 BLOB NOT NULL, batch TEXT NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '', failures INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (space, sha256)
) WITHOUT ROWID;
CREATE INDEX texts_by_batch ON texts (batch, state);
CREATE TABLE staged (sha256 BLOB PRIMARY KEY, batch TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {FORMAT}
"""
_KIND = DatabaseKind(
    name="record of batches",
    format=FORMAT,
    tables=_TABLES,
    elsewhere="choose another --store",
    on_a_local_disk="choose a --store on a local disk",
    loss="what is with the Batch API is then asked and paid for again",
)
_INTEND = """
INSERT INTO texts (space, sha256, batch, state) SELECT ?, sha256, batch, 'asked' FROM staged WHERE batch = ?
ON CONFLICT DO UPDATE SET batch = excluded.batch, state = 'asked', reason = ''
"""
_SETTLE = """
UPDATE texts SET state = ?, reason = ?, failures = failures + ? WHERE space = ? AND sha256 = ? AND batch = ?
"""


_COLUMNS = ", ".join(f"batches.{one.name}" for one in fields(Batch) if one.name != "fingerprint")
_BATCHES = f"SELECT fingerprint, {_COLUMNS} FROM batches JOIN spaces ON spaces.id = space"  # noqa: S608 - our own names


class BatchState:
    """The record of one collection; whoever changes it holds the collection. Every method may raise StorageError."""

    def __init__(self, folder: CollectionFolder) -> None:
        """Opens nothing: the file is made with the first batch."""
        self.folder, self.uploads = folder, folder.path / UPLOADS
        self._file = DatabaseFile(folder.batches, _KIND)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def upload_file(self, batch: str) -> Path:
        """Where the file of a batch lies until the API has the batch."""
        return self.uploads / f"{batch}.jsonl"

    def batches(self, *stages: Stage) -> list[Batch]:
        """Those of these stages, or all, oldest first; staged ones only where they are asked for."""
        where = f"stage IN ({_marks(stages)})" if stages else "stage <> 'staged'"
        rows = self._read(f"{_BATCHES} WHERE {where} ORDER BY made_at, batches.rowid", stages)
        return [_batch(*row) for row in rows]

    def sent(self, fingerprint: Fingerprint, keys: Sequence[bytes]) -> dict[bytes, Sent]:
        """What became of those of the texts that were sent since the last publication."""
        query = "SELECT sha256, state, reason, failures FROM texts WHERE space = {} AND sha256 IN ({})"
        found: dict[bytes, Sent] = {}
        for start in range(0, len(keys), LOOKUP):
            some = keys[start : start + LOOKUP]
            rows = self._read(query.format(_SPACE, _marks(some)), (_text(fingerprint), *some))
            found |= {key: Sent(*rest) for key, *rest in rows}
        return found

    def count(self, fingerprint: Fingerprint, state: State) -> int:
        """How many texts of a space are in a state."""
        query = f"SELECT count(*) FROM texts WHERE space = {_SPACE} AND state = ?"  # noqa: S608
        return next((int(row[0]) for row in self._read(query, (_text(fingerprint), state))), 0)

    def asked(self, batch: str, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Which of the texts, LOOKUP at most, that batch is still asked for, with how often each has failed before."""
        query = f"SELECT sha256, failures FROM texts WHERE batch = ? AND state = 'asked' AND sha256 IN ({_marks(keys)})"  # noqa: S608
        return dict(self._read(query, (batch, *keys)))

    def most_tokens(self, fingerprint: Fingerprint) -> int | None:
        """How many tokens a batch may have at most, as those tell that were too large for the API's queue."""
        query = (
            f"SELECT min(tokens) FROM batches WHERE space = {_SPACE} AND reason LIKE '{QUEUE_FULL}%' AND made_at > ?"  # noqa: S608
        )
        lately = int(time.time()) - REMEMBERED_SECONDS
        refused = next((row[0] for row in self._read(query, (_text(fingerprint), lately))), None)
        query = f"SELECT max(tokens) FROM batches WHERE space = {_SPACE} AND status = 'completed'"  # noqa: S608
        done = next((row[0] for row in self._read(query, (_text(fingerprint),))), None)
        return None if refused is None else max(refused // 2, done or 1)

    def forget_staged(self) -> None:
        """Whatever a run has staged and not decided about is gone, and files that no batch needs any more too."""
        if self._file.exists:
            with self._file.transaction() as connection:
                connection.execute("DELETE FROM staged")
                connection.execute("DELETE FROM batches WHERE stage = 'staged'")
        needed = {f"{batch.id}.jsonl" for batch in self.batches("intended", "uploaded", "creating")}
        for name in storage.file_names(self.uploads):
            if name not in needed:
                storage.remove(self.uploads / name)

    def stage(self, fingerprint: Fingerprint, server: str) -> str:
        """A new batch, empty; returns its id."""
        id = secrets.token_hex(16)
        with self._file.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO spaces (fingerprint) VALUES (?)", (_text(fingerprint),))
            row = (id, _text(fingerprint), server, int(time.time()))
            connection.execute(f"INSERT INTO batches (id, space, server, stage, made_at) VALUES (?, {_SPACE}, ?, "  # noqa: S608
                               "'staged', ?)", row)  # fmt: skip
        return id

    def stage_texts(self, keys: Iterable[tuple[bytes, str]]) -> None:
        """Remember in which staged batch each of these texts is."""
        with self._file.transaction() as connection:
            connection.executemany("INSERT INTO staged (sha256, batch) VALUES (?, ?)", keys)

    def staged(self, keys: Sequence[bytes]) -> set[bytes]:
        """Which of the texts are in a staged batch."""
        found: set[bytes] = set()
        for start in range(0, len(keys), LOOKUP):
            some = keys[start : start + LOOKUP]
            rows = self._read(f"SELECT sha256 FROM staged WHERE sha256 IN ({_marks(some)})", some)  # noqa: S608
            found |= {row[0] for row in rows}
        return found

    def seal(self, batch: str, sealed: Sealed, requests: int, tokens: int) -> None:
        """Remember what the file of a staged batch is."""
        values = (sealed.bytes, sealed.sha256, requests, tokens, batch)
        self._change("UPDATE batches SET bytes = ?, sha256 = ?, requests = ?, tokens = ? WHERE id = ?", values)

    def intend(self, batch: str) -> None:
        """From now on a staged batch will be uploaded, whatever happens; its file is where it has to be."""
        with self._file.transaction() as connection:
            space = connection.execute("SELECT space FROM batches WHERE id = ?", (batch,)).fetchone()[0]
            connection.execute(_INTEND, (space, batch))
            connection.execute("DELETE FROM staged WHERE batch = ?", (batch,))
            connection.execute("UPDATE batches SET stage = 'intended' WHERE id = ?", (batch,))

    def note(self, batch: str, stage: Stage, **columns: str | int | None) -> None:
        """A batch has reached a stage, and the API says this of it."""
        names = "".join(f", {name} = ?" for name in columns)
        self._change(f"UPDATE batches SET stage = ?{names} WHERE id = ?", (stage, *columns.values(), batch))  # noqa: S608

    def settle(self, batch: Batch, outcomes: Iterable[Outcome]) -> None:
        """Remember what the API answered about some texts of a batch; vectors are in the embedding cache already."""
        with self._file.transaction() as connection:
            space = connection.execute("SELECT space FROM batches WHERE id = ?", (batch.id,)).fetchone()[0]
            rows = ((one.state, one.reason, one.failure, space, one.key, batch.id) for one in outcomes)
            connection.executemany(_SETTLE, rows)

    def end(self, batch: Batch, billed: int, estimated: bool, nano_dollars: int | None, reason: str) -> None:
        """All that a batch did is kept; texts about which it has said nothing have failed, for that reason."""
        why = reason or "the Batch API has said nothing about it"
        values = (int(time.time()), billed, estimated, nano_dollars, reason, batch.id)
        with self._file.transaction() as connection:
            query = "UPDATE texts SET state = 'failed', reason = ? WHERE batch = ? AND state = 'asked'"
            connection.execute(query, (why, batch.id))
            connection.execute(
                "UPDATE batches SET stage = 'ended', ended_at = ?, billed = ?, estimated = ?, nano_dollars = ?, "
                "reason = ? WHERE id = ?",
                values,
            )
            connection.execute(
                "DELETE FROM batches WHERE stage = 'over' AND id NOT IN (SELECT id FROM batches WHERE stage = 'over' "
                "ORDER BY ended_at DESC, id LIMIT ?)",
                (KEPT,),
            )

    def published(self) -> None:
        """A generation has all that is done: nothing need be remembered of it, or of what failed and is not needed."""
        self._change("DELETE FROM texts WHERE state IN ('done', 'failed')", ())

    def forgive(self, fingerprint: Fingerprint) -> None:
        """What was refused may be asked for again."""
        query = f"DELETE FROM texts WHERE space = {_SPACE} AND state = 'refused'"  # noqa: S608
        self._change(query, (_text(fingerprint),))

    def _change(self, query: str, values: Sequence[Any]) -> None:
        if self._file.exists:
            with self._file.transaction() as connection:
                connection.execute(query, values)

    def _read(self, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows; none where there is no file."""
        if not self._file.exists:
            return
        with self._file.transaction(write=False) as connection:
            rows = connection.execute(query, values).fetchall()
        yield from rows


_SPACE = "(SELECT id FROM spaces WHERE fingerprint = ?)"


def _text(fingerprint: Fingerprint) -> str:
    return orjson.dumps(fingerprint.to_json(), option=orjson.OPT_SORT_KEYS).decode()


def _batch(fingerprint: str, *rest: Any) -> Batch:
    names = (one.name for one in fields(Batch) if one.name != "fingerprint")
    values = dict(zip(names, rest, strict=True))
    values["estimated"] = bool(values["estimated"])
    return Batch(fingerprint=Fingerprint(**orjson.loads(fingerprint)), **values)


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" for _ in values)
