"""Where does a store live, and when is a write safe?

This is the only module that fsyncs, renames, links and locks, and the only one that knows that a store is a folder.
What holds for everybody else: a file is written once, through `OutputFile`, and complete on disk when `seal` returns;
a folder's new entries are on disk when `sync_folder` returns; `publish` either makes a complete file visible under
its name or leaves no trace under that name. A refusing disk is a StorageError that says what to do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import orjson

from indexer.errors import CollectionLocked, StorageError

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a published file must still be when somebody reads it."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CollectionFolder:
    """The places of one collection in a store."""

    path: Path

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.path.name

    @property
    def generations(self) -> Path:
        """Manifests, and one folder of deletion bitmaps a generation."""
        return self.path / "generations"

    @property
    def segments(self) -> Path:
        """One folder a segment."""
        return self.path / "segments"

    @property
    def runs(self) -> Path:
        """What a run that has not published has written so far, and the rejects of those that have ended."""
        return self.path / "runs"


def collection_folder(store: Path, name: str) -> CollectionFolder:
    """The places of the collection `name`, whether or not it exists yet."""
    return CollectionFolder(store / "collections" / name)


def collection_names(store: Path) -> list[str]:
    """The collections that the store has a folder for, in name order."""
    with _disk(store, "read"):
        try:
            return sorted(entry.name for entry in os.scandir(store / "collections") if entry.is_dir())
        except FileNotFoundError:
            return []


def file_names(folder: Path) -> list[str]:
    """The names in a folder, in order; none where it does not exist."""
    with _disk(folder, "read"):
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []


def make_folder(path: Path) -> Path:
    """The folder, made with its parents where it was missing, and on disk."""
    with _disk(path, "write to"):
        missing = [p for p in (path, *path.parents) if not p.exists()]
        path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)
    return path


def remove(path: Path) -> None:
    """Unlink a file or a folder with all that is in it; nothing happens where it is gone already."""
    with _disk(path, "remove"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class OutputFile(io.RawIOBase):
    """A file written once from front to back; Arrow, FAISS and numpy write through it too.

    Its checksum is that of the bytes handed over, so that a later read-back finds what the disk made of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes = 0
        self._sha256 = hashlib.sha256()
        self._file: BinaryIO
        with _disk(path, "write"):
            self._file = open(path, "xb")  # noqa: SIM115 – closed by seal and close

    def writable(self) -> bool:
        """True: this is what it is for."""
        return True

    def write(self, data: object) -> int:
        """All of `data`, a bytes-like object; returns its length in bytes."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        with _disk(self.path, "write"):
            self._file.write(view)
        self._sha256.update(view)
        self._bytes += view.nbytes
        return view.nbytes

    def seal(self) -> Sealed:
        """Everything on disk and the file closed; returns what it must be from now on."""
        with _disk(self.path, "write"):
            self._file.flush()
            os.fsync(self._file.fileno())
        self.close()
        return Sealed(bytes=self._bytes, sha256=self._sha256.hexdigest())

    def complete(self) -> None:
        """Everything with the operating system and the file closed: enough for what need not outlive the process."""
        with _disk(self.path, "write"):
            self._file.close()
        self.close()

    def close(self) -> None:
        """Close without any promise; a file that was not sealed is not to be trusted."""
        if not self.closed:
            super().close()
            with contextlib.suppress(OSError):
                self._file.close()


def write_file(path: Path, data: bytes) -> Sealed:
    """Write a whole new file and have it on disk."""
    with OutputFile(path) as file:
        file.write(data)
        return file.seal()


def read_file(path: Path) -> bytes:
    """The whole file; FileNotFoundError where there is none."""
    with _disk(path, "read", FileNotFoundError):
        return path.read_bytes()


def checksum(path: Path) -> Sealed:
    """What the file on disk is now, read from front to back; FileNotFoundError where there is none."""
    digest = hashlib.sha256()
    size = 0
    with _disk(path, "read", FileNotFoundError), open(path, "rb", buffering=0) as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
            size += len(block)
    return Sealed(bytes=size, sha256=digest.hexdigest())


def size(path: Path) -> int | None:
    """The file's length in bytes; None where it is missing."""
    with _disk(path, "read"):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None


def sync_folder(path: Path) -> None:
    """Have the folder's entries on disk: without it a new file may be nameless after a power cut."""
    with _disk(path, "write to"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move_folder(source: Path, target: Path) -> None:
    """Give a finished folder its final name, on disk when this returns."""
    with _disk(target, "write to"):
        os.rename(source, target)
    sync_folder(target.parent)


def replace_file(source: Path, target: Path) -> None:
    """Give a sealed file another name, taking the place of what had it, on disk when this returns."""
    with _disk(target, "write"):
        os.replace(source, target)
    sync_folder(target.parent)


def publish(data: bytes, path: Path) -> bool:
    """Make `data` appear under `path`, whole or not at all.

    True: the file is there, complete and on disk. False: somebody else's file has that name and is untouched. After a
    crash at any point the name either holds all of `data` or does not exist.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    remove(temporary)
    try:
        write_file(temporary, data)
        with _disk(path, "write", FileExistsError):
            os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        remove(temporary)
    sync_folder(path.parent)
    return True


@contextlib.contextmanager
def lock(folder: CollectionFolder) -> Iterator[None]:
    """Hold the collection for writing; raises CollectionLocked, naming the holder, where another process does.

    The kernel drops the lock when its holder ends, however it ends.
    """
    make_folder(folder.path)
    path = folder.path / "lock"
    with _disk(path, "write"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CollectionLocked(_held(folder.name, descriptor)) from error
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat()}
        with _disk(path, "write"):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, orjson.dumps(holder), 0)
        yield
    finally:
        os.close(descriptor)


def _held(name: str, descriptor: int) -> str:
    try:
        holder = orjson.loads(os.pread(descriptor, 4096, 0))
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        who = "another process, which has not yet said who it is"
    return f"Collection {name!r} is being indexed by {who}: wait until it ends, or stop it."


_HINTS = {
    errno.ENOSPC: "the disk is full: make room and run it again",
    errno.EDQUOT: "the disk quota is used up: make room and run it again",
    errno.EFBIG: "the file would pass the allowed file size: raise the limit and run it again",
    errno.EROFS: "the disk is read-only: make it writable, or choose another --store",
    errno.EACCES: "permission is missing: grant it to this user, or choose another --store",
    errno.EPERM: "permission is missing: grant it to this user, or choose another --store",
    errno.ENOTDIR: "a part of the path is not a folder: choose another --store",
    errno.ENOENT: "the folder is gone or cannot be made there: choose another --store",
    errno.EEXIST: "something of that name is in the way: move it, or choose another --store",
    errno.EIO: "the disk reports an error: check its health",
}


@contextlib.contextmanager
def _disk(path: Path, act: str, *decided: type[OSError]) -> Iterator[None]:
    """Translate what the operating system says into a StorageError, except what the caller decides on itself."""
    try:
        yield
    except decided:
        raise
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, f"{error.strerror or error}: mend it and run it again")
        raise StorageError(f"Cannot {act} {str(path)!r}: {hint}.") from error
