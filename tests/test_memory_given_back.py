"""Does what was freed go back to the system?"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from indexes import clustered, first_try
from support import STATM, own_memory

from indexer.ann import Aim, Passages, build, building
from indexer.memory import give_back
from indexer.storage import OutputFile

BYTES = 700
"""Of one piece, more than Python's own allocator takes."""


@pytest.mark.skipif(not STATM.exists(), reason="the system does not tell how much memory there is")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked")
def test_pieces_that_were_freed_between_others_take_no_memory_any_more() -> None:
    pieces: list[bytes] | list[bytes | None] = [bytes(BYTES) for _ in range(100_000)]
    before = own_memory()
    pieces = [piece if at % 100 == 99 else None for at, piece in enumerate(pieces)]
    give_back()
    assert own_memory() < before - 100_000 * BYTES // 2
    assert all(piece == bytes(BYTES) for piece in pieces[99::100])


@pytest.mark.skipif(not STATM.exists(), reason="the system does not tell how much memory there is")
def test_what_arrow_has_freed_takes_none_and_what_it_uses_stays() -> None:
    pieces = [pc.add(pa.array(np.full(20_000, at)), 1) for at in range(500)]
    give_back()  # what numpy has freed
    before = own_memory()
    pieces = pieces[::100]
    give_back()
    assert own_memory() < before - 40_000_000
    assert [piece[19_999].as_py() for piece in pieces] == [1, 101, 201, 301, 401]


@pytest.mark.skipif(not STATM.exists(), reason="the system does not tell how much memory there is")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked")
@pytest.mark.parametrize(("trial", "then"), [("_hopeless", "_empty"), ("measured", "_written")])
def test_what_a_trial_of_an_index_has_freed_takes_none_when_it_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trial: str, then: str
) -> None:
    first_try("hnsw", monkeypatch)
    held, seen = list[bytes](), list[int]()
    tried, gone_on = getattr(building, trial), getattr(building, then)

    def trying(*told: Any) -> Any:
        outcome = tried(*told)
        seen.append(own_memory())
        held.extend([bytes(BYTES) for _ in range(100_000)][99::100])
        return outcome

    def going_on(*told: Any) -> Any:
        seen.append(own_memory())
        return gone_on(*told)

    monkeypatch.setattr(building, trial, trying)
    monkeypatch.setattr(building, then, going_on)
    with OutputFile(tmp_path / "index") as file:
        assert build(Passages(clustered(np.random.default_rng(1), 1000)), Aim(0.8), file).kind == "hnsw"
    before, after = seen
    assert after < before + 100_000 * BYTES // 2
