"""When is a write safe?

A file is written once, through `OutputFile`, and complete on disk when `seal` returns; a folder's new entries are on
disk when `sync_folder` returns; `publish` either makes a complete file visible under its name or leaves no trace under
that name.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from indexer.errors import StorageError
from indexer.storage.refusals import disk

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a published file must still be when somebody reads it."""

    bytes: int
    sha256: str


def file_names(folder: Path) -> list[str]:
    """The names in a folder, in order; none where it does not exist."""
    with disk(folder, "read"):
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []


def make_folder(path: Path) -> Path:
    """The folder, made with its parents where it was missing, and on disk."""
    with disk(path, "write to"):
        missing = [p for p in (path, *path.parents) if not p.exists()]
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)
    return path


def add_folder(path: Path) -> Path:
    """The folder, made where it was missing, and on disk; the one around it is there, or its disk has vanished.

    A run makes its folders with this one, so that it never begins a store anew where a disk was mounted before.
    """
    with disk(path, "write to"):
        if path.is_dir():
            return path
        path.mkdir(exist_ok=True)
    sync_folder(path.parent)
    return path


def remove(path: Path) -> None:
    """Unlink a file or a folder with all that is in it; nothing happens where it is gone already.

    Somebody else may be removing the same: whoever has lost a lease puts away what its successor sweeps.
    """
    with disk(path, "remove"):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
        while path.is_dir() and not path.is_symlink():
            with contextlib.suppress(FileNotFoundError):  # then the other one was faster, and what is left is less
                shutil.rmtree(path)


@contextlib.contextmanager
def removed_after(path: Path) -> Iterator[Path]:
    """The path, whose file or folder is gone at the end; an error under way is not hidden by one of the removal."""
    try:
        yield path
    except BaseException:
        with contextlib.suppress(StorageError):
            remove(path)
        raise
    remove(path)


class OutputFile(io.RawIOBase):
    """A file written once from front to back; Arrow, FAISS and numpy write through it too.

    Its checksum is that of the bytes handed over, so that a later read-back finds what the disk made of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes = 0
        self._sha256 = hashlib.sha256()
        with disk(path, "write"):
            self._file: BinaryIO = open(path, "xb")  # noqa: SIM115 – closed by complete and close

    def writable(self) -> bool:
        """True: this is what it is for."""
        return True

    def write(self, data: object) -> int:
        """All of `data`, a bytes-like object; returns its length in bytes."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        with disk(self.path, "write"):
            self._file.write(view)
        self._sha256.update(view)
        self._bytes += view.nbytes
        return view.nbytes

    def seal(self) -> Sealed:
        """Everything on disk and the file closed; returns what it must be from now on."""
        with disk(self.path, "write"):
            self._file.flush()
            os.fsync(self._file.fileno())
        self.complete()
        return Sealed(bytes=self._bytes, sha256=self._sha256.hexdigest())

    def complete(self) -> None:
        """Everything with the operating system and the file closed: enough for what need not outlive the process."""
        with disk(self.path, "write"):
            self._file.close()
        self.close()

    def close(self) -> None:
        """Close without any promise; a file that was not sealed is not to be trusted."""
        if not self.closed:
            super().close()
            with contextlib.suppress(OSError, AttributeError):  # where there is no file, it could not be opened
                self._file.close()


def write_file(path: Path, data: bytes) -> Sealed:
    """Write a whole new file and have it on disk."""
    with OutputFile(path) as file:
        file.write(data)
        return file.seal()


def read_file(path: Path) -> bytes:
    """The whole file; FileNotFoundError where there is none."""
    with disk(path, "read", FileNotFoundError):
        return path.read_bytes()


def checksum(path: Path) -> Sealed:
    """What the file on disk is now, read from front to back; FileNotFoundError where there is none."""
    digest = hashlib.sha256()
    size = 0
    with disk(path, "read", FileNotFoundError), open(path, "rb", buffering=0) as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
            size += len(block)
    return Sealed(bytes=size, sha256=digest.hexdigest())


def size(path: Path) -> int | None:
    """The file's length in bytes; None where it is missing."""
    with disk(path, "read"):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None


def stamp(path: Path) -> tuple[int, ...] | None:
    """What is different once the file was written to or another took its place; None where it cannot be told."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def sync_folder(path: Path) -> None:
    """Have the folder's entries on disk: without it a new file may be nameless after a power cut."""
    with disk(path, "write to"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move_folder(source: Path, target: Path) -> None:
    """Give a finished folder its final name, on disk when this returns."""
    with disk(target, "write to"):
        os.rename(source, target)
    sync_folder(target.parent)


def link_file(source: Path, target: Path) -> None:
    """Give a sealed file a second name; the caller syncs the folder."""
    with disk(target, "write"):
        os.link(source, target)


def replace_file(source: Path, target: Path) -> None:
    """Give a sealed file another name, taking the place of what had it, on disk when this returns."""
    with disk(target, "write"):
        os.replace(source, target)
    sync_folder(target.parent)


def link_new(source: Path, target: Path) -> bool:
    """Give a file that has one name a second; False where that name is taken.

    On a network file system a link can be made and its answer be lost: the file itself knows (open(2), on O_EXCL).
    """
    try:
        os.link(source, target)
    except FileExistsError:
        return source.stat().st_nlink > 1
    return True


def publish(data: bytes, path: Path, check: Callable[[], None]) -> bool:
    """Make `data` appear under `path`, whole or not at all.

    True: the file is there, complete and on disk. False: somebody else's file has that name and is untouched. After a
    crash at any point the name either holds all of `data` or does not exist. `check` is called when everything is
    written and nothing visible yet; what it raises ends the attempt. Whoever removes the file whose name is about to be
    given, `.<name>.<anything>`, after that call has made sure that nothing will appear.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with removed_after(temporary):
        write_file(temporary, data)
        check()
        with disk(path, "write"):
            published = link_new(temporary, path)
    if published:
        sync_folder(path.parent)
    return published
