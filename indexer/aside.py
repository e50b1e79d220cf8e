"""How does one batch of a segment's file come to be of many, without all of them being held?

They are put aside, into a file of their own, until the last has come. It lies in the folder of the file that is to be,
and is gone before that folder gets its name.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from indexer import storage
from indexer.storage import OutputFile


class Aside:
    """Record batches of one schema in a file, until they are wanted as one."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = OutputFile(path)
        self._stream = pa.ipc.new_stream(self._file, schema)

    def add(self, batch: pa.RecordBatch) -> None:
        """Put one aside."""
        self._stream.write_batch(batch)

    def whole(self) -> pa.RecordBatch:
        """All of them as one, in memory; the file is gone."""
        self._stream.close()
        self._file.complete()
        with storage.removed_after(self._file.path) as path:
            with storage.disk(path, "read"):
                source = pa.memory_map(str(path))
            with source:
                stream = pa.ipc.open_stream(source)
                return pa.concat_batches([*stream] or [pa.RecordBatch.from_pylist([], stream.schema)])

    def close(self) -> None:
        """Close the file, whatever is in it."""
        self._file.close()
