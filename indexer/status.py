"""How is a store doing, as its manifests and the notes of its runs tell it, without opening a segment?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from indexer import generation as generations
from indexer import last_run
from indexer.answers import GenerationAnswer, StatusAnswer
from indexer.describe import describe
from indexer.errors import CorruptGeneration, ParecidoError
from indexer.generation import Generation
from indexer.schedule import next_run
from indexer.segment import check_sizes
from indexer.storage import CollectionFolder, collection_folder, collection_names


def status(store: Path) -> Iterator[StatusAnswer]:
    """Every collection of a store, in order of name: what is current, what is wrong, how the last run ended.

    What is wrong is what can be told at once: manifests, bitmaps, and the lengths of files. `verify` reads them all.
    """
    schedule = next_run(store)
    for name in collection_names(store):
        folder = collection_folder(store, name)
        current, problems = _newest_whole(folder)
        run = last_run.read(folder)
        if current is None and not problems and run is None:
            continue
        yield StatusAnswer(
            name=name,
            current=describe(current) if current else None,
            problems=problems,
            last_run=run,
            next_run_at=schedule.next_run_at if schedule and name in schedule.collections else None,
        )


def _newest_whole(folder: CollectionFolder) -> tuple[Generation | None, dict[str, str]]:
    """The newest generation with nothing wrong at first sight, and what is wrong with the newer ones."""
    problems: dict[str, str] = {}
    for number in reversed(generations.numbers(folder)):
        try:
            found = generations.read(folder, number)
            for entry in found.segments:
                check_sizes(folder.segments / entry.id, entry)
                generations.read_deleted(folder, found, entry)
        except ParecidoError as error:
            problems[str(number)] = error.message
        else:
            return found, problems
    return None, problems


def history(store: Path, name: str) -> list[GenerationAnswer]:
    """Every kept generation of a collection whose manifest can be read, newest first.

    Raises CollectionNotFound where there is none, and CorruptGeneration where the newest cannot be read.
    """
    folder = collection_folder(store, name)
    newest = generations.current(folder)
    return [_with_run(newest), *_earlier(folder, newest.number)]


def _earlier(folder: CollectionFolder, newest: int) -> Iterator[GenerationAnswer]:
    for number in reversed(generations.numbers(folder)):
        if number < newest:
            with contextlib.suppress(CorruptGeneration):  # `status` and `verify` name it
                yield _with_run(generations.read(folder, number))


def _with_run(generation: Generation) -> GenerationAnswer:
    run = dict(generation.report) if generation.report else None
    return GenerationAnswer(**describe(generation), run=run)
