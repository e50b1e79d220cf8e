"""Does what was freed go back to the system?"""

from __future__ import annotations

import platform

import pyarrow as pa
import pytest
from support import STATM, own_memory

from indexer.memory import give_back

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


def test_what_arrow_still_uses_stays() -> None:
    whole = pa.array(range(1_000_000))
    give_back()
    assert (whole[0].as_py(), whole[999_999].as_py()) == (0, 999_999)
