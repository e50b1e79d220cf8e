"""What is in the embedding cache, and how does a person empty it?"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import orjson

from indexer.errors import ConfigurationError, StorageError
from indexer.models import Fingerprint
from indexer.models.cache_file import cache_file, forget_vanished, marks, remove, unfinished
from indexer.storage import DatabaseFile

REMOVED_AT_ONCE = 1000

_REMOVABLE = """
SELECT id FROM entries WHERE space IN ({}) AND (? OR NOT EXISTS (SELECT 1 FROM pins WHERE vector = entries.id)) LIMIT ?
"""
_BY_MODEL = """
SELECT fingerprint, numeric_path, count(*) FROM entries JOIN spaces ON spaces.id = space
GROUP BY space, numeric_path ORDER BY space, numeric_path
"""


@dataclass(frozen=True, slots=True)
class ModelVectors:
    """The vectors of one space that one numeric path has made."""

    name: str
    """The model's name or folder."""
    revision: str
    document_prompt: str
    """Text put before every passage; before every query, where they are of queries."""
    query_prompt: str
    space: str
    """Of a model behind an API: the API's address, or what the configuration calls the space."""
    of_queries: bool
    """Whether they are those of a `query_log`, with which indexes are tuned; else they are those of passages."""
    dimension: int
    numeric_path: str
    """What computed them: library, precision and kind of device."""
    vectors: int
    bytes: int
    """Of the vectors themselves."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What an embedding cache holds."""

    path: str
    bytes: int
    """On disk; 0 where there is no file yet."""
    vectors: int
    pinned: int
    """How many of them are kept for runs that have not published."""
    unfinished: tuple[str, ...]
    """The collections of those runs."""
    oldest_use: date | None
    """The day (UTC) of the last use of the vector that would go first; None where there is none."""
    models: tuple[ModelVectors, ...]


@dataclass(frozen=True, slots=True)
class Emptied:
    """What became of the vectors that were to go."""

    removed: int
    kept: int
    """Those of runs that have not published."""


def statistics(path: Path) -> Statistics:
    """What the cache in that file holds. Raises StorageError where the file cannot be read or is damaged."""
    file = cache_file(path)
    if not file.exists:
        return Statistics(str(path), 0, 0, 0, (), None, ())
    with looked_into(file), file.transaction(write=False) as connection:
        models = tuple(_models(connection))
        runs = unfinished(connection)
        oldest = connection.execute("SELECT min(used) FROM entries").fetchone()[0]
        return Statistics(
            path=str(path),
            bytes=file.bytes_on_disk(),
            vectors=sum(model.vectors for model in models),
            pinned=_pinned(connection, list(runs)),
            unfinished=tuple(sorted(Path(collection).name for collection in runs.values())),
            oldest_use=None if oldest is None else datetime.fromtimestamp(oldest * 86_400, UTC).date(),
            models=models,
        )


def empty(path: Path, model: str | None = None, pinned: bool = False) -> Emptied:
    """Remove all vectors of the cache in that file, or those of the models of that name, and give back the disk.

    Those that are kept for a run that has not published go only where `pinned` says so. Raises ConfigurationError where
    there is no model of that name, and StorageError.
    """
    file, removed = cache_file(path), 0
    if not file.exists:
        return Emptied(0, 0)
    with looked_into(file):
        while gone := _remove_some(file, model, pinned):
            removed += gone
        file.shrink()
        with file.transaction(write=False) as connection:
            return Emptied(removed, _count(connection, _spaces(connection, model)))


@contextlib.contextmanager
def looked_into(file: DatabaseFile) -> Iterator[None]:
    """Close it in the end; what cannot be made sense of is a StorageError."""
    try:
        yield
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:
        raise StorageError(
            f"The embedding cache {str(file.path)!r} is damaged ({error}): move it away; what it held is then embedded "
            "again."
        ) from error
    finally:
        file.close()


def _remove_some(file: DatabaseFile, model: str | None, pinned: bool) -> int:
    with file.transaction() as connection:
        forget_vanished(connection)
        spaces = _spaces(connection, model)
        query = _REMOVABLE.format(marks(spaces))
        gone = [row[0] for row in connection.execute(query, [*spaces, pinned, REMOVED_AT_ONCE]).fetchall()]
        remove(connection, gone)
    return len(gone)


def _models(connection: sqlite3.Connection) -> Iterator[ModelVectors]:
    for fingerprint, path, count in connection.execute(_BY_MODEL).fetchall():
        of = Fingerprint(**orjson.loads(fingerprint))
        yield ModelVectors(
            name=of.name,
            revision=of.revision,
            document_prompt=of.document_prompt,
            query_prompt=of.query_prompt,
            space="" if of.of_queries else of.space,
            of_queries=of.of_queries,
            dimension=of.dimension,
            numeric_path=path,
            vectors=count,
            bytes=count * of.dimension * 4,
        )


def _pinned(connection: sqlite3.Connection, runs: Sequence[int]) -> int:
    query = f"SELECT count(DISTINCT vector) FROM pins WHERE run IN ({marks(runs)})"  # noqa: S608
    return int(connection.execute(query, runs).fetchone()[0])


def _count(connection: sqlite3.Connection, spaces: Sequence[int]) -> int:
    query = f"SELECT count(*) FROM entries WHERE space IN ({marks(spaces)})"  # noqa: S608
    return int(connection.execute(query, spaces).fetchone()[0])


def _spaces(connection: sqlite3.Connection, model: str | None) -> list[int]:
    """The spaces of the models of that name, or all."""
    rows = connection.execute("SELECT id, fingerprint FROM spaces").fetchall()
    names = {id: orjson.loads(fingerprint)["name"] for id, fingerprint in rows}
    if model is not None and model not in names.values():
        known = ", ".join(sorted({repr(name) for name in names.values()})) or "none at all"
        raise ConfigurationError(
            f"The embedding cache has no vectors of model {model!r}; it knows {known}.", param="model"
        )
    return [id for id, name in names.items() if model in (None, name)]
