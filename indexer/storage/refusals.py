"""What does a disk that refuses say to the person who reads the log?

Every error of the operating system becomes a StorageError that names the path and the next step.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from indexer.errors import StorageError

_HINTS = {
    errno.ENOSPC: "the disk is full: make room and run it again",
    errno.EDQUOT: "the disk quota is used up: make room and run it again",
    errno.EFBIG: "the file would pass the allowed file size: raise the limit and run it again",
    errno.EROFS: "the disk is read-only: make it writable, or choose another --store",
    errno.EACCES: "permission is missing: grant it to this user, or choose another --store",
    errno.EPERM: "permission is missing: grant it to this user, or choose another --store",
    errno.ENOTDIR: "a part of the path is not a folder: choose another --store",
    errno.ENOENT: "the folder is gone or cannot be made there: see that its disk is mounted, or choose another --store",
    errno.ESTALE: "the file server no longer knows it: mount it anew and run it again",
    errno.EEXIST: "something of that name is in the way: move it, or choose another --store",
    errno.EIO: "the disk reports an error: check its health",
}


@contextlib.contextmanager
def disk(path: Path, act: str, *decided: type[OSError]) -> Iterator[None]:
    """Translate what the operating system says into a StorageError, except what the caller decides on itself."""
    try:
        yield
    except decided:
        raise
    except OSError as error:
        raise refusal(path, act, error) from error


def refusal(path: Path, act: str, error: OSError) -> StorageError:
    """What to tell of the error that came of it."""
    hint = _HINTS.get(error.errno or 0, f"{error.strerror or error}: mend it and run it again")
    return StorageError(f"Cannot {act} {str(path)!r}: {hint}.")
