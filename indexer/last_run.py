"""How did the last run over a collection end?

`last-run.json` in the collection's folder, replaced at the end of every run that held the lock, whether it published,
was refused, failed or was asked to end, is JSON:

    {"sha256": hexadecimal, of the compact JSON text of the value of "run" as it stands in the file,
     "run": `started_at`, `ended_at`, `report` (see `report.Report`; null where there is none) and `error` (`message`,
            `type`, `param`, `code`; null where there is none)}

Both are there where a run had published, or found nothing to do, and failed while it tidied up. A run that was killed
leaves that of the one before.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from indexer import storage
from indexer.answers import LastRun
from indexer.errors import CollectionLocked, ParecidoError, StorageError
from indexer.report import Report
from indexer.storage import CollectionFolder

FILE = "last-run.json"

log = logging.getLogger("parecido")


@dataclass(slots=True)
class Outcome:
    """What will be written down."""

    report: Report | None = None


@contextlib.contextmanager
def recorded(folder: CollectionFolder) -> Iterator[Outcome]:
    """Write down how what happens inside ends; the caller holds the collection's lock.

    A disk that refuses even this is only a warning: the run's own end is what counts.
    """
    started, outcome = datetime.now(UTC), Outcome()
    try:
        yield outcome
    except ParecidoError as error:
        _write(folder, started, outcome.report, error.to_json())
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        _write(folder, started, outcome.report, ParecidoError(message).to_json())
        raise
    except BaseException:  # a signal; where there is a report, the run was only tidying up
        stopped = ParecidoError("The run was asked to end before it was done: run it again.")
        _write(folder, started, outcome.report, None if outcome.report else stopped.to_json())
        raise
    _write(folder, started, outcome.report, None)


def _write(folder: CollectionFolder, started: datetime, report: Report | None, error: Any) -> None:
    body = orjson.dumps({"started_at": started, "ended_at": datetime.now(UTC), "report": report, "error": error})
    note = {"sha256": hashlib.sha256(body).hexdigest(), "run": orjson.Fragment(body)}
    temporary = folder.runs / FILE
    try:
        storage.check_held(folder)  # whoever has lost the collection has no say about it
        storage.remove(temporary)
        storage.write_file(temporary, orjson.dumps(note))
        storage.replace_file(temporary, folder.path / FILE)
    except (StorageError, CollectionLocked) as refused:
        log.warning("how the run over %s ended could not be written down: %s", folder.name, refused.message)


def read(folder: CollectionFolder) -> LastRun | None:
    """How the last run ended; None before the first one, and, with a warning, where the file cannot be made out."""
    path = folder.path / FILE
    try:
        note = orjson.loads(storage.read_file(path))
        run: LastRun = note["run"]
        if note["sha256"] == hashlib.sha256(orjson.dumps(run)).hexdigest():
            return run
        reason = f"{str(path)!r} is damaged."
    except FileNotFoundError:
        return None
    except StorageError as error:
        reason = error.message
    except (orjson.JSONDecodeError, KeyError, TypeError):
        reason = f"{str(path)!r} is damaged."
    log.warning("how the last run over %s ended is not known: %s", folder.name, reason)
    return None
