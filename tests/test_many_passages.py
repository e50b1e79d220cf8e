"""Is a query of many passages answered in memory that does not grow with how many it has?"""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from indexes import Judge, clustered, first_try, members
from support import prepared, publish_items

from indexer.ann import Kind
from indexer.search import Asked, nearest

LONG, OTHERS = 700, 12_000
MOST_MEMORY = 16 << 20
"""Bytes; one figure each for all passages of the long item beside all others would take twice that."""


@pytest.mark.parametrize("kind", ["exact", "pq", "hnsw"])
@pytest.mark.parametrize("exact", [False, True])
def test_an_item_as_long_as_a_book_is_compared_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, exact: bool
) -> None:
    first_try(kind, monkeypatch)
    rng = np.random.default_rng(1)
    items = [prepared("book", clustered(rng, LONG)), *members(rng, OTHERS)]
    snapshot = publish_items(tmp_path, [items], recall=0.95)
    asked = Asked(items[0].vectors, 20, exact=exact)
    nearest(snapshot, Asked(items[0].vectors[:1], 20))
    own = snapshot.find("book")
    tracemalloc.start()
    page = nearest(snapshot, asked)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_MEMORY
    expected = Judge(items).expected(items[0].vectors, lambda _: True)[:20]
    found = [(hit.segment.id(hit.row), hit.similarity) for hit in page]
    if exact or kind == "exact":
        assert found == expected
    else:
        assert sum(similarity >= expected[-1][1] for _, similarity in found) >= 18
    others = nearest(snapshot, Asked(items[0].vectors, 20, exclude=own, exact=exact))
    assert [hit[0].id(hit[1]) for hit in others] == [id for id, _ in found[1:]] + [others[-1][0].id(others[-1][1])]
