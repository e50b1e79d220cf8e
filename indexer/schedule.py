"""When does the indexer run next, and who sees to it?

One process keeps a schedule. It starts every run as a process of its own and waits for its end, so that no two of its
runs are ever under way together, memory is given back between them, and a run that crashes or is killed does not end
the schedule. What is due is decided by `plan`, which also says why.

While a schedule is kept, `<store>/schedule.json` holds the fields of `Schedule`, always whole; it goes at a clean end.
One that a killed process left behind is told by `next_run`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from indexer import generation as generations
from indexer import storage
from indexer.errors import ConfigurationError, ParecidoError, StorageError

FILE = "schedule.json"
LONGEST_WAIT = 30.0
"""Seconds after which the clock is read again: it may be set, or the machine may have slept."""
OVERDUE = timedelta(minutes=5)
"""A run that is due for longer than this and was not begun has nobody who would begin it."""

log = logging.getLogger("parecido")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that a process keeps."""

    expression: str
    collections: tuple[str, ...]
    pid: int
    host: str
    since: datetime
    next_run_at: datetime
    running: bool
    """Whether a run is under way; the next begins at `next_run_at`, or later where that run goes on until then."""


_SCHEDULE = TypeAdapter(Schedule)


@dataclass(frozen=True, slots=True)
class Plan:
    """The run that comes next."""

    at: datetime
    collections: tuple[str, ...]
    reason: str


class Clock(Protocol):
    """Time as it passes; a test has its own."""

    def now(self) -> datetime:
        """The time in UTC."""

    def wait(self, seconds: float) -> bool:
        """Let so many seconds pass; True, at once, where the schedule is to end."""


class LocalTime(tzinfo):
    """The local time zone as the system knows it, with its changes to and from summer time."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        """By the system's rules for that day and hour."""
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt: datetime | None) -> None:
        """Not told apart from the offset."""

    def tzname(self, dt: datetime | None) -> str | None:
        """The system's abbreviation."""
        return None if dt is None else dt.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, dt: datetime) -> datetime:
        """The local reading of a time in UTC; of two equal readings the later one has `fold` 1."""
        return datetime.fromtimestamp(dt.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


LOCAL = LocalTime()


def next_time(expression: str, after: datetime, zone: tzinfo = LOCAL) -> datetime:
    """The first time after `after` that the cron expression names, in UTC; it is read in `zone`.

    As cron does it: a time that the change to summer time leaves out comes right after the gap, and one that the change
    from it repeats comes once, unless minute or hour are `*`. Raises ConfigurationError where it is not an expression
    of five fields, or names no time in the next 50 years.
    """
    from cronsim import CronSim, CronSimError

    try:
        if len(expression.split()) != 5:  # CronSim takes seconds too, and other tools put a year there
            raise CronSimError("it has not five fields")
        for found in CronSim(expression, after.astimezone(zone)):
            if found.astimezone(UTC) > after:  # within a repeated hour CronSim begins with its first passing
                return found.astimezone(UTC)
        raise CronSimError("it never comes true")
    except (CronSimError, ValueError) as error:
        raise ConfigurationError(
            f"--schedule {expression!r} is not a cron expression ({str(error).lower()}): write minute, hour, day of "
            'month, month and day of week, for example "0 3 * * *" for every day at 3:00.',
            param="schedule",
        ) from error


def plan(
    expression: str, now: datetime, collections: tuple[str, ...], unpublished: Sequence[str] = (), zone: tzinfo = LOCAL
) -> Plan:
    """Which run comes next: one at once of those that have nothing published yet, else one of all by the expression."""
    at = next_time(expression, now, zone)
    if unpublished:
        return Plan(now, tuple(unpublished), f"nothing is published yet in {', '.join(unpublished)}")
    return Plan(at, collections, f"by the schedule {expression!r}")


def unpublished(store: Path, collections: Sequence[str]) -> tuple[str, ...]:
    """Those of the collections that have no published generation."""
    return tuple(name for name in collections if not generations.numbers(storage.collection_folder(store, name)))


def keep(
    store: Path, expression: str, collections: tuple[str, ...], run: Callable[[tuple[str, ...]], int], clock: Clock
) -> None:
    """Call `run` with the collections that are due, whenever some are, until the clock says to end.

    `run` returns an exit code, negative for a signal. Times that pass while it is at work are passed over. Raises
    ConfigurationError for an expression that is none.
    """
    began = clock.now()
    due = plan(expression, began, collections, unpublished(store, collections))
    mine = Schedule(expression, collections, os.getpid(), socket.gethostname(), began, due.at, running=False)
    with _recorded(store):
        while True:
            _record(store, replace(mine, next_run_at=due.at))
            log.info("next run at %s: %s", _local(due.at), due.reason, extra=_told("scheduled", mine, due))
            if not _reached(due.at, clock):
                break
            started = clock.now()
            following = next_time(expression, started)
            _record(store, replace(mine, next_run_at=following, running=True))
            code = run(due.collections)
            if clock.wait(0):
                break
            _tell(code, due, mine)
            if following <= clock.now():
                log.warning("passed over the run of %s: the one before was still going on", _local(following))
            due = plan(expression, clock.now(), collections)
    log.info("the schedule ends: asked to stop", extra={"event": "schedule_ended"})


def next_run(store: Path) -> Schedule | None:
    """The schedule that some process keeps for the store; None where none does, as far as can be told from here."""
    try:
        found = _SCHEDULE.validate_json(storage.read_file(store / FILE))
    except (FileNotFoundError, ValidationError, ParecidoError):
        return None
    if found.host == socket.gethostname() and not _is_alive(found.pid):
        return None
    overdue = not found.running and found.next_run_at + OVERDUE < datetime.now(UTC)
    return None if overdue else found


def _reached(at: datetime, clock: Clock) -> bool:
    """Wait until then; False where the schedule is to end before."""
    while (left := (at - clock.now()).total_seconds()) > 0:
        if clock.wait(min(left, LONGEST_WAIT)):
            return False
    return not clock.wait(0)


def _tell(code: int, due: Plan, mine: Schedule) -> None:
    """The run has told of itself, unless it was killed."""
    told = _told("scheduled_run_ended", mine, due) | {"exit_code": code}
    if code < 0:
        log.error("the run was killed by signal %d%s", -code, ", as for want of memory" * (code == -9), extra=told)
    else:
        log.info("the run ended with exit code %d", code, extra=told)


def _told(event: str, mine: Schedule, due: Plan) -> dict[str, object]:
    return {
        "event": event,
        "expression": mine.expression,
        "collections": due.collections,
        "at": due.at,
        "reason": due.reason,
    }


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}"


@contextlib.contextmanager
def _recorded(store: Path) -> Iterator[None]:
    """Take the record away at the end, unless another process has put its own there."""
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError, ValidationError, StorageError):
            left = _SCHEDULE.validate_json(storage.read_file(store / FILE))
            if (left.pid, left.host) == (os.getpid(), socket.gethostname()):
                storage.remove(store / FILE)


def _record(store: Path, schedule: Schedule) -> None:
    """Have the record on disk; a disk that refuses it, full maybe, does not end the schedule."""
    written = store / f".{FILE}.{os.getpid()}"
    try:
        storage.make_folder(store)
        storage.remove(written)
        storage.write_file(written, _SCHEDULE.dump_json(schedule))
        storage.replace_file(written, store / FILE)
    except StorageError as error:
        log.warning("the schedule is kept, but `parecido status` does not show it: %s", error.message)
        with contextlib.suppress(StorageError):
            storage.remove(written)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
