"""Where are converted models kept, and are they whole?

A folder each, named by all that it depends on: the model's files, what computes it, and the format here. It
holds `model.xml` and `model.bin` as OpenVINO writes them, `tokenizer.json` as `tokenizers` reads it, and `facts.json`
with what else there is to know, and the length and SHA-256 of each of the others. What always holds: a folder appears
whole or not at all, and is compared with its checksums before it is used; one that is damaged is made anew, and nothing
is lost with it, for it derives from the model's own files.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from indexer import storage
from indexer.errors import StorageError
from indexer.models import Fingerprint
from indexer.storage import Sealed

FORMAT = 1
"""Of the folder's files, and of what a conversion is compared with before it is kept."""
FACTS = "facts.json"
MODEL = "model.xml"
WEIGHTS = "model.bin"
TOKENIZER = "tokenizer.json"
ABANDONED_SECONDS = 86_400.0
"""The age at which an unfinished folder is taken for that of a process that was killed."""

log = logging.getLogger("parecido")


class Unconvertible(Exception):
    """A model cannot be converted, or not well; its text is the reason, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to know of a converted model beside its graph."""

    window: int
    """The most tokens that it reads."""
    pad: int
    """The id of the token that fills a row up."""
    files: Mapping[str, Sealed]
    """What the other files must still be."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted model whose files are whole."""

    folder: Path
    facts: Facts


_FACTS = TypeAdapter(Facts)


class Conversions:
    """The place of one converted model; several processes may look for it and make it at once.

    `computed_by` says what computes it and how: it was compared with the reference as that computes it.
    """

    def __init__(self, cache: Path, fingerprint: Fingerprint, computed_by: str) -> None:
        name = hashlib.sha256(f"{FORMAT} {fingerprint.revision} {computed_by}".encode()).hexdigest()[:32]
        self._cache = cache
        self._folder = cache / f"openvino-{name}"

    def find(self) -> Converted | None:
        """The converted model; None where there is none, or it is damaged."""
        try:
            facts = _FACTS.validate_json(storage.read_file(self._folder / FACTS))
            for name, sealed in facts.files.items():
                if storage.checksum(self._folder / name) != sealed:
                    raise StorageError(f"{name!r} is not what was written")
        except FileNotFoundError:
            return None
        except (StorageError, ValidationError) as error:
            told = {"event": "conversion_damaged", "folder": str(self._folder)}
            log.info("%s is damaged, and made anew: %s", self._folder, error, extra=told)
            return None
        return Converted(self._folder, facts)

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Wait while another process makes one, lest each of several that are started at once make its own."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(StorageError):  # where nothing can be kept, none finds another's
                storage.make_folder(self._cache)
                stack.enter_context(storage.one_at_a_time(self._cache))
            yield

    @contextlib.contextmanager
    def making(self) -> Iterator[Path]:
        """An empty folder to write the files into; `keep` gives it its name, else it is gone at the end.

        Where the folder for it cannot be written, it is a temporary one, and the next process converts again.
        """
        try:
            storage.make_folder(self._cache)
            self._sweep()
            temporary = storage.add_folder(self._cache / f".making-{secrets.token_hex(8)}")
        except StorageError as error:
            self._not_kept(error)
            with tempfile.TemporaryDirectory(prefix="parecido-") as folder:
                yield Path(folder)
            return
        with storage.removed_after(temporary):
            yield temporary

    def seal(self, folder: Path, window: int, pad: int) -> Converted:
        """Write down what the files in a folder are, once they are all there."""
        names = (MODEL, WEIGHTS, TOKENIZER)
        facts = Facts(window, pad, {name: storage.checksum(folder / name) for name in names})
        storage.remove(folder / FACTS)
        storage.write_file(folder / FACTS, orjson.dumps(asdict(facts)))
        return Converted(folder, facts)

    def keep(self, made: Converted) -> None:
        """Give a sealed folder its name, unless another process was first."""
        if made.folder.parent != self._cache or self.find():
            return
        try:
            storage.remove(self._folder)  # what is there is damaged
            storage.move_folder(made.folder, self._folder)
        except StorageError as error:
            if not self.find():  # else another process was first after all
                self._not_kept(error)

    def _not_kept(self, error: StorageError) -> None:
        log.warning(
            "the converted model cannot be kept, so that every start converts it again: %s Set models_cache in [local] "
            "to a folder that can be written.",
            error.message,
            extra={"event": "conversion_not_kept", "folder": str(self._cache)},
        )

    def _sweep(self) -> None:
        """Remove what processes that were killed have left."""
        for name in storage.file_names(self._cache):
            path = self._cache / name
            changed = storage.stamp(path)
            if name.startswith(".making-") and changed and time.time() - changed[2] / 1e9 > ABANDONED_SECONDS:
                storage.remove(path)
