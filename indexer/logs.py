"""What does a log look like, and where does it go?

To the standard error: for people a sentence a line, for programs one JSON object a line. `configure` is called at the
edge, by the command that runs; everybody else asks `logging` for the logger "parecido", and hands over what a program
wants to know with `extra`:

    log.info("collection %s: serving generation %d", name, 7, extra={"event": "serving", "collection": name})

A line of JSON has `time` (ISO 8601, UTC, to the millisecond), `level`, `event` ("log" where none is named) and
`message`, then whatever `extra` holds. What libraries log or warn of takes the same way, so that every line parses.
Where several workers write, each line of theirs names the process that wrote it: `worker` in JSON, "worker 4711: " in
front of the sentence for people. Lines without are of the process that started them.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

import orjson

LogFormat = Literal["human", "json"]

FORMATS: tuple[LogFormat, ...] = ("human", "json")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "event"}
"""What a record has of its own; whatever else it has was handed over with `extra`."""


class JsonLines(logging.Formatter):
    """One JSON object a record, on one line whatever the message holds; with the process that wrote it for a worker."""

    def __init__(self, worker: bool = False) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        told = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": told.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "message": record.getMessage().strip(),
            **({"worker": record.process} if self._worker else {}),
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class StandardError(logging.Handler):
    """Writes to whatever the standard error is at that moment."""

    def __init__(self, format: LogFormat, dated: bool) -> None:
        super().__init__()
        self._asked = format, dated
        self.setFormatter(_formatter(format, dated))

    def name_worker(self) -> None:
        """Have each line say from now on which process wrote it."""
        self.setFormatter(_formatter(*self._asked, worker=True))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, and have it out at once."""
        try:
            with _bars_aside():
                sys.stderr.write(self.format(record) + "\n")
                sys.stderr.flush()
        except Exception:  # a log that cannot be written must not end what it tells of
            self.handleError(record)


def configure(format: LogFormat = "human", *, verbose: bool = False, dated: bool = False) -> None:
    """Have logs written from now on; a later call takes the place of an earlier one.

    A program's log has everything. People read warnings and errors only, unless `verbose`, and see the time where
    `dated`, as is fit for what runs for days.
    """
    root = logging.getLogger()
    root.handlers = [*(h for h in root.handlers if not isinstance(h, StandardError)), StandardError(format, dated)]
    logging.getLogger("parecido").setLevel(logging.INFO if verbose or format == "json" else logging.WARNING)
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", category=FutureWarning)  # for those who write a library, not for those who run it
    if format == "json":
        sys.excepthook = _unforeseen


def name_worker() -> None:
    """Have each line say from now on that this process, one of several that answer, wrote it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StandardError):
            handler.name_worker()


def _bars_aside() -> contextlib.AbstractContextManager[None]:
    """Where a progress bar is on the terminal, it makes room for the line and comes back below it."""
    tqdm = sys.modules.get("tqdm")
    return tqdm.tqdm.external_write_mode(sys.stderr) if tqdm else contextlib.nullcontext()


def _formatter(format: LogFormat, dated: bool, worker: bool = False) -> logging.Formatter:
    if format == "json":
        return JsonLines(worker)
    begin = "%(asctime)s %(levelname)s " if dated else "parecido: "
    return logging.Formatter(f"{begin}{'worker %(process)d: ' if worker else ''}%(message)s")


def _unforeseen(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """A mistake of ours ends the process with one line, too."""
    logging.getLogger("parecido").critical(
        "%s: %s", kind.__name__, error, exc_info=(kind, error, traceback), extra={"event": "crashed"}
    )
