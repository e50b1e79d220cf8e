"""Which files does `source` name, and what are they?

Paths keep the order in which they are given, because the first of two rows with one id wins; what a glob finds is
sorted. A glob finds files only. Nothing that was asked for is passed over in silence: a path or a glob without a match,
and a folder that cannot be listed, is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from indexer.addresses import is_url
from indexer.config import Format
from indexer.errors import ConfigurationError, SourceError
from indexer.sources.documents import DOCUMENT_FILES
from indexer.sources.files import File, label, unreadable
from indexer.sources.remote import RemoteFile, find_remote

_ENDINGS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson.gz": "jsonl",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "tsv",
    ".tsv.gz": "tsv",
    ".parquet": "parquet",
    ".md": "folder",
    ".markdown": "folder",
    ".txt": "folder",
    **dict.fromkeys(DOCUMENT_FILES, "folder"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """One file or folder that a source names."""

    path: Path
    root: Path
    """What the paths of text files are relative to: the folder itself, the fixed part of a glob, a file's folder."""


def find(patterns: Iterable[str]) -> tuple[Found | RemoteFile, ...]:
    """The files and folders that paths, globs and URLs name, each once.

    `**` stands for any number of folders, links to folders left out. Raises SourceError for a path that does not exist,
    a glob without a match, and a folder that cannot be listed.
    """
    found: dict[str, Found | RemoteFile] = {}
    for pattern in patterns:
        if is_url(pattern):
            found.update({file.url: file for file in find_remote(pattern) if file.url not in found})
            continue
        for match in _matches(pattern):
            found.setdefault(os.path.abspath(match.path), match)
    if not found:
        raise ConfigurationError("`source` names no file: give a file, a folder or a glob.", param="source")
    return tuple(found.values())


def tell_format(found: Iterable[Found | RemoteFile]) -> Format:
    """The one format of all files by their names; raises ConfigurationError where that cannot be told."""
    files = [match.path if isinstance(match, Found) else match for match in found]
    formats = {_format_of(file): file for file in files}
    if len(formats) > 1:
        (one, first), (other, second) = sorted(formats.items())[:2]
        raise ConfigurationError(
            f"{label(first)!r} is {one} and {label(second)!r} is {other}, but a collection has one format: "
            "name files of one kind, or say which `format` they all are.",
            param="source",
        )
    return next(iter(formats))


def _format_of(file: File) -> Format:
    if isinstance(file, Path) and os.path.isdir(file):
        return "folder"
    for ending, told in _ENDINGS.items():
        if file.name.lower().endswith(ending):
            return told
    raise ConfigurationError(
        f"The name {label(file)!r} does not tell a format: set `format` to jsonl, csv, tsv, parquet or folder"
        + (", to jsonl if each line is one JSON object." if file.name.lower().endswith(".json") else "."),
        param="format",
    )


def _matches(pattern: str) -> list[Found]:
    base, rest = _split(pattern)
    if not rest:
        return [Found(base, base if os.path.isdir(base) else base.parent)]
    if not any(_is_glob(part) for part in rest):
        raise SourceError(
            f"There is no file or folder {pattern!r}: correct `source`, or put the file there.",
            param="source",
        )
    matches = sorted(set(_glob(base, rest)), key=Path.as_posix)
    if not matches:
        raise SourceError(
            f"No file matches {pattern!r}: correct `source`, or name a folder itself to read what is under it.",
            param="source",
        )
    return [Found(path, base) for path in matches]


def _split(pattern: str) -> tuple[Path, list[str]]:
    """The part of a pattern that exists as it is written, so that `[` in a folder's name is no glob; and the rest."""
    parts: list[str] = list(Path(pattern).parts) if pattern else [pattern]
    base = Path()
    while parts and parts[0] and os.path.lexists(base / parts[0]):
        base /= parts.pop(0)
    return base, parts


def _is_glob(part: str) -> bool:
    return any(character in part for character in "*?[")


def _glob(base: Path, parts: list[str]) -> Iterator[Path]:
    """Files below `base` that match; unlike the stdlib's glob it does not pass over a folder that it may not list."""
    head, rest = parts[0], parts[1:]
    if head == "**":
        yield from _glob(base, rest or ["*"])
        for entry in _listing(base):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _glob(Path(entry.path), parts)
        return
    for entry in _listing(base):
        if fnmatchcase(entry.name, head) and (head.startswith(".") or not entry.name.startswith(".")):
            path = Path(entry.path)
            if rest and os.path.isdir(path):
                yield from _glob(path, rest)
            elif not rest and not os.path.isdir(path):
                yield path


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise unreadable(folder, error, "its list of files") from error
