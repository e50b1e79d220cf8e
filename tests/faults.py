"""A disk that refuses, at one step of a run or from one step on.

A step is a call that reaches the disk below a folder: by `os`, by a file opened in Python, or by a file object of
`storage`, through which Arrow and FAISS write.
"""

from __future__ import annotations

import builtins
import functools
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FULL = frozenset({"create", "write", "fsync", "link", "mkdir", "pwrite", "rename", "replace"})
READ_ONLY = FULL | {"open", "unlink", "rmdir", "ftruncate"}
READING = frozenset({"listdir", "read", "read open", "scandir"})
BROKEN = READ_ONLY | READING | {"close"}

"""What a disk in that state refuses. `open` is os.open, `create` and `read open` are of files opened in Python."""

CALLS = ("fsync", "ftruncate", "link", "listdir", "mkdir", "open", "pwrite", "rename", "replace", "rmdir", "scandir",
         "unlink", "close")  # fmt: skip


class Disk:
    """Counts the steps of some kinds below a folder, and refuses that of number `at`; later ones, too, if `lasting`."""

    def __init__(self, folder: Path, kinds: frozenset[str], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.below, self._kinds, self._code = str(folder), kinds, code
        self.at, self.lasting = 0, False
        self.steps: list[str] = []
        self.refused: str | None = None
        """The first step that was."""
        for name in CALLS:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        opening = self._opening(builtins.open)
        monkeypatch.setattr(builtins, "open", opening)
        monkeypatch.setattr(io, "open", opening)

    def step(self, name: str, place: Any) -> None:
        """A step is about to be made."""
        if name not in self._kinds or not self._concerns(place):
            return
        self.steps.append(name)
        if self.at and (len(self.steps) == self.at or (self.lasting and len(self.steps) > self.at)):
            self.refused = self.refused or name
            self.refuse(place)

    def refuse(self, place: Any) -> None:
        """What the disk says to the step."""
        raise OSError(self._code, os.strerror(self._code), str(place))

    def _concerns(self, place: Any) -> bool:
        if isinstance(place, int):
            try:
                place = os.readlink(f"/proc/self/fd/{place}")
            except OSError:
                return False
        return str(place).startswith(self.below)

    def _watched(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(act)
        def watched(*args: Any, **named: Any) -> Any:
            place = named.get("dir_fd") if named.get("dir_fd") is not None else (args[0] if args else ".")
            if name != "close":
                self.step(name, place)
                return act(*args, **named)
            try:
                if sys._getframe(1).f_globals["__name__"] != "shutil":  # which closes twice what fails to be closed
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
