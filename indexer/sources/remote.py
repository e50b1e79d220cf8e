"""How is a file elsewhere read, over HTTP or from a bucket?

Through fsspec, as a stream, by the credentials that its provider's own environment and files hold. Whatever its
libraries raise becomes an OSError here, as of a disk, and so do a body that is shorter than was told, a folder in the
place of a file, and a file that is replaced while it is read: none of them may look like a source that got shorter.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from indexer.addresses import conceal, masked, scheme_of
from indexer.errors import ConfigurationError, SourceError

BLOCK_BYTES = 2**20
CONNECT_SECONDS = 30
SILENT_SECONDS = 120
LONGEST_CAUSE = 300

HTTP = ("http", "https")

_TALKATIVE = ("fsspec", "gcsfs", "s3fs")
"""Log tracebacks of what they raise as well."""

_VERSION = ("size", "ETag", "etag", "generation", "mtime", "md5Hash", "LastModified", "last_modified", "created")
"""What the file systems say of a file that changes when it does; each says some of it."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file that a URL names."""

    url: str = field(repr=False)

    @property
    def label(self) -> str:
        """The URL as it may be shown."""
        return masked(self.url)

    @property
    def name(self) -> str:
        """The file's own name, which tells its format."""
        path = self.url.partition("?")[0] if scheme_of(self.url) in HTTP else self.url
        return PurePosixPath(path).name

    def open(self) -> io.BufferedReader:
        """The file's bytes from the first on; they can be read once. Raises OSError, as does reading."""
        fs, path = _file_system(self.url)
        try:
            if scheme_of(self.url) in HTTP:
                # One request from end to end: neither HEAD nor ranges, which not every server has. With a size given,
                # which a stream does not use, none is asked for.
                body = _Body(fs.open(path, block_size=0, size=1), self.url, None, lambda: None)
            else:
                told = _version(fs, path)
                body = _Body(fs.open(path, "rb"), self.url, told.get("size"), lambda: _check_same(fs, path, told))
        except Exception as error:  # each provider's library has a family of its own
            raise _translated(error, self.url) from error
        return io.BufferedReader(body, BLOCK_BYTES)


def find_remote(url: str) -> tuple[RemoteFile, ...]:
    """The files that a URL names, sorted by name where it is a glob, which passes over hidden ones as one here does.

    Raises SourceError for a glob without a match, or one of whose folders cannot be listed, and ConfigurationError
    where a package for the URL's scheme is not installed.
    """
    fs, path = _file_system(url)
    if scheme_of(url) in HTTP:
        if "*" in path.partition("?")[0]:
            raise ConfigurationError(
                f"{masked(url)!r} has a wildcard, and HTTP has no list of files: name each file by its URL.",
                param="source",
            )
        return (RemoteFile(url),)
    parts = path.split("/")
    fixed = next((number for number, part in enumerate(parts) if any(c in part for c in "*?[")), None)
    if fixed is None:
        return (RemoteFile(url),)
    try:
        files = sorted(set(_glob(fs, "/".join(parts[:fixed]), parts[fixed:])))
    except FileNotFoundError:
        files = []
    except Exception as error:
        raise SourceError(
            f"{masked(url)!r} cannot be looked for: {_translated(error, url)}. Nothing is published from this source: "
            "correct `source` or the credentials, and run again.",
            param="source",
        ) from error
    if not files:
        raise SourceError(f"No file matches {masked(url)!r}: correct `source`.", param="source")
    return tuple(RemoteFile(fs.unstrip_protocol(name)) for name in files)


def _glob(fs: Any, folder: str, parts: list[str]) -> Iterator[str]:
    """Files that match; fsspec's own glob passes over a folder that it may not list."""
    head, rest = parts[0], parts[1:]
    if head == "**":
        yield from _glob(fs, folder, rest or ["*"])
    for entry in fs.ls(folder, detail=True):
        path, is_folder = entry["name"].rstrip("/"), entry["type"] == "directory"
        name = path.rpartition("/")[2]
        if path == folder.rstrip("/"):
            continue
        if head == "**":
            if is_folder and not name.startswith("."):
                yield from _glob(fs, path, parts)
        elif fnmatchcase(name, head) and (head.startswith(".") or not name.startswith(".")):
            if rest and is_folder:
                yield from _glob(fs, path, rest)
            elif not rest and not is_folder:
                yield path


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it; listings are never from before."""
    import fsspec

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        options = _http_options(url) if scheme_of(url) in HTTP else {}
        fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
    except ImportError as error:
        raise ConfigurationError(
            f"{masked(url)!r} needs a package that is not installed: run pip install 'parecido[remote]'; for other "
            "schemes than http, https, s3 and gs install the package that fsspec names for it.",
            param="source",
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"{masked(url)!r} cannot be read as a URL: use the scheme of a database or one that fsspec knows, such as "
            "https, s3 or gs, and percent-encode special characters.",
            param="source",
        ) from error
    except Exception as error:
        raise SourceError(
            f"{masked(url)!r} cannot be opened: {_translated(error, url)}. Nothing is published from this source: "
            "correct `source` or the credentials, and run again.",
            param="source",
        ) from error
    return fs, path


def _http_options(url: str) -> dict[str, Any]:
    import aiohttp

    # No limit to the whole, which by default is five minutes; a server that says nothing is given up.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    compressed = PurePosixPath(url.partition("?")[0]).suffix.lower() == ".gz"
    client = {
        "timeout": timeout,
        "trust_env": True,
        # Some servers declare a .gz file to be a compressed transfer of what is in it.
        "auto_decompress": not compressed,
        "headers": {"Accept-Encoding": "identity"},
    }
    return {"client_kwargs": client}


class _Body(io.RawIOBase):
    """A file of fsspec, with its errors translated and its end checked."""

    def __init__(self, file: Any, url: str, size: int | None, at_end: Callable[[], None]) -> None:
        self._file = file
        self._url = url
        self._size = size
        self._at_end = at_end
        self._read = 0

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of the buffer; 0 at the end, if that is the end."""
        try:
            data = self._file.read(len(buffer))
            if not data:
                if self._size is not None and self._read != self._size:
                    raise OSError(f"only {self._read} of {self._size} bytes came")
                self._at_end()
        except Exception as error:
            raise _translated(error, self._url) from error
        buffer[: len(data)] = data
        self._read += len(data)
        return len(data)

    def close(self) -> None:
        """Let go of the connection."""
        if not self.closed:
            self._file.close()
        super().close()


def _version(fs: Any, path: str) -> dict[str, Any]:
    fs.invalidate_cache()
    info = fs.info(path)
    if info["type"] != "file":
        raise OSError("it is a folder, not a file")
    return {name: info[name] for name in _VERSION if name in info}


def _check_same(fs: Any, path: str, told: dict[str, Any]) -> None:
    if _version(fs, path) != told:
        raise OSError("it was replaced while it was read")


def _translated(error: Exception, url: str) -> OSError:
    """The error as one of a disk, without what the URL hides."""
    status = getattr(error, "status", None)
    if status is not None:
        said = f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
    elif isinstance(error, FileNotFoundError):
        said = "there is no such file"
    else:
        said = " ".join(str(error).split()) or type(error).__name__
    return OSError(conceal(said if len(said) <= LONGEST_CAUSE else said[: LONGEST_CAUSE - 1] + "…", url))
