"""Is a collection of a few long items searched soon, and as rightly as others?

There, an index and a scan alike give passages of few items, however many of them are fetched.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from indexes import Judge, clustered, first_try, measure_with, members
from support import prepared, publish_items, random_vectors

from indexer.ann import Kind, Plan, Proposal, building
from indexer.candidates import Part
from indexer.filters.tree import OneOf
from indexer.search import Asked, nearest
from indexer.segment import Prepared
from indexer.together import nearest_each
from indexer.vectors import Vectors, normalise, similarity

BOOKS, PASSAGES = 8, 400


def books(rng: np.random.Generator) -> list[Prepared]:
    """Items of hundreds of passages, of which some are in several places."""
    vectors = clustered(rng, BOOKS * PASSAGES)
    vectors[PASSAGES::7] = vectors[0]
    vectors[3::11] = normalise(vectors[3::11] + 1e-4 * random_vectors(rng, len(vectors[3::11]), vectors.shape[1]))
    return [prepared(f"b{at}", vectors[at * PASSAGES : (at + 1) * PASSAGES]) for at in range(BOOKS)]


@pytest.mark.parametrize("names", [None, ("b1", "b2", "b3", "b5")], ids=["all", "filtered"])
@pytest.mark.parametrize("own", [None, "b5"], ids=["all", "but one"])
@pytest.mark.parametrize("kind", ["exact", "pq", "hnsw"])
def test_every_one_of_a_few_long_items_is_found_in_a_few_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, own: str | None, names: tuple[str, ...] | None
) -> None:
    first_try(kind, monkeypatch)
    rng = np.random.default_rng(1)
    items = books(rng)
    snapshot = publish_items(tmp_path, [items], deleted=["b3"], recall=0.95)
    (segment,) = snapshot.generation.segments
    assert segment.index is not None
    assert segment.index.kind == kind
    looks: list[object] = []
    proposed = Part._proposed

    def looked(self: Part, queries: Vectors, plan: Plan) -> Proposal:
        looks.append(plan)
        return proposed(self, queries, plan)

    monkeypatch.setattr(Part, "_proposed", looked)
    counting = {one.item.id for one in items if names is None or one.item.id in names} - {"b3", own}
    queries = [*random_vectors(rng, 5, items[0].vectors.shape[1])[:, None], items[0].vectors[:1], items[5].vectors[7:8]]
    tree, exclude = names and OneOf("id", names), snapshot.find(own) if own else None
    asked = [Asked(query, 10, filter=tree or None, exclude=exclude) for query in queries]
    pages = []
    for one in asked:
        looks.clear()
        pages.append(nearest(snapshot, one))
        assert len(looks) <= 5
    assert nearest_each(snapshot, asked) == pages
    judge = Judge(items)
    for one, page in zip(asked, pages, strict=True):
        expected = judge.expected(one.vectors, lambda item: item.item.id in counting)
        assert [(hit.segment.id(hit.row), hit.similarity) for hit in page] == expected
        for hit in page:
            scores = similarity(one.vectors, items[int(hit.segment.id(hit.row)[1:])].vectors)[0]
            best = hit.segment.passages_of(hit.row).start + int(scores.argmax())
            assert hit.passage == best, "the first of its best passages"


@pytest.mark.parametrize("count", [1, 4, 6, BOOKS])
@pytest.mark.parametrize("kind", ["pq", "hnsw"])
def test_items_too_few_to_measure_an_index_with_are_searched_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, count: int
) -> None:
    first_try(kind, monkeypatch)
    measure_with(50, monkeypatch)
    items = books(np.random.default_rng(1))[:count]
    monkeypatch.setattr(building, "_tried", None)  # none is built for nothing
    snapshot = publish_items(tmp_path, [items], recall=0.95)
    (segment,) = snapshot.generation.segments
    assert segment.index is not None
    assert (segment.index.kind, segment.index.ladder) == ("exact", ())
    assert segment.index.reason == f"{count} items are too few to measure another index with"
    query = items[0].vectors[:1]
    found = [(hit.segment.id(hit.row), hit.similarity) for hit in nearest(snapshot, Asked(query, 10))]
    assert found == Judge(items).expected(query, lambda _: True)


def test_a_query_of_several_passages_finds_every_one_of_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    long, short = books(rng), members(rng, 3, first=10)
    snapshot = publish_items(tmp_path, [long, short])
    for query in (long[2].vectors[:30], random_vectors(rng, 3, long[0].vectors.shape[1])):
        best = [(-float(similarity(query, one.vectors).max()), one.item.id) for one in [*long, *short]]
        page = nearest(snapshot, Asked(query, 8))
        assert [(-hit.similarity, hit.segment.id(hit.row)) for hit in page] == sorted(best)[:8]
