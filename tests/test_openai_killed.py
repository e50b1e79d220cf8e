"""A few runs killed while they pay for vectors: what `make soak` does with fifty, see `soak_openai`."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak_openai import MODES, soak


@pytest.mark.parametrize("mode", MODES)
def test_runs_killed_at_random_moments_lose_nothing_and_pay_again_only_for_what_was_in_flight(
    tmp_path: Path, mode: str
) -> None:
    soak(tmp_path, kills=6, seed=2, mode=mode)
