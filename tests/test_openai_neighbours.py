"""Do the packaged model on this machine and the same model behind an API find the same neighbours?

What Python's built-in types say of their methods, indexed with the one and with the other; the server gives the
packaged model's real vectors. Figures may differ by what the order of additions in a batch does to float32.
"""

from __future__ import annotations

import builtins
import inspect
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from behind_api import SMALL, providers
from openai_embeddings import EmbeddingModel
from openai_server import OpenAIServer
from support import Silent, settings_for, write_rows

from indexer import models
from indexer.build import build
from indexer.compare import Side, compare
from indexer.models import Model
from indexer.queries import Query, search
from indexer.snapshot import Snapshot, open_newest
from indexer.storage import collection_folder

TOLERANCE = 5e-6
DIMENSION = 384
QUERIES = ("remove blanks at both ends", "add one at the end of a list", "is it made of digits?", "raise to a power")


@dataclass(frozen=True)
class Indexed:
    """A collection and its model."""

    snapshot: Snapshot
    model: Model

    def similarities(self, query: Query) -> dict[str, float]:
        """Of every item, best first."""
        return {hit["id"]: hit["similarity"] for hit in search(self.snapshot, lambda: self.model, query)["hits"]}

    def compare(self, a: Side, b: Side) -> float:
        """How alike two are."""
        return compare(self.snapshot, lambda: self.model, a, b)["similarity"]


def texts() -> dict[str, str]:
    """The first paragraph of what each public method of the built-in types says of itself."""
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type) and kind.__module__ == "builtins"]
    found = {}
    for kind in kinds:
        for name, method in vars(kind).items():
            if not name.startswith("_") and (said := inspect.getdoc(method)):
                found[f"{kind.__name__}.{name}"] = said.partition("\n\n")[0]
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Iterator[tuple[Indexed, Indexed]]:
    """The same rows, indexed with the model on this machine and with the one behind the server."""
    folder = tmp_path_factory.mktemp("neighbours")
    source = write_rows(folder / "rows.jsonl", ({"id": id, "text": text} for id, text in texts().items()))
    served = {"text-embedding-3-small": EmbeddingModel(DIMENSION, model.embed_documents)}
    with OpenAIServer(served) as server:
        asked = providers(server, dimension=DIMENSION, in_flight=1)  # as one computes, two would only be in the way
        build(folder, "here", settings_for(source), Silent())
        build(folder, "there", settings_for(source, model=SMALL), Silent(), providers=asked)
        here, there = (open_newest(collection_folder(folder, name)) for name in ("here", "there"))
        yield Indexed(here, model), Indexed(there, models.load(there.generation.fingerprint, None, asked))


def assert_same(here: dict[str, float], there: dict[str, float]) -> None:
    """The same items with the same similarities, and so in the same order but for what is as good as equal."""
    assert there == pytest.approx(here, abs=TOLERANCE)
    in_order = [here[id] for id in there]
    assert all(after <= before + 2 * TOLERANCE for before, after in itertools.pairwise(in_order))
    assert next(iter(here)) == next(iter(there))


def test_both_hold_some_hundred_items_in_spaces_of_their_own(both: tuple[Indexed, Indexed]) -> None:
    here, there = (each.snapshot.generation for each in both)
    assert here.counts == there.counts
    assert here.counts.items > 200
    assert here.fingerprint != there.fingerprint
    assert json.dumps(there.fingerprint.to_json()).count("http://127.0.0.1") == 1


@pytest.mark.parametrize("text", QUERIES)
def test_a_query_by_text_finds_the_same_neighbours(both: tuple[Indexed, Indexed], text: str) -> None:
    here, there = (each.similarities(Query(text=text, limit=1000)) for each in both)
    assert_same(here, there)


@pytest.mark.parametrize("id", ["str.strip", "list.append", "int.bit_length"])
def test_a_query_by_item_finds_the_same_neighbours(both: tuple[Indexed, Indexed], id: str) -> None:
    here, there = (each.similarities(Query(id=id, limit=1000)) for each in both)
    assert_same(here, there)


def test_two_items_and_an_item_and_a_text_are_as_alike_in_both(both: tuple[Indexed, Indexed]) -> None:
    pairs = [
        (Side(id="str.strip"), Side(id="bytes.strip")),
        (Side(id="str.strip"), Side(text="Remove leading and trailing whitespace.")),
        (Side(text="sort in place"), Side(text="order the elements")),
    ]
    for a, b in pairs:
        here, there = (each.compare(a, b) for each in both)
        assert there == pytest.approx(here, abs=TOLERANCE)
        assert here > 0.3
