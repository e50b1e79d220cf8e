"""How does a text get to the Batch API, and never twice?

Texts are written into files within the API's limits while a run finds out which are missing; nothing leaves this
machine before the run has decided. Then each file is sent: its intent is on disk before the upload, the file's id
before the batch is asked for, and that it is asked for before it is. Whatever was cut off in between is looked for on
the server by our id, which stands in the file's name and in the batch's metadata, before anything is done again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer import storage
from indexer.batches.batch import Batch
from indexer.batches.lines import request_line
from indexer.batches.state import BatchState
from indexer.errors import ModelUnavailable
from indexer.models import Fingerprint
from indexer.models.openai_batches import OpenAIBatches, RemoteBatch
from indexer.models.openai_known import dimensions_to_send, known
from indexer.providers import OPENAI, Providers
from indexer.storage import OutputFile

MOST_REQUESTS = 50_000
"""Lines in a file; each has one input, of which there may be as many."""
MOST_BYTES = 200_000_000
AT_ONCE = 2
"""Most batches under way where the API's queue was full before."""
UNSURE_SECONDS = 60
"""How long a batch that was asked for without an answer may take to appear on the server."""
CLOCKS_APART = 86_400
"""Seconds by which the API's clock may differ from ours."""

log = logging.getLogger("parecido")


@dataclass(frozen=True, slots=True)
class Text:
    """A text to send."""

    key: bytes
    text: str
    """Prompt included."""
    tokens: int


class Packing:
    """Puts texts into files within the limits; they are staged, and nothing is sent."""

    def __init__(
        self, state: BatchState, fingerprint: Fingerprint, server: str, providers: Providers, scratch: Path
    ) -> None:
        self._state, self._fingerprint, self._server, self._scratch = state, fingerprint, server, scratch
        self._model = fingerprint.name.removeprefix(OPENAI)
        model = known(fingerprint.name, providers.of(fingerprint.name))
        self._dimensions = dimensions_to_send(fingerprint.dimension, model)
        self._most_tokens = state.most_tokens(fingerprint)
        self._queued = _queued(state, fingerprint)
        self._room = None if self._most_tokens is None else AT_ONCE * self._most_tokens - self._queued
        """Tokens that the API's queue may have room for; None where it never was full."""
        self._file: OutputFile | None = None
        self._batch = ""
        self._requests = self._bytes = self._tokens = 0
        self.batches: list[str] = []
        """The ids of those that are full or finished."""
        self.tokens = 0

    def add(self, texts: Sequence[Text]) -> None:
        """Have the texts in files and remembered; none of them may be in one already.

        What the API's queue has no room for is left to a later run.
        """
        placed = [(text.key, self._put(text)) for text in texts if self._has_room(text.tokens)]
        self._state.stage_texts(placed)

    def finish(self) -> None:
        """Have the last file on disk, too."""
        if self._file is None:
            return
        sealed = self._file.seal()
        self._state.seal(self._batch, sealed, self._requests, self._tokens)
        self.batches.append(self._batch)
        self._file = None

    def _put(self, text: Text) -> str:
        line = request_line(text.key, text.text, self._model, self._dimensions)
        if self._file is not None and self._is_full(len(line), text.tokens):
            self.finish()
        if self._file is None:
            self._batch = self._state.stage(self._fingerprint, self._server)
            self._file = OutputFile(self._scratch / f"{self._batch}.jsonl")
            self._requests = self._bytes = self._tokens = 0
        self._bytes += self._file.write(line)
        self._requests += 1
        self._tokens += text.tokens
        self.tokens += text.tokens
        return self._batch

    def _has_room(self, tokens: int) -> bool:
        return self._room is None or self.tokens + tokens <= self._room or not (self.tokens or self._queued)

    def _is_full(self, bytes: int, tokens: int) -> bool:
        return (
            self._requests >= MOST_REQUESTS
            or self._bytes + bytes > MOST_BYTES
            or (self._most_tokens is not None and self._tokens + tokens > self._most_tokens)
        )


def _queued(state: BatchState, fingerprint: Fingerprint) -> int:
    """Tokens that the API's queue has, as far as they are ours."""
    batches = state.batches("intended", "uploaded", "creating", "under way")
    return sum(batch.tokens for batch in batches if batch.fingerprint == fingerprint)


def intend(state: BatchState, scratch: Path, batches: Sequence[str]) -> None:
    """Decide that these staged batches are sent, now or by a later run."""
    storage.check_held(state.folder)  # whoever has taken the collection has sent the same
    storage.add_folder(state.uploads)
    for id in batches:
        storage.replace_file(scratch / f"{id}.jsonl", state.upload_file(id))
        state.intend(id)


def send(state: BatchState, api: OpenAIBatches, fresh: Collection[str] = ()) -> None:
    """Have the API have every batch that is meant for it; those of `fresh` were never tried to send."""
    _adopt(state, api)
    for batch in state.batches("intended", "uploaded", "creating"):
        if batch.server != api.server or (batch.stage == "creating" and _may_appear(batch)):
            continue
        file = _uploaded(state, api, batch, fresh)
        if file is not None:
            _create(state, api, batch, file)


def _adopt(state: BatchState, api: OpenAIBatches) -> None:
    """Find the batches whose asking was cut off; should there be two, the later one does no more."""
    lost = {batch.id: batch for batch in state.batches("creating") if batch.server == api.server}
    if not lost:
        return
    since = min(batch.made_at for batch in lost.values()) - CLOCKS_APART
    found: dict[str, list[RemoteBatch]] = {}
    for remote in api.named(set(lost), since):
        found.setdefault(remote.ours or "", []).append(remote)
    for id, remotes in found.items():
        *later, first = remotes
        log.info("batch %s was found on the server as %s", id, first.id)
        _arrived(state, id, first)
        for remote in later:
            log.warning("batch %s is on the server twice: %s is cancelled", id, remote.id)
            api.cancel(remote.id)


def _may_appear(batch: Batch) -> bool:
    """Whether it is too early to say that the server has no such batch."""
    return time.time() - (batch.asked_at or 0) < UNSURE_SECONDS


def _uploaded(state: BatchState, api: OpenAIBatches, batch: Batch, fresh: Collection[str]) -> str | None:
    """The id of the batch's file, which the API has; None where there is nothing to upload any more."""
    if batch.file_id is not None and api.has(batch.file_id):
        return batch.file_id
    file = None if batch.id in fresh else api.uploaded(batch.file_name, batch.bytes)
    path = state.upload_file(batch.id)
    if file is None and storage.size(path) != batch.bytes:
        log.warning("batch %s was not sent, and its file %r is gone: its texts are asked for anew", batch.id, str(path))
        state.end(batch, 0, False, None, "the file that was to be uploaded is gone")
        state.note(batch.id, "over")
        return None
    file = file or api.upload(path, batch.file_name)
    state.note(batch.id, "uploaded", file_id=file)
    return file


def _create(state: BatchState, api: OpenAIBatches, batch: Batch, file: str) -> None:
    storage.check_held(state.folder)
    state.note(batch.id, "creating", asked_at=int(time.time()))
    try:
        made = api.create(file, batch.id)
    except ModelUnavailable:  # the API has said no, so that there is none
        state.note(batch.id, "uploaded")
        raise
    if made is None:
        log.warning("whether the server has made batch %s is not known yet: a later run looks for it", batch.id)
        return
    _arrived(state, batch.id, made)


def _arrived(state: BatchState, id: str, remote: RemoteBatch) -> None:
    state.note(id, "under way", batch_id=remote.id, file_id=remote.file_id, status=remote.status)
    storage.remove(state.upload_file(id))
