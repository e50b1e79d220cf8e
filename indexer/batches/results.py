"""What becomes of a batch that has ended?

Its answers are fetched and looked at one by one: vectors go into the embedding cache, under the fingerprint that the
batch was made with, whatever the configuration says by now; texts that the API refuses are told apart from those that
it may be asked for again. Each step may be repeated after a kill: what is kept is passed over, and what was paid is
written down once, under the API's id of the batch.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from indexer import storage
from indexer.batches.batch import Batch, Outcome
from indexer.batches.lines import Answer, read_answer, split_lines
from indexer.batches.state import BatchState
from indexer.errors import ModelUnavailable
from indexer.ledger import Entry, Ledger
from indexer.models.cache import EmbeddingCache
from indexer.models.openai import OpenAIModel
from indexer.models.openai_batches import OpenAIBatches, RemoteBatch
from indexer.models.openai_failures import sentence
from indexer.prices import cost, price_of
from indexer.providers import Providers
from indexer.storage import CollectionFolder

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
AT_ONCE = 256
"""Answers that are kept in one step."""
MOST_FAILURES = 3
"""Answers that are no vectors, after which a text is taken for refused."""

log = logging.getLogger("parecido")


@dataclass(slots=True)
class _Sum:
    """What a batch came to."""

    answers: int = 0
    vectors: int = 0
    tokens: int = 0
    bad: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where batches of one collection are sent from and picked up."""

    folder: CollectionFolder
    state: BatchState
    api: OpenAIBatches
    cache: EmbeddingCache
    paid: Ledger
    providers: Providers
    run: str
    """What the ledger calls this run."""


def pick_up(desk: Desk, batch: Batch, remote: RemoteBatch) -> Entry | None:
    """Keep all that an ended batch did; returns what is now in the ledger for it, None where it was before."""
    reason = f"{remote.problem_code}: {_said(desk, remote.problem)}" if remote.status == "failed" else ""
    if reason:
        log.warning("batch %s failed as a whole: %s", remote.id, reason, extra={"event": "batch_failed"})
    came = _Sum()
    for file in filter(None, (remote.output_id, remote.error_id)):
        _keep_file(desk, batch, file, came)
    for told in came.bad[:3]:
        log.warning("batch %s: an answer of the API was passed over: %s", remote.id, told)
    tokens, estimated = remote.tokens or came.tokens, False
    if not tokens and came.vectors:
        tokens, estimated = -(-batch.tokens * came.vectors // batch.requests), True
    entry = _entry(desk, batch, came, tokens, estimated)
    new = bool(tokens) and desk.paid.record(entry, once=f"batch {remote.id}")
    desk.state.end(batch, tokens, estimated, entry.nano_dollars, reason)
    return entry if new else None


def clear(desk: Desk, batch: Batch) -> None:
    """Remove the files of a batch that has ended from the server; one that stays does no harm."""
    for file in filter(None, (batch.file_id, batch.output_id, batch.error_id)):
        try:
            desk.api.delete(file)
        except ModelUnavailable as error:
            log.warning("batch %s: a file that is not needed any more stays: %s", batch.batch_id, error.message)
    desk.state.note(batch.id, "over")


def _entry(desk: Desk, batch: Batch, came: _Sum, tokens: int, estimated: bool) -> Entry:
    price = price_of(batch.fingerprint.name, batch.fingerprint.provider, desk.providers.models)
    nano_dollars = None if price is None else cost(tokens, price, "batch")
    name = batch.fingerprint.name
    return Entry(desk.folder.name, name, "batch", desk.run, came.answers, came.vectors, tokens, nano_dollars, estimated)


def _keep_file(desk: Desk, batch: Batch, file: str, came: _Sum) -> None:
    path = storage.add_folder(desk.state.uploads) / f"{batch.id}.answers"
    with storage.removed_after(path):
        desk.api.download(file, path)
        answers = _answers(path, batch, came)
        while some := list(itertools.islice(answers, AT_ONCE)):
            _keep(desk, batch, some, came)


def _answers(path: Path, batch: Batch, came: _Sum) -> Iterator[Answer]:
    with storage.disk(path, "read"), path.open("rb") as file:
        for line in split_lines(iter(lambda: file.read(1 << 16), b"")):
            try:
                yield read_answer(line, batch.fingerprint.dimension)
            except ValueError as error:
                came.bad.append(str(error))


def _keep(desk: Desk, batch: Batch, answers: list[Answer], came: _Sum) -> None:
    """Keep some answers; those about texts that are settled, or none of the batch's, only count."""
    asked = desk.state.asked(batch.id, [answer.key for answer in answers])
    fresh = {answer.key: answer for answer in reversed(answers) if answer.key in asked}
    good = {answer.key: answer.vector for answer in fresh.values() if answer.vector is not None}
    if good:
        cache = desk.cache.for_run(batch.fingerprint, desk.folder.path)
        cache.put(list(good), np.stack(list(good.values())), OpenAIModel.numeric_path)
    desk.state.settle(
        batch, (_outcome(answer, asked[key], _said(desk, answer.reason)) for key, answer in fresh.items())
    )
    came.answers += len(answers)
    came.vectors += sum(answer.vector is not None for answer in answers)
    came.tokens += sum(answer.tokens for answer in answers)


def _said(desk: Desk, words: str) -> str:
    """The API's words as they may be told."""
    key = desk.providers.openai.api_key
    return sentence(words, key.get_secret_value() if key else "")


def _outcome(answer: Answer, failures: int, reason: str) -> Outcome:
    if answer.vector is not None:
        return Outcome(answer.key, "done")
    if answer.refused:
        return Outcome(answer.key, "refused", reason)
    if answer.expired:
        return Outcome(answer.key, "failed", reason)
    if failures + 1 >= MOST_FAILURES:
        reason = f"the Batch API has failed {failures + 1} times, the last time: {reason}"
        return Outcome(answer.key, "refused", reason, failure=True)
    return Outcome(answer.key, "failed", reason, failure=True)
