"""Which rows of the source did not become items, and why?

One JSON object a line: `file`, `line`, `id` (null where it could not be read), `reason`. The file of a collection's
last run lies beside its generations; a run without rejects leaves none.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import orjson

from indexer import storage
from indexer.items import Rejected
from indexer.storage import OutputFile


class Rejects:
    """Takes rejected rows while a run reads; the file lasts once it is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: OutputFile | None = None
        self._kept: Path | None = None
        self.count = 0
        self.unread = 0
        """Rows whose id could not be read."""

    def __enter__(self) -> Rejects:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file:
            self._file.close()

    def add(self, rejected: Rejected) -> None:
        """Write one row down."""
        self._file = self._file or self._begin()
        self.count += 1
        self.unread += rejected.id is None
        place = rejected.place
        row = {"file": place.file, "line": place.line, "id": rejected.id, "reason": rejected.reason}
        self._file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def keep(self, path: Path) -> None:
        """Have the file under its lasting name, in place of the last run's; no file where there are no rejects.

        May be asked for again once there are more.
        """
        if self._file is None:
            if self._kept is None:
                storage.remove(path)
            return
        self._file.seal()
        storage.replace_file(self._path, path)
        self._file, self._kept = None, path

    def _begin(self) -> OutputFile:
        """A file to write to, which goes on with what was kept before."""
        file = OutputFile(self._path)
        if self._kept is not None:
            file.write(storage.read_file(self._kept))
        return file
