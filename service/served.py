"""Which generations are being served?

One thread looks at the store, opens what is new beside what is served, and swaps it in when it is checked and warm. A
request takes what it needs once and keeps it to its end; what is swapped out goes when its last request has ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexer import generation as generations
from indexer import models
from indexer.errors import CollectionNotFound, CorruptGeneration, NotReady, ParecidoError, StorageError
from indexer.models import Fingerprint, Model
from indexer.providers import Providers
from indexer.snapshot import Snapshot, open_generation, stamp, verify
from indexer.storage import CollectionFolder, collection_folder, collection_names
from service.embedder import QueryEmbedder
from service.pace import Paces
from service.shown import Shown

log = logging.getLogger("parecido")

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_TRIES = 15.0
"""How long a generation that could not be opened is left alone, while its files stay as they are."""
SECONDS_BETWEEN_TRIES_OF_DAMAGE = 600.0
"""The same where a file is not what was published: to find that again means to read much again."""
SECONDS_TO_STOP = 1.0
"""How long a look under way may take once the service shall end."""

LISTING = 0
"""Stands for the number of a generation where they cannot even be listed."""


@dataclass(frozen=True, slots=True)
class Served:
    """A collection as it is answered from."""

    snapshot: Snapshot
    embedder: QueryEmbedder
    unverified: frozenset[str]
    """Segments whose checksums have not been compared yet."""
    paces: Paces = field(default_factory=Paces)
    """Of searches for few hits."""
    shown: Shown = field(default_factory=Shown)

    @property
    def model(self) -> Model:
        """The generation's model."""
        return self.embedder.model


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a generation is not served."""

    number: int
    message: str
    next_try: float
    """When, by time.monotonic."""
    stamp: Hashable
    """Of its files, when they were found wanting; once it differs, the next try is at once."""


class Collections:
    """What a service answers from; any thread may ask, one thread keeps it up to date."""

    def __init__(self, store: Path, providers: Providers = Providers()) -> None:
        self.store = store
        self._providers = providers
        self._served: Mapping[str, Served] = {}
        self._problems: Mapping[str, Mapping[int, Problem]] = {}
        """By collection and generation."""
        self.looked = False
        """Whether every collection was looked at once, and all that can be opened is served."""
        self._fault: str | None = None
        """Why the store could not be looked at the last time."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="parecido-refresh", daemon=True)

    def start(self) -> None:
        """Begin to open what is published and to notice what is new, unless that has begun."""
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """Notice nothing any more; a look that takes long is not waited for, as it only reads."""
        self._stop.set()
        self._thread.join(SECONDS_TO_STOP)

    def get(self, name: str) -> Served:
        """What is served under a name; raises NotReady or CollectionNotFound."""
        served = self._served.get(name)
        if served is not None:
            return served
        if problems := self._of(name):
            raise NotReady(f"Collection {name!r} is not served: {_told(problems)}", param="collection")
        if not self.looked:
            raise NotReady("The service is still opening its collections: try again in a few seconds.")
        there = ", ".join(sorted(self._served)) or "none yet"
        raise CollectionNotFound(f"There is no collection {name!r}; there is {there}.", param="collection")

    def all(self) -> list[Served]:
        """Everything that is served, in order of name."""
        served = self._served
        return [served[name] for name in sorted(served)]

    def problems(self) -> dict[str, str]:
        """What is wrong, by collection."""
        return {name: _told(problems) for name, problems in sorted(self._problems.items()) if problems}

    def why_not_ready(self) -> str | None:
        """Why nothing should be asked yet; None once every collection was looked at and something can be answered."""
        if not self.looked:
            return self._fault or "The service is still opening its collections."
        if self._served:
            return None
        if any(self._problems.values()):
            return "No collection could be opened."
        return f"No collection is published in {str(self.store)!r}: index one with `parecido index`."

    def refresh(self) -> None:
        """Look at the store once: open what is new, drop what is gone."""
        names = collection_names(self.store)
        for gone in (self._served.keys() | self._problems.keys()) - set(names):
            self._forget(gone)
        for name in names:
            folder = collection_folder(self.store, name)
            try:
                self._refresh_one(folder)
            except StorageError as error:  # one that cannot be looked at keeps nobody from the others
                self._note(folder, LISTING, error, None)
        self.looked = True

    def verify_one(self) -> bool:
        """Compare the checksums of one segment that was opened without; whether there was one."""
        for name, served in self._served.items():
            if served.unverified:
                segment, folder = min(served.unverified), served.snapshot.folder
                number = served.snapshot.generation.number
                found = stamp(folder, number)
                try:
                    verify(served.snapshot, {segment})
                    self._put(name, replace(served, unverified=served.unverified - {segment}))
                except ParecidoError as error:
                    if number in generations.numbers(folder):
                        self._note(folder, number, error, found, withdrawn=True)
                        self._stop_serving(name)
                    else:  # its files went with it; what is mapped answers on until the next look
                        self._put(name, replace(served, unverified=frozenset()))
                return True
        return False

    def _keep_up(self) -> None:
        while not self._stop.is_set():
            try:
                self.refresh()
                busy = self.verify_one()
                self._fault = None
            except Exception as error:  # whatever it is, what is served now must go on, and the next look may succeed
                if self._fault != str(error):
                    foreseen = isinstance(error, ParecidoError)
                    log.error("looking for new generations failed: %s", error, exc_info=not foreseen)
                busy, self._fault = False, str(error)
            if not busy:
                self._stop.wait(SECONDS_BETWEEN_LOOKS)

    def _refresh_one(self, folder: CollectionFolder) -> None:
        """Serve the newest generation that can be opened; whatever is wrong with a newer one is named."""
        name, published = folder.name, generations.numbers(folder)
        self._forget_pruned(name, published)
        served = self._served.get(name)
        if served and served.snapshot.generation.number > max(published, default=0):
            self._note_missing(folder, served.snapshot.generation.number)
        if not published:
            self._stop_serving(name)
        for number in reversed(published):
            if served and served.snapshot.generation.number == number:
                break
            found = stamp(folder, number)
            problem = self._of(name).get(number)
            if problem and problem.stamp == found and time.monotonic() < problem.next_try:
                continue
            try:
                self._put(name, self._open(folder, number, served))
                break
            except ParecidoError as error:
                if number in generations.numbers(folder):  # else it was pruned meanwhile
                    self._note(folder, number, error, found)

    def _open(self, folder: CollectionFolder, number: int, served: Served | None) -> Served:
        """Open a generation and its model, ready for the first query.

        What is new in it is verified first, except at the start, when lengths and structure have to do for a while.
        """
        snapshot = open_generation(folder, number)
        generation = snapshot.generation
        unverified = {entry.id for entry in generation.segments}
        if served:
            unverified -= {entry.id for entry in served.snapshot.generation.segments} - served.unverified
        embedder = self._loaded(generation.fingerprint) or QueryEmbedder(
            models.load(generation.fingerprint, generation.device, self._providers)
        )
        if self.looked:
            verify(snapshot, unverified)
            unverified = set()
        embedder.model.warm()
        snapshot.warm()
        told = {"event": "serving", "collection": folder.name, "generation": generation.number}
        log.info("collection %s: serving generation %d", folder.name, generation.number, extra=told)
        return Served(snapshot, embedder, frozenset(unverified))

    def _loaded(self, fingerprint: Fingerprint) -> QueryEmbedder | None:
        embedders = (served.embedder for served in self._served.values())
        return next((one for one in embedders if one.model.fingerprint == fingerprint), None)

    # The mappings are replaced, never changed, so that readers need no lock.

    def _put(self, name: str, served: Served) -> None:
        """Serve it; what is wrong with newer generations stays noted."""
        self._served = {**self._served, name: served}
        number = served.snapshot.generation.number
        self._problems = {**self._problems, name: {n: p for n, p in self._of(name).items() if n > number}}

    def _note(
        self, folder: CollectionFolder, number: int, error: ParecidoError, found: Hashable, *, withdrawn: bool = False
    ) -> None:
        """Remember why a generation is not served, and tell it in the log unless it was told before."""
        name, known = folder.name, self._of(folder.name)
        damaged, message = isinstance(error, CorruptGeneration), error.message
        if damaged:
            message += f" On the store's machine, {generations.way_out(folder.name)}."
        if number not in known or known[number].message != message:
            what = "withdrawn" if withdrawn else "not served"
            which = "what is newer" if number == LISTING else f"generation {number}"
            told = {"event": what.replace(" ", "_"), "collection": name, "generation": number, "code": error.code}
            log.error("collection %s: %s is %s: %s", name, which, what, message, extra=told)
        pause = SECONDS_BETWEEN_TRIES_OF_DAMAGE if damaged else SECONDS_BETWEEN_TRIES
        problem = Problem(number, message, time.monotonic() + pause, found)
        self._problems = {**self._problems, name: {**known, number: problem}}

    def _note_missing(self, folder: CollectionFolder, number: int) -> None:
        """Remember that the manifest of what was the newest generation is gone, which pruning leaves alone."""
        path = generations.manifest_path(folder, number)
        error = CorruptGeneration(f"The manifest {str(path)!r} is missing.", path=path)
        self._note(folder, number, error, stamp(folder, number))

    def _forget_pruned(self, name: str, published: Sequence[int]) -> None:
        """What was wrong with generations that are there no more is wrong no more, but a newest one should be there."""
        newest = max(published, default=0)
        left = {n: p for n, p in self._of(name).items() if n in published or n > newest}
        self._problems = {**self._problems, name: left}

    def _forget(self, name: str) -> None:
        self._stop_serving(name)
        self._problems = {key: value for key, value in self._problems.items() if key != name}

    def _stop_serving(self, name: str) -> None:
        self._served = {key: value for key, value in self._served.items() if key != name}

    def _of(self, name: str) -> Mapping[int, Problem]:
        return self._problems.get(name, {})


def _told(problems: Mapping[int, Problem]) -> str:
    """What is wrong, newest generation first."""
    return " ".join(
        problems[number].message if number == LISTING else f"Generation {number}: {problems[number].message}"
        for number in sorted(problems, reverse=True)
    )
