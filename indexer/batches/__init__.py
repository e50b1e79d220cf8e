"""How does a collection get its vectors through the Batch API, from one run to the next?

A run first settles what earlier ones have left: it sends what they meant to send, asks how far the batches are, and
picks up those that have ended. Then it counts which texts it misses, decides (`verdict`), and sends what has to
be sent. It never waits for a batch unless it is told to. What always holds: no text is sent while the API has it, and
none that was picked up is sent again; a run that is killed at any step leaves it to the next to go on from there.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from indexer import storage
from indexer.batches.batch import Batch
from indexer.batches.results import ENDED, Desk, clear, pick_up
from indexer.batches.sending import Packing, Text, send
from indexer.batches.state import BatchState
from indexer.batches.verdict import Standing
from indexer.errors import ConfigurationError
from indexer.ledger import Entry, Ledger
from indexer.models import Fingerprint
from indexer.models.cache import EmbeddingCache
from indexer.models.openai_batches import OpenAIBatches
from indexer.prices import cost, price_of
from indexer.providers import Providers
from indexer.stages import Progress
from indexer.storage import CollectionFolder, collection_folder, collection_names
from indexer.windows import Need

POLL_SECONDS = 5.0
"""The first pause of a run that waits for batches; each is half as long again as the one before."""
LONGEST_POLL_SECONDS = 120.0

log = logging.getLogger("parecido")


@contextlib.contextmanager
def desk(
    folder: CollectionFolder, providers: Providers, cache: EmbeddingCache, paid: Ledger, run: str
) -> Iterator[Desk]:
    """Where batches are sent from and picked up; the collection's lock is held."""
    with contextlib.closing(BatchState(folder)) as state, contextlib.closing(OpenAIBatches(providers)) as api:
        state.forget_staged()
        yield Desk(folder, state, api, cache, paid, providers, run)


def settle(desk: Desk, fresh: Sequence[str] = ()) -> list[Entry]:
    """Send what is to be sent, and pick up what has ended; returns what was paid for that.

    `fresh` are batches that were never tried to send. Raises ModelUnavailable where the API does not answer.
    """
    send(desk.state, desk.api, fresh)
    entries = []
    for batch in desk.state.batches("under way"):
        if batch.server != desk.api.server:
            log.warning(
                "batch %s is with %s: set OPENAI_BASE_URL to that to have it picked up", batch.batch_id, batch.server
            )
        elif entry := _followed(desk, batch):
            entries.append(entry)
    for batch in desk.state.batches("ended"):
        if batch.server == desk.api.server:
            clear(desk, batch)
    return entries


def _followed(desk: Desk, batch: Batch) -> Entry | None:
    """See how far a batch is, and pick it up where it has ended."""
    remote = desk.api.get(batch.batch_id or "")
    if remote is None:
        log.warning(
            "batch %s is not known to %s: is OPENAI_API_KEY that of another project? `parecido batches --cancel %s` "
            "gives it up",
            *(batch.batch_id, batch.server, batch.batch_id),
        )
        return None
    ids = {"output_id": remote.output_id, "error_id": remote.error_id}
    desk.state.note(batch.id, "under way", status=remote.status, done=remote.done, **ids)
    return pick_up(desk, batch, remote) if remote.status in ENDED else None


def wait(desk: Desk, deadline: float, progress: Progress) -> list[Entry]:
    """Stay until every batch has ended or `time.monotonic` passes the deadline; returns what was paid."""
    entries, pause, reported = settle(desk), POLL_SECONDS, 0
    total = sum(batch.requests for batch in open_batches(desk.state))
    if not total:
        return entries
    progress.begin("batch", total, "texts")
    while (left := open_batches(desk.state)) and time.monotonic() < deadline:
        done = total - sum(batch.requests - batch.done for batch in left)
        progress.advance(done - reported)
        reported = done
        time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
        entries += settle(desk)
    progress.end()
    return entries


def open_batches(state: BatchState) -> list[Batch]:
    """The batches of which something is to come yet."""
    return state.batches("intended", "uploaded", "creating", "under way")


def stage(desk: Desk, fingerprint: Fingerprint, needs: Iterable[Need], each: int, packing: Packing | None) -> Standing:
    """Count the texts that are missing; those that could be sent are put into files, if there is a packing.

    `each` is how many tokens prompt and special ones add to a text.
    """
    found = Standing(picked_up=desk.state.count(fingerprint, "done"))
    for need in needs:
        sent = desk.state.sent(fingerprint, need.keys)
        staged = desk.state.staged(need.keys)
        texts = []
        for key, text, tokens in zip(need.keys, need.texts, need.tokens, strict=True):
            state = sent[key].state if key in sent else None
            if state == "asked":
                found.under_way += 1
            elif key not in staged and state != "refused":
                found.again += state == "failed"
                found.new += state != "failed"
                texts.append(Text(key, fingerprint.document_prompt + text, tokens + each))
        if packing is not None:
            packing.add(texts)
    if packing is not None:
        packing.finish()
    return found


def withheld(desk: Desk, fingerprint: Fingerprint, keys: Sequence[bytes], at_once: bool) -> Mapping[bytes, str | None]:
    """The texts that a run must not ask a model for: why they are refused, or None for those that it waits for.

    Where it embeds `at_once`, the refused ones alone; else all of them.
    """
    sent = desk.state.sent(fingerprint, keys)
    refused = {key: one.reason for key, one in sent.items() if one.state == "refused"}
    return refused if at_once else {**dict.fromkeys(keys), **refused}


def not_sent(folder: CollectionFolder, fingerprint: Fingerprint, needs: Iterable[Need]) -> Iterator[Need]:
    """The same without the texts that the Batch API has, or has refused; reads only."""
    with contextlib.closing(BatchState(folder)) as state:
        for need in needs:
            sent = state.sent(fingerprint, need.keys)
            left = [
                row for row, key in enumerate(need.keys) if key not in sent or sent[key].state in ("done", "failed")
            ]
            yield Need(
                keys=[need.keys[row] for row in left],
                texts=[need.texts[row] for row in left],
                tokens=[need.tokens[row] for row in left],
                passages=need.passages,
            )


def committed(store: Path, providers: Providers) -> int:
    """Nano-dollars that the batches under way in a store will cost, as far as their prices are known."""
    total = 0
    for name in collection_names(store):
        for batch in recorded(collection_folder(store, name), only_open=True):
            price = price_of(batch.fingerprint.name, batch.fingerprint.provider, providers.models)
            total += cost(batch.tokens, price, "batch") if price else 0
    return total


def recorded(folder: CollectionFolder, *, only_open: bool = False) -> list[Batch]:
    """The batches of a collection, oldest first; reads only, whoever holds the collection."""
    if storage.size(folder.batches) is None:
        return []
    with contextlib.closing(BatchState(folder)) as state:
        return open_batches(state) if only_open else state.batches()


def cancel(desk: Desk, id: str) -> Batch:
    """Have a batch, by either of its ids, do no more, and keep what it has done; its other texts are free again.

    Returns how it is then: where the API takes its time to cancel it, it has not ended, and a later run picks it up.
    Raises ConfigurationError where there is no such batch under way, and ModelUnavailable.
    """
    batch = next((one for one in open_batches(desk.state) if id in (one.id, one.batch_id)), None)
    if batch is None:
        raise ConfigurationError(
            f"Collection {desk.folder.name!r} has no batch {id!r} under way: `parecido batches` lists them.",
            param="cancel",
        )
    if batch.stage in ("intended", "uploaded"):  # the API was not asked for it yet
        desk.state.end(batch, 0, False, None, "it was cancelled before it was sent")
    elif batch.batch_id is not None:
        desk.api.cancel(batch.batch_id)
        if desk.api.get(batch.batch_id) is None:  # nobody will ever answer about it
            desk.state.end(batch, 0, False, None, "it was cancelled, and the server does not know it")
    settle(desk)
    return next(one for one in desk.state.batches() if one.id == batch.id)
