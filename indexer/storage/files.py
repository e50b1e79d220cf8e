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
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

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
        path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)
    return path


def remove(path: Path) -> None:
    """Unlink a file or a folder with all that is in it; nothing happens where it is gone already."""
    with disk(path, "remove"):
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
        with disk(path, "write"):
            self._file = open(path, "xb")  # noqa: SIM115 – closed by seal and close

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
        self.close()
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
            with contextlib.suppress(OSError):
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


def publish(data: bytes, path: Path) -> bool:
    """Make `data` appear under `path`, whole or not at all.

    True: the file is there, complete and on disk. False: somebody else's file has that name and is untouched. After a
    crash at any point the name either holds all of `data` or does not exist.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    remove(temporary)
    try:
        write_file(temporary, data)
        with disk(path, "write", FileExistsError):
            os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        remove(temporary)
    sync_folder(path.parent)
    return True
