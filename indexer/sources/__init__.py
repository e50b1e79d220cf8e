"""Where do items come from?

`open_source` tells what a collection's settings name and how it is read; `mapping.read_items` makes items of its rows.
A source is a stream: its size is never the size of anything in memory. A bad row is a Rejected and the next one
follows; a source that cannot be read to its end is a SourceError.
"""

from __future__ import annotations

import os

from indexer.addresses import is_database, masked
from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError
from indexer.sources.database import open_database
from indexer.sources.delimited import Delimited
from indexer.sources.files import File, label
from indexer.sources.folder import Folder
from indexer.sources.jsonl import JsonLines
from indexer.sources.parquet import Parquet
from indexer.sources.paths import Found, find, tell_format
from indexer.sources.remote import RemoteFile
from indexer.sources.row import Row, Source

__all__ = ["Row", "Source", "open_source"]


def open_source(settings: CollectionSettings) -> Source:
    """The source that a collection's settings name; nothing of it is read yet.

    Raises SourceError for a path that does not exist and a glob without a match, ConfigurationError where the format
    cannot be told, the files have more than one, or an optional package for it is not installed.
    """
    if _is_sql(settings):
        return open_database(settings.source, settings.query, settings.id)
    found = find(settings.source)
    format = settings.format or tell_format(found)
    if format == "folder":
        return Folder(tuple(map(_local, found)), settings.id or Folder.default_id)
    files = tuple(_file(match, format) for match in found)
    match format:
        case "jsonl":
            return JsonLines(files, settings.id or JsonLines.default_id)
        case "parquet":
            return Parquet(files, settings.id or Parquet.default_id)
        case "tsv":
            return Delimited(files, "\t", settings.id or Delimited.default_id)
        case _:
            return Delimited(files, ",", settings.id or Delimited.default_id)


def _is_sql(settings: CollectionSettings) -> bool:
    """Whether the source is asked with SQL; raises ConfigurationError where it is half so."""
    if settings.format == "sql":
        return True
    databases = [source for source in settings.source if is_database(source)]
    if databases and settings.format is not None:
        raise ConfigurationError(
            f"{masked(databases[0])!r} is a database, not {settings.format}: leave `format` out.", param="format"
        )
    if databases and len(databases) < len(settings.source):
        other = next(source for source in settings.source if not is_database(source))
        raise ConfigurationError(
            f"{masked(databases[0])!r} is a database and {masked(other)!r} is not, but a collection has one format: "
            "give them a collection each.",
            param="source",
        )
    if settings.query is not None and not databases:
        raise ConfigurationError(
            "`query` asks a database, and `source` names none: give a URL such as sqlite:///file.db, or leave `query` "
            'out. A database of another kind needs `format` = "sql".',
            param="query",
        )
    return bool(databases)


def _local(found: Found | RemoteFile) -> Found:
    if isinstance(found, RemoteFile):
        raise ConfigurationError(
            f"{found.label!r} is elsewhere, and text files and documents are read from a folder here: copy it, or give "
            "JSON Lines, CSV or Parquet.",
            param="source",
        )
    return found


def _file(found: Found | RemoteFile, format: str) -> File:
    if isinstance(found, RemoteFile):
        return found
    if os.path.isdir(found.path):
        raise ConfigurationError(
            f"{label(found.path)!r} is a folder, and only the format 'folder' reads one: name the {format} files "
            f"in it by a glob such as {label(found.path / '*')!r}.",
            param="source",
        )
    return found.path
