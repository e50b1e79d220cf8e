"""What does a run leave to the Batch API, and does it publish without it?

Before the source is read, what earlier runs have sent is picked up. Then the texts that are missing are counted and
the decision of `batches.verdict` is carried out: after the brake on money, for what is sent will be paid. A collection
whose mode is normal again has what is under way picked up and waited for, so that nothing is paid twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from indexer import models
from indexer.batches import committed, open_batches, settle, stage, wait, withheld
from indexer.batches.results import Desk
from indexer.batches.sending import Packing, intend
from indexer.batches.verdict import AT_ONCE, Verdict, verdict
from indexer.chunking import document_chunker
from indexer.errors import BrakeRefused, ConfigurationError, ModelUnavailable
from indexer.intake import Intake
from indexer.ledger import Entry
from indexer.meter import Meter, metered
from indexer.run import Run
from indexer.windows import needs

log = logging.getLogger("parecido")


@dataclass(slots=True)
class Batched:
    """The part of a run that goes through the Batch API."""

    run: Run
    desk: Desk
    store: Path
    deadline: float
    """By `time.monotonic`, until which it waits for batches."""
    entries: list[Entry] = field(default_factory=list)
    """What was paid for what it has picked up."""
    verdict: Verdict = AT_ONCE

    @property
    def wanted(self) -> bool:
        """Whether texts are to be sent in batches."""
        return self.run.settings.mode == "batch"

    def begin(self) -> None:
        """Pick up what earlier runs have sent, and wait for it where the run may wait.

        Raises ConfigurationError where the model is none of the API's. Where the API is not needed for the run itself,
        that it does not answer is only a warning.
        """
        through_api = self.run.fingerprint.provider == "openai"
        if self.wanted and not through_api:
            raise ConfigurationError(
                f'mode is "batch", but model {self.run.fingerprint.name!r} is not behind an API: set mode = "normal", '
                "or another model.",
                param="mode",
            )
        if self.run.fresh:
            self.desk.state.forgive(self.run.fingerprint)
        try:
            self._wait(self.deadline if through_api else 0.0)
        except ModelUnavailable as error:
            if through_api:
                raise
            log.warning("what is with the Batch API is left for later: %s", error.message)

    def decide(self, taken: Intake) -> Verdict:
        """Send what is missing, where that is to be done, and say whether the run publishes.

        Raises BrakeRefused where what would be sent is too dear.
        """
        if taken.to_write == 0 or not (self.wanted or open_batches(self.desk.state)):
            return self.verdict
        while True:
            self._turn(taken)
            picked_up = self.desk.state.count(self.run.fingerprint, "done")
            if not self.verdict.pending or time.monotonic() >= self.deadline:
                return self.verdict
            self._wait(self.deadline)
            if self.desk.state.count(self.run.fingerprint, "done") == picked_up:  # whatever fails would fail again
                return self.verdict

    def withheld(self, keys: Sequence[bytes]) -> Mapping[bytes, str | None]:
        """What the model is not asked for."""
        if not self.wanted:
            return {}
        return withheld(self.desk, self.run.fingerprint, keys, at_once=not self.verdict.sends)

    def meter(self) -> Meter:
        """What counts and stops what is asked for at once, at the normal rate."""
        meter = self._metered("normal")
        if self.verdict.pending and self.wanted:  # nothing is asked for at once, and nothing need be counted before
            meter = Meter(meter.bill, (), self.desk.paid)
        meter.include(self.entries)
        return meter

    def _turn(self, taken: Intake) -> None:
        """Count, decide and send, once."""
        run, desk = self.run, self.desk
        with run.watch.stage("model"):
            model = models.load(run.fingerprint, run.settings.device, run.providers)
            chunker = document_chunker(model, run.settings.passages)
        each = model.tokenizer.count(run.fingerprint.document_prompt) + model.tokenizer.special
        desk.state.forget_staged()
        packing = self._packing() if self.wanted else None
        with run.watch.stage("compare"):
            needed = needs(taken.pending(), run.fingerprint, chunker, run.reuse, desk.cache)
            found = stage(desk, run.fingerprint, needed, each, packing)
        self.verdict = verdict(found, batch=self.wanted, everything=taken.rebuild is not None)
        if packing is not None and self.verdict.sends:
            self._send(packing, model.tokenizer.exact)

    def _packing(self) -> Packing:
        run = self.run
        return Packing(self.desk.state, run.fingerprint, self.desk.api.server, run.providers, run.scratch)

    def _send(self, packing: Packing, exact: bool) -> None:
        meter = self._metered("batch")
        if meter.limited and (reason := meter.foresee(packing.tokens, exact)):
            self.desk.state.forget_staged()
            raise BrakeRefused(f"Nothing was sent or published: {reason}.", param="max_cost")
        with self.run.watch.stage("embed"):
            intend(self.desk.state, self.run.scratch, packing.batches)
            self.entries += settle(self.desk, packing.batches)

    def _wait(self, deadline: float) -> None:
        """Pick up what has ended, and until then what ends."""
        with self.run.watch.stage("embed"):
            late = time.monotonic() >= deadline
            self.entries += settle(self.desk) if late else wait(self.desk, deadline, self.run.progress)

    def _metered(self, mode: str) -> Meter:
        run, desk = self.run, self.desk
        settings = run.settings.model_copy(update={"mode": mode})
        ordered = committed(self.store, run.providers)
        return metered(desk.paid, run.folder.name, desk.run, settings, run.fingerprint, run.providers, ordered)
