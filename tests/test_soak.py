"""Twenty runs killed at random moments: what `make soak` does with two hundred, see `soak`."""

from __future__ import annotations

from pathlib import Path

from soak import Soak
from soaked import StandInSubject


def test_twenty_runs_killed_at_random_moments_leave_a_collection_that_answers_exactly(tmp_path: Path) -> None:
    soak = Soak(tmp_path, seed=3, subject=StandInSubject(tmp_path))
    soak.go(kills=20)
    assert soak.tally.kills.total() == 20, soak.summary()
