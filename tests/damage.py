"""The ways in which a published file can be damaged, and small collections to do it to.

A damaged file is a new one under the old name: whoever has the old one mapped reads on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support import StandIn, assert_whole

from indexer import generation as generations
from indexer.snapshot import open_newest, verify
from indexer.storage import CollectionFolder

Damaging = Callable[[Path], None]

OLD = [{"id": f"{i}", "text": f"This is text {i}, the first of its kind.", "n": i} for i in range(6)]
NEW: list[dict[str, Any]] = [
    *OLD[:3],
    {**OLD[3], "text": "This text is another one now."},
    *OLD[4:5],
    {"id": "new", "text": "A text that was not there before.", "n": 7},
]
"""One changed, one gone, one new: a second segment, and a bitmap for the first."""


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put a new file with changed content under the name of an old one."""
    content = change(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


def flipped(path: Path) -> None:
    """One byte in the middle is another one."""
    rewrite(
        path, lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0x11]) + data[len(data) // 2 + 1 :]
    )


def cut(path: Path) -> None:
    """The last byte is missing."""
    rewrite(path, lambda data: data[:-1])


def emptied(path: Path) -> None:
    """No byte is left."""
    rewrite(path, lambda data: b"")


def grown(path: Path) -> None:
    """There is a byte more."""
    rewrite(path, lambda data: data + b"\0")


def missing(path: Path) -> None:
    """There is no such file."""
    path.unlink()


def folder(path: Path) -> None:
    """A folder has its name."""
    path.unlink()
    path.mkdir()


SEEN_AT_ONCE: Mapping[str, Damaging] = {
    "cut": cut, "emptied": emptied, "grown": grown, "missing": missing, "a folder": folder,
}  # fmt: skip
DAMAGES: Mapping[str, Damaging] = {"flipped": flipped, **SEEN_AT_ONCE}


def files_of(collection: CollectionFolder, number: int) -> list[Path]:
    """Every file of a generation."""
    manifest = generations.read(collection, number)
    bitmaps = [generations.deleted_path(collection, number, segment) for segment in manifest.deleted]
    files = [collection.segments / entry.id / name for entry in manifest.segments for name in entry.files]
    return [generations.manifest_path(collection, number), *bitmaps, *files]


def own_file(collection: CollectionFolder, number: int, name: str) -> Path:
    """The file of that name, or with that suffix, that only this generation has."""
    before = files_of(collection, number - 1) if number > 1 else []
    (path,) = [p for p in files_of(collection, number) if p not in before and p.name.endswith(name)]
    return path


KINDS = (".json", ".deleted", "items.arrow", "ids.arrow", "passages.arrow", "vectors.f32", "ann.faiss")


def replaced(target: Path, copy: Path) -> None:
    """Put a folder back as its copy has it."""
    shutil.rmtree(target)
    shutil.copytree(copy, target)


def content_of(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder in there by its path, with the content of the files."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def assert_answers_as(folder: CollectionFolder, number: int, rows: list[dict[str, Any]], stand_in: StandIn) -> None:
    """The newest generation has that number and these rows, and answers as they do."""
    snapshot = open_newest(folder)
    verify(snapshot)
    assert snapshot.generation.number == number
    assert_whole(folder.path.parent.parent, rows, stand_in)
