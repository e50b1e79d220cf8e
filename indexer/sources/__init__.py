"""Where do items come from?

`open_source` tells which files a collection's settings name and how they are read; `mapping.read_items` makes items of
their rows. A source is a stream: its size is never the size of anything in memory. A bad row is a Rejected and the next
one follows; a source that cannot be read to its end is a SourceError.
"""

from __future__ import annotations

import os
from pathlib import Path

from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError
from indexer.sources.delimited import Delimited
from indexer.sources.folder import Folder
from indexer.sources.jsonl import JsonLines
from indexer.sources.parquet import Parquet
from indexer.sources.paths import Found, find, tell_format
from indexer.sources.row import Row, Source, name_of

__all__ = ["Row", "Source", "open_source"]


def open_source(settings: CollectionSettings) -> Source:
    """The source that a collection's settings name; nothing of it is read yet.

    Raises SourceError for a path that does not exist and a glob without a match, ConfigurationError where the format
    cannot be told or the files have more than one.
    """
    found = find(settings.source)
    format = settings.format or tell_format(found)
    if format == "folder":
        return Folder(found, settings.id or Folder.default_id)
    files = tuple(_file(match, format) for match in found)
    match format:
        case "jsonl":
            return JsonLines(files, settings.id or JsonLines.default_id)
        case "parquet":
            return Parquet(files, settings.id or Parquet.default_id)
        case "csv" | "tsv":
            return Delimited(files, "," if format == "csv" else "\t", settings.id or Delimited.default_id)


def _file(found: Found, format: str) -> Path:
    if os.path.isdir(found.path):
        raise ConfigurationError(
            f"{name_of(found.path)!r} is a folder, and only the format 'folder' reads one: name the {format} files "
            f"in it by a glob such as {name_of(found.path / '*')!r}.",
            param="source",
        )
    return found.path
