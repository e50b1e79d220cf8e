"""Two stand-ins for models, of different dimensions, and an oracle for each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from oracle import Oracle, assert_answers
from support import Place, StandIn

from indexer import models
from indexer.config import PassageSettings
from indexer.models import Fingerprint
from indexer.snapshot import Snapshot
from indexer.vectors import Vectors, normalise

QUERIES = ["a pet", "something to eat"]

Rows = list[dict[str, Any]]


class Other(StandIn):
    """Another model: longer vectors, and other ones."""

    fingerprint = Fingerprint("test", "other", "0", 24, "", "", "hash", normalised=True)

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        """One row a text."""
        seeds = [int.from_bytes(hashlib.sha256(f"other {text}".encode()).digest()[:8], "big") for text in texts]
        return normalise([np.random.default_rng(seed).standard_normal(24) for seed in seeds])


class Models:
    """Has both models in place of real ones; a model is loaded by its fingerprint alone, whatever is configured."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.first, self.other = StandIn(), Other()
        self.configured: StandIn = self.first
        self._known = {model.fingerprint: model for model in (self.first, self.other)}
        self._oracles: dict[Fingerprint, Oracle] = {}
        for fingerprint, model in self._known.items():
            self._oracles[fingerprint] = Oracle()
            self._oracles[fingerprint].model = model
        patch.setattr(models, "identify", lambda *_: self.configured.fingerprint)
        patch.setattr(models, "load", lambda fingerprint, *_: self._known[fingerprint])

    def oracle(self, fingerprint: Fingerprint) -> Oracle:
        """What brute force with that model finds."""
        return self._oracles[fingerprint]


@dataclass(frozen=True)
class Expected:
    """What a generation must hold, and how it must have been made."""

    rows: Rows
    passages: PassageSettings
    model: StandIn

    def hold(self, models_: Models, snapshot: Snapshot) -> None:
        """See that the snapshot holds exactly these rows and answers as they do, by that model."""
        assert snapshot.generation.fingerprint == self.model.fingerprint
        assert snapshot.generation.passages == self.passages
        items = {row["id"]: (row["text"], {"n": row["n"]}) for row in self.rows}
        assert_answers(snapshot, items, models_.oracle(self.model.fingerprint), QUERIES, self.passages)


def run(place: Place, models_: Models, rows: Rows, passages: PassageSettings = PassageSettings()) -> Expected:  # noqa: B008 – frozen
    """Index the rows with the configured model; returns what must be current then."""
    assert place.run(rows, passages=passages).published
    return Expected(rows, passages, models_.configured)
