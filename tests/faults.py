"""A disk that refuses, at one step of a run or from one step on.

A step is a call that reaches the disk below a folder: by `os`, by a file opened in Python, or by a file object of
`storage`, through which Arrow and FAISS write.
"""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FULL = frozenset({"create", "write", "fsync", "link", "mkdir", "pwrite", "rename", "replace"})
READ_ONLY = FULL | {"open", "unlink", "rmdir", "ftruncate"}
BROKEN = READ_ONLY | {"close", "read", "listdir", "scandir", "read open"}

KINDS = {errno.ENOSPC: FULL, errno.EROFS: READ_ONLY, errno.EIO: BROKEN}
"""What can fail with which error. `open` is os.open, `create` and `read open` are of files opened in Python."""

CALLS = ("fsync", "ftruncate", "link", "listdir", "mkdir", "open", "pwrite", "rename", "replace", "rmdir", "scandir",
         "unlink", "close")  # fmt: skip


class Disk:
    """Counts the steps below `folder`; refuses the one of number `at`, with `lasting` all later ones too."""

    def __init__(self, folder: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._below = str(folder)
        self._code = code
        self.at, self.lasting = 0, False
        self.steps: list[str] = []
        self.refused = False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        opening = self._opening(builtins.open)
        monkeypatch.setattr(builtins, "open", opening)
        monkeypatch.setattr(io, "open", opening)

    def refuse(self, at: int, lasting: bool = False) -> None:
        """From now on count anew, and refuse the step of that number; none where it is 0."""
        self.at, self.lasting, self.steps, self.refused = at, lasting, [], False

    def step(self, name: str, place: Any) -> None:
        """A step is about to be made."""
        if name not in KINDS[self._code] or not self._concerns(place):
            return
        self.steps.append(name)
        if self.at and (len(self.steps) == self.at or (self.lasting and len(self.steps) > self.at)):
            self.refused = True
            raise OSError(self._code, os.strerror(self._code), str(place))

    def _concerns(self, place: Any) -> bool:
        if isinstance(place, int):
            try:
                place = os.readlink(f"/proc/self/fd/{place}")
            except OSError:
                return False
        return str(place).startswith(self._below)

    def _watched(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(act)
        def watched(*args: Any, **named: Any) -> Any:
            place = named.get("dir_fd") if named.get("dir_fd") is not None else (args[0] if args else ".")
            if name != "close":
                self.step(name, place)
                return act(*args, **named)
            try:
                self.step(name, place)
            finally:
                act(*args, **named)
            return None

        return watched

    def _opening(self, act: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(act)
        def opening(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **named: Any) -> Any:
            if "b" not in mode or isinstance(file, int) or not self._concerns(os.fspath(file)):
                return act(file, mode, buffering, *args, **named)
            writing = mode != "rb"
            self.step("create" if writing else "read open", os.fspath(file))
            raw = _Raw(os.fspath(file), mode, self)
            if buffering == 0:
                return raw
            return io.BufferedWriter(raw) if writing else io.BufferedReader(raw)

        return opening


class _Raw(io.FileIO):
    """A file on that disk."""

    def __init__(self, path: str, mode: str, disk: Disk) -> None:
        super().__init__(path, mode.replace("b", ""))
        self._disk, self._path = disk, path

    def write(self, data: Any) -> int:
        self._disk.step("write", self._path)
        return super().write(data)

    def readinto(self, buffer: Any) -> int:
        self._disk.step("read", self._path)
        return super().readinto(buffer)

    def read(self, size: int = -1) -> bytes:
        self._disk.step("read", self._path)
        return super().read(size)

    def readall(self) -> bytes:
        self._disk.step("read", self._path)
        return super().readall()

    def close(self) -> None:
        closed = self.closed
        super().close()
        if not closed:
            self._disk.step("close", self._path)
