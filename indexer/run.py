"""What does a run have to hand from its beginning?

The lock of its collection is held, what earlier runs have left over is gone, what is published is open and its look-ups
are checked, and there is a folder of its own that goes when it ends.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexer import generation as generations
from indexer import models, storage
from indexer.config import CollectionSettings
from indexer.errors import CorruptGeneration
from indexer.generation import Generation
from indexer.models import Fingerprint
from indexer.providers import Providers
from indexer.prune import remove_leftovers
from indexer.rejects import Rejects
from indexer.report import Stopwatch
from indexer.segment import IDS
from indexer.snapshot import Snapshot, check_all, find_good
from indexer.stages import Progress
from indexer.storage import CollectionFolder

REJECTS = "rejects.jsonl"

log = logging.getLogger("parecido")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run has to hand from its beginning."""

    settings: CollectionSettings
    providers: Providers
    folder: CollectionFolder
    scratch: Path
    current: Snapshot | None
    """The newest generation that can be opened."""
    number: int
    """That the next generation will have."""
    fingerprint: Fingerprint
    fresh: bool
    """Whether a rebuild was asked for, in which nothing published is relied on."""
    progress: Progress
    watch: Stopwatch
    rejects: Rejects

    @property
    def passed_over(self) -> bool:
        """Whether there are newer generations, which cannot be opened."""
        return self.published is not None and self.published.number != self.number - 1

    @property
    def due(self) -> bool:
        """Whether there is something to publish even if the source has not changed, for another recall is asked for."""
        contract = self.published.contract if self.published else None
        return self.passed_over or (contract is not None and contract.target != self.settings.least_recall)

    @property
    def reuse(self) -> bool:
        """Whether published vectors are of the space of the new ones, and relied on."""
        return not self.fresh and self.published is not None and self.published.fingerprint == self.fingerprint

    @property
    def published(self) -> Generation | None:
        """The manifest of what is current."""
        return self.current.generation if self.current else None


@contextlib.contextmanager
def begun(
    folder: CollectionFolder,
    settings: CollectionSettings,
    providers: Providers,
    progress: Progress,
    fresh: bool,
    watch: Stopwatch,
) -> Iterator[Run]:
    """A run over a collection whose lock is held, with a folder of its own that goes when it ends.

    Raises CorruptGeneration where something is published and none of it can be opened or the look-ups of what can are
    damaged, unless a rebuild was asked for.
    """
    remove_leftovers(folder)
    numbers = generations.numbers(folder)
    current = _opened(folder, fresh) if numbers else None
    with watch.stage("model"):
        fingerprint = models.identify(settings, providers, current.generation.fingerprint if current else None)
    with storage.removed_after(folder.runs / secrets.token_hex(4)) as scratch:
        storage.add_folder(scratch)
        with Rejects(scratch / REJECTS) as rejects:
            number = numbers[-1] + 1 if numbers else 1
            yield Run(
                settings, providers, folder, scratch, current, number, fingerprint, fresh, progress, watch, rejects
            )


def _opened(folder: CollectionFolder, fresh: bool) -> Snapshot | None:
    """What the source is compared with; its look-ups are checked, else damage would pass for new, changed or gone."""
    try:
        with contextlib.nullcontext() if fresh else advised(folder):
            snapshot, problems = find_good(folder)
            if snapshot is None:
                raise problems[max(problems)]
            check_all(snapshot, IDS)
    except CorruptGeneration as error:
        if not fresh:
            raise
        log.warning("collection %s is built from nothing: %s", folder.name, error.message)
        return None
    for number, problem in problems.items():
        log.warning("collection %s: generation %d is passed over: %s", folder.name, number, problem.message)
    return snapshot


@contextlib.contextmanager
def advised(folder: CollectionFolder) -> Iterator[None]:
    """What is said of damage in there also says how a run gets past it."""
    try:
        yield
    except CorruptGeneration as error:
        way_out = generations.way_out(folder.name)
        raise CorruptGeneration(f"{error.message} {way_out}.", path=error.path) from error
