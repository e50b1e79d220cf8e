"""Is what is put aside there again as one batch, and not held until then?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import STATM, own_memory

from indexer.aside import Aside
from indexer.errors import StorageError

SCHEMA = pa.schema([pa.field("number", pa.uint64(), nullable=False), pa.field("hash", pa.binary(16))])


def batch(first: int, count: int) -> pa.RecordBatch:
    hashes = [number.to_bytes(16) for number in range(first, first + count)]
    return pa.record_batch([pa.array(np.arange(first, first + count, dtype=np.uint64)), pa.array(hashes)], SCHEMA)


@pytest.mark.parametrize("counts", [[], [0], [7], [3, 0, 5], [1] * 40])
def test_many_batches_are_one_in_their_order(tmp_path: Path, counts: list[int]) -> None:
    aside, first = Aside(tmp_path / "aside", SCHEMA), 0
    for count in counts:
        aside.add(batch(first, count))
        first += count
    whole = aside.whole()
    assert (whole.schema, whole["number"].to_pylist()) == (SCHEMA, list(range(first)))
    assert whole["hash"].to_pylist() == [number.to_bytes(16) for number in range(first)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not STATM.exists(), reason="the system does not tell how much memory there is")
def test_what_is_put_aside_is_not_held(tmp_path: Path) -> None:
    aside, one = Aside(tmp_path / "aside", SCHEMA), batch(0, 50_000)
    aside.add(one)
    before = own_memory()
    for _ in range(50):
        aside.add(one)
    assert 50 * one.nbytes > 50_000_000
    assert own_memory() - before < 5_000_000
    assert aside.whole().num_rows == 51 * 50_000


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    aside = Aside(tmp_path / "aside", SCHEMA)
    aside.add(batch(0, 3))
    (tmp_path / "aside").unlink()
    with pytest.raises(StorageError, match=r"Cannot read '.*aside'"):
        aside.whole()
