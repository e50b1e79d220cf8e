"""Is an index as small as the collection's settings ask, and does it stay so when it is mended?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import Place, StandIn, flip

from indexer import config
from indexer.ann import IndexEntry, Kind, choice
from indexer.config import CollectionSettings
from indexer.describe import describe
from indexer.errors import ConfigurationError
from indexer.repair import repair
from indexer.segment import ANN, VECTORS

ROWS = [{"id": f"i{n}", "text": f"This is text {n}, unlike the others."} for n in range(700)]


@pytest.fixture
def place(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Seven hundred vectors of 16 dimensions are enough for a graph, of which the links take most."""
    monkeypatch.setattr(choice, "EXACT_NUMBERS", 1000)
    monkeypatch.setattr(choice, "GRAPH_VECTORS", 500)
    return Place(tmp_path)


def entry_of(place: Place) -> IndexEntry:
    (entry,) = place.snapshot.generation.segments
    assert entry.index is not None
    return entry.index


@pytest.mark.parametrize(
    ("budget", "kind", "reason"),
    [
        (4.8, "hnsw", "are many"),
        (4.6, "hnsw-sq8", "one of 8-bit codes is within the memory budget of 206,080 bytes"),
        (None, "pq", "takes more than the memory budget of 35,840 bytes"),
        (0.2, "pq", "takes more than the memory budget of 8,960 bytes"),
    ],
)
def test_the_quickest_index_that_the_budget_allows_is_built_and_says_why(
    place: Place, budget: float | None, kind: Kind, reason: str
) -> None:
    place.run(ROWS, **({} if budget is None else {"memory_budget": budget}))
    assert entry_of(place).kind == kind
    (told,) = describe(place.snapshot.generation)["recall"]["indexes"]
    assert reason in told["reason"]
    (segment,) = place.snapshot.generation.segments
    room = (budget or config.MEMORY_BUDGET) * segment.files[VECTORS].bytes
    assert segment.files[ANN].bytes < room + 10_000  # of which a file takes some whatever is in it


def test_another_budget_holds_for_what_is_written_from_then_on(place: Place) -> None:
    place.run(ROWS, memory_budget=4.8)
    assert not place.run(memory_budget=0.8).published
    assert entry_of(place).kind == "hnsw"
    place.run(rebuild=True, memory_budget=0.8)
    assert entry_of(place).kind == "pq"


def test_a_mended_index_keeps_to_the_budget_that_it_was_built_for(place: Place) -> None:
    place.run(ROWS, memory_budget=4.6)
    path = place.snapshot.folder.segments / place.snapshot.generation.segments[0].id / ANN
    flip(path, path.stat().st_size - 100)
    assert repair(place.snapshot.folder).mended == [path]
    assert (entry_of(place).kind, entry_of(place).memory_budget) == ("hnsw-sq8", 4.6)


@pytest.mark.parametrize("budget", [0, -0.1, 8.1, 500_000_000, "500 MB", float("nan")])
def test_a_budget_that_is_no_share_is_refused(tmp_path: Path, budget: Any) -> None:
    with pytest.raises(ValueError, match="memory_budget"):
        CollectionSettings(source=("x",), memory_budget=budget)
    path = tmp_path / "parecido.toml"
    value = f'"{budget}"' if isinstance(budget, str) else budget
    path.write_text(f'[collections.things]\nsource = "x"\nmemory_budget = {value}\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"collections\.things\.memory_budget: Input should be"):
        config.load(path, {})
