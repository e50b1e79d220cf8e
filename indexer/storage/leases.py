"""Which of several hosts may write to a folder that they share?

`flock` answers for one machine, and beyond it on some network file systems only. A lease answers everywhere: a file
`lease.000001` in the folder, JSON that says who holds it (`Holder`); the highest number counts. It is taken by linking
a whole file to the next number, which fails where a rival took that, and given back by removing it. While it is held it
is touched every HEARTBEAT_SECONDS, which the file server notes in the file's time of change.

No host compares its clock with another's. A contender asks two things of a lease:

- Does it look alive? A file that the contender has just written has the server's time; a lease that was touched less
  than LEASE_SECONDS before that has, as far as one look can tell, a living holder, and the contender goes at once.
- Is it dead? Only if it was not touched for LEASE_SECONDS of the contender's own clock while the contender watched, or
  if the kernel says so: it is the kernel that the holder has named, and it has given us the lock that a living holder
  would have.

A lease that looks dead by the server's clock is therefore still watched before it is taken over: times set by a client
with a wrong clock cost a wait, never a collection. A holder that slept meanwhile finds that its file is gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from indexer.storage.files import OutputFile, link_new, remove, removed_after
from indexer.storage.refusals import disk

HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 30.0
"""Six heartbeats: a slow disk or a busy machine may delay some."""

_NAME = re.compile(r"lease\.(\d{6,})")
_TEMPORARY = ".lease."


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a collection."""

    pid: int
    host: str
    since: str
    """A time in UTC by the clock of that host, in ISO 8601."""
    token: str
    """Of this one lock, so that a number that is used again is not taken for the same lease."""
    kernel: str | None
    """The running kernel and the lock file as it knows it; None where the kernel cannot tell living from dead."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@dataclass(frozen=True, slots=True)
class Lease:
    """One look at the lease that counts."""

    number: int
    holder: Holder | None
    """None where the file does not say, as after a power cut."""
    touched: int
    """The file's time of change in nanoseconds, by the clock of the file server."""


def parse_holder(content: bytes) -> Holder | None:
    """What a lease or a lock file says; None where it cannot be made out."""
    try:
        said = orjson.loads(content)
        return Holder(said["pid"], said["host"], said["since"], said.get("token", ""), said.get("kernel"))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None


def current(folder: Path) -> Lease | None:
    """The lease that counts; None where there is none."""
    for number in reversed(_numbers(folder)):
        path = _path(folder, number)
        try:
            with disk(path, "read", FileNotFoundError), open(path, "rb") as file:
                return Lease(number, parse_holder(file.read()), os.fstat(file.fileno()).st_mtime_ns)
        except FileNotFoundError:
            continue  # taken over or given back since the folder was listed
    return None


def take(folder: Path, old: Lease | None, holder: Holder) -> int | None:
    """Take the lease that follows `old`, which is dead or None; its number, or None where a rival was faster."""
    number = old.number + 1 if old else 1
    if not _link(folder, number, holder):
        return None
    others = [each for each in _numbers(folder) if each != number]
    if any(each > number or not _is_dead(folder, each, old) for each in others):
        give_back(folder, number, holder)  # what was judged is not what is there any more
        return None
    for each in others:
        remove(_path(folder, each))
    with disk(folder, "read"):
        names = os.listdir(folder)
    for name in names:
        if name.startswith(_TEMPORARY):  # of killed ones, or of a rival, who then finds that it was too late
            remove(folder / name)
    return number


def touch(folder: Path, number: int, holder: Holder) -> None:
    """Give a sign of life. A disk that does not answer is no news: whether the lease is still ours, `current` says."""
    path = _path(folder, number)
    with contextlib.suppress(OSError):
        if parse_holder(path.read_bytes()) == holder:
            os.utime(path)


def give_back(folder: Path, number: int, holder: Holder) -> None:
    """Remove the lease, unless it has become somebody else's."""
    path = _path(folder, number)
    with disk(path, "remove"), contextlib.suppress(FileNotFoundError):
        if parse_holder(path.read_bytes()) == holder:
            path.unlink()


class Watch:
    """What a contender has seen of the leases of a folder, by its own clock."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        self._folder = folder
        self._holder = holder
        self._seen: Lease | None = None
        self._since = 0.0
        self.doubtful = False
        """Whether the lease looked dead at first sight and has shown no life since."""

    def is_dead(self, lease: Lease) -> bool:
        """Look at the lease once more: whether it has shown no life for so long that it can be taken over."""
        now = time.monotonic()
        if lease != self._seen:
            known = self._seen is not None and self._seen.holder == lease.holder
            self.doubtful = not known and not self._looks_alive(lease)
            self._seen, self._since = lease, now
        return now - self._since >= LEASE_SECONDS

    def _looks_alive(self, lease: Lease) -> bool:
        with _written(self._folder, self._holder) as just_now, disk(just_now, "read"):
            return abs(just_now.stat().st_mtime_ns - lease.touched) < LEASE_SECONDS * 1e9


def _numbers(folder: Path) -> list[int]:
    with disk(folder, "read"):
        return sorted(int(match[1]) for match in map(_NAME.fullmatch, os.listdir(folder)) if match)


def _path(folder: Path, number: int) -> Path:
    return folder / f"lease.{number:06d}"


def _link(folder: Path, number: int, holder: Holder) -> bool:
    path = _path(folder, number)
    with _written(folder, holder) as complete, disk(path, "write", FileNotFoundError):
        try:
            return link_new(complete, path)
        except FileNotFoundError:  # whoever has taken the lease meanwhile has swept the folder
            return False


@contextlib.contextmanager
def _written(folder: Path, holder: Holder) -> Iterator[Path]:
    """A file that says who wants to hold the folder, for as long as it is needed."""
    with removed_after(folder / f"{_TEMPORARY}{holder.token}") as path:
        with OutputFile(path) as file:
            file.write(orjson.dumps(asdict(holder)))
            file.complete()
        yield path


def _is_dead(folder: Path, number: int, old: Lease | None) -> bool:
    """Whether a lower lease is the one that was judged, or one still older."""
    if old is None or number < old.number:
        return old is not None
    try:
        with disk(folder, "read", FileNotFoundError):
            return parse_holder(_path(folder, number).read_bytes()) == old.holder
    except FileNotFoundError:
        return True
