"""Who may write to a collection?

One process at a time. On one machine the kernel keeps them apart: it drops the lock of a process that has ended,
however it ended. On a folder that several machines share, a lease does, see `leases`.

Whoever was taken for dead and was not (it slept, or its network did) must not publish. `Held.check` tells it, and what
happens between the check and the publishing is fenced: a manifest is published by linking a finished file that the new
holder removes first of all, before it looks at what is published. Either the link came before, and the new holder
counts that generation in, or it fails.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from indexer.errors import CollectionLocked, CorruptGeneration, StorageError
from indexer.storage import leases
from indexer.storage.files import file_names, make_folder, remove
from indexer.storage.leases import Holder, Lease, Watch
from indexer.storage.places import CollectionFolder
from indexer.storage.refusals import disk

POLL_SECONDS = 0.5

_NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that knows no locks; a lease then has to do."""

log = logging.getLogger("parecido")


@dataclass(frozen=True, slots=True)
class Held:
    """A collection that this process may write to."""

    folder: CollectionFolder
    holder: Holder
    number: int
    """Of its lease."""

    def check(self) -> None:
        """Raise CollectionLocked where the lease was lost, and StorageError where its disk cannot be asked."""
        lease = leases.current(self.folder.path)
        if lease is None:
            raise CollectionLocked(
                f"The lease on collection {self.folder.name!r} is gone: another run has had it meanwhile, or somebody "
                "has removed it. Run it again."
            )
        if lease.holder != self.holder:
            raise CollectionLocked(
                f"The lease on collection {self.folder.name!r} was lost to {_name(lease.holder)}, because this process "
                f"showed no life for {leases.LEASE_SECONDS:g} seconds: run it again when that one has ended."
            )


_held: dict[Path, Held] = {}
"""What this process holds, by the collection's folder."""


def check_held(folder: CollectionFolder) -> None:
    """Raise CollectionLocked unless this process still holds the collection that it has locked.

    To be asked before anything is published, and after listing what is to be removed: what was there while the
    collection was held is no rival's.
    """
    held = _held.get(folder.path)
    if held is None:
        raise CollectionLocked(f"Collection {folder.name!r} is not locked by this process: lock it before writing.")
    held.check()


@contextlib.contextmanager
def lock(folder: CollectionFolder, wait: float = 0.0) -> Iterator[Held]:
    """Hold the collection for writing, and have its folders.

    Where another run holds it, raises CollectionLocked, which names it, after waiting for it for `wait` seconds
    (math.inf for as long as it takes). The holder is told in the log. A dead holder's lock is free: at once on the same
    machine, after `leases.LEASE_SECONDS` of watching on another. A disk that fails because the lease was lost meanwhile
    raises CollectionLocked too.
    """
    for place in (folder.path, folder.generations, folder.segments, folder.runs):
        make_folder(place)
    path, patience = folder.path / "lock", _Patience(folder, wait)
    with disk(path, "write"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        holder = _myself(_flock(path, descriptor, patience))
        held = Held(folder, holder, _take(folder, holder, patience))
        with _alive(held):
            _fence(folder)
            with disk(path, "write"):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, orjson.dumps(asdict(holder)), 0)
            yield held
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait while another process of this machine is at work in the folder, where its file system has locks.

    The other may be at work with the same right; whoever must not be there at all takes `lock`.
    """
    with disk(folder, "lock"):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _flock(path: Path, descriptor: int, patience: _Patience) -> str | None:
    """Have the kernel's lock; returns what names this kernel and this lock, None where the file system has none."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            patience.spend(_present(path, descriptor))
        except OSError as error:
            if error.errno in _NO_FLOCK:
                return None
            with disk(path, "lock"):
                raise
    boot, status = boot_id(), os.fstat(descriptor)
    return boot and f"{boot} {status.st_dev} {status.st_ino}"


def _present(path: Path, descriptor: int) -> Holder | None:
    """Who has the kernel's lock, or keeps whoever has it waiting."""
    if lease := leases.current(path.parent):
        return lease.holder
    with disk(path, "read"):
        return leases.parse_holder(os.pread(descriptor, 4096, 0))


def boot_id() -> str | None:
    """Which running kernel this is; None where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _myself(kernel: str | None) -> Holder:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(os.getpid(), socket.gethostname(), since, secrets.token_hex(8), kernel)


def _take(folder: CollectionFolder, holder: Holder, patience: _Patience) -> int:
    """Have the lease; returns its number."""
    watch = Watch(folder.path, holder)
    while True:
        lease = leases.current(folder.path)
        if lease is None or _outlived(lease, holder) or watch.is_dead(lease):
            if number := leases.take(folder.path, lease, holder):
                return number
        elif watch.doubtful:
            patience.watch(lease)
        else:
            patience.spend(lease.holder)


def _outlived(lease: Lease, holder: Holder) -> bool:
    """Whether the kernel would have kept us from its lock if the lease's holder were alive."""
    return lease.holder is not None and lease.holder.kernel is not None and lease.holder.kernel == holder.kernel


def _fence(folder: CollectionFolder) -> None:
    """Whatever a former holder is about to publish will not appear any more."""
    for name in file_names(folder.generations):
        if name.startswith("."):
            remove(folder.generations / name)


@contextlib.contextmanager
def _alive(held: Held) -> Iterator[None]:
    """Give signs of life meanwhile, and the lease back at the end."""
    folder, ended = held.folder.path, threading.Event()

    def beat() -> None:
        while not ended.wait(leases.HEARTBEAT_SECONDS):
            leases.touch(folder, held.number, held.holder)

    heart = threading.Thread(target=beat, name=f"lease of {held.folder.name}", daemon=True)
    heart.start()
    _held[folder] = held
    try:
        with _blamed(held):
            yield
    except BaseException:
        with contextlib.suppress(StorageError):
            leases.give_back(folder, held.number, held.holder)
        raise
    else:
        leases.give_back(folder, held.number, held.holder)
    finally:
        del _held[folder]
        ended.set()
        heart.join()


@contextlib.contextmanager
def _blamed(held: Held) -> Iterator[None]:
    """Where things go missing because a rival is at work, or because the disk has vanished, say that instead."""
    try:
        yield
    except CorruptGeneration:
        held.check()
        raise
    except StorageError:
        with contextlib.suppress(StorageError):
            held.check()
        raise


class _Patience:
    """How long a run waits for another, and what it says meanwhile."""

    def __init__(self, folder: CollectionFolder, seconds: float) -> None:
        self._name = folder.name
        self._end = time.monotonic() + seconds
        self._told: str | None = None

    def spend(self, holder: Holder | None) -> None:
        """Wait a moment for the holder, or raise CollectionLocked where there has been enough of it."""
        left = self._end - time.monotonic()
        if not left > 0:
            raise CollectionLocked(
                f"Collection {self._name!r} is being indexed by {_name(holder)}: wait until it ends, or stop it."
            )
        self._tell(f"it is being indexed by {_name(holder)}; waiting until that has ended")
        time.sleep(min(POLL_SECONDS, left))

    def watch(self, lease: Lease) -> None:
        """Let a moment pass in which a holder that looks dead may show life."""
        self._tell(
            f"{_name(lease.holder)} seems to have died over it; taking it over if there is no sign of life for "
            f"{leases.LEASE_SECONDS:g} seconds"
        )
        time.sleep(min(POLL_SECONDS, leases.HEARTBEAT_SECONDS))

    def _tell(self, what: str) -> None:
        if what != self._told:
            log.warning("collection %s: %s", self._name, what)
            self._told = what


def _name(holder: Holder | None) -> str:
    return str(holder) if holder else "another process, which has not yet said who it is"
