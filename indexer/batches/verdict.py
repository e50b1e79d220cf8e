"""May a run publish while texts are with the Batch API?

A source changes while a batch is pending, so that with every run some texts are new; a run that waited for all of them
would never publish. What is owed is waited for: texts that were sent by an earlier run, or that failed and are sent
again. What is late, sent first by a run that picks up others, is not.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Standing:
    """The texts that a run needs and has no vector of."""

    picked_up: int = 0
    """That came back since the last publication, and are no longer missing."""
    under_way: int = 0
    """That the Batch API has since before."""
    again: int = 0
    """That it had, and that failed."""
    new: int = 0
    """That were never sent."""

    @property
    def owed(self) -> int:
        """Without which nothing is published."""
        return self.under_way + self.again


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run does about the texts that are missing."""

    sends: bool
    """Whether what is not with the Batch API yet is sent there."""
    publishes: bool
    """What is not sent and not with the API already is then embedded at once; what is waits, with its item."""
    pending: int
    """Texts that are needed and with the API then."""
    reason: str
    """Why it publishes nothing, or not all; empty where it does."""


def verdict(found: Standing, *, batch: bool, everything: bool) -> Verdict:
    """Decide; `batch` is whether texts are to be sent in batches, `everything` whether every item is written again."""
    if found.owed:
        sent = found.owed + found.new if batch else found.under_way
        if not batch and not found.under_way:  # what has failed is embedded at once
            return Verdict(sends=False, publishes=True, pending=0, reason="")
        return Verdict(batch, False, sent, f"{_texts(sent)} with the Batch API; a later run picks them up")
    if not found.new or not batch:
        return Verdict(sends=False, publishes=True, pending=0, reason="")
    if not found.picked_up:
        return Verdict(True, False, found.new, f"{_texts(found.new)} with the Batch API; a later run picks them up")
    if everything:  # or else it would never come to an end
        return Verdict(sends=False, publishes=True, pending=0, reason="")
    return Verdict(True, True, found.new, f"{_texts(found.new)} that came later with the Batch API")


def _texts(count: int) -> str:
    return "1 text is" if count == 1 else f"{count:,} texts are"
