"""Do the sample documents answer questions, as whoever tries the containers will ask some?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from service_support import Run, process

pytest_plugins = ["service_fixtures"]

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents, indexed with the settings of the container."""
    here = tmp_path_factory.mktemp("documents")
    settings = ("--config", str(ROOT / "docker" / "parecido.toml"), "--collection", "documents")
    done = process(here, "index", str(ROOT / "documents"), *settings, "--store", "store", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert 12 <= report["items"]["added"] <= 20
    assert report["items"]["rejected"] == 0
    return here / "store"


@pytest.mark.parametrize(
    ("question", "id"),
    [
        ("my bike has a flat tyre", "household/bicycle-puncture.md"),
        ("how do I save energy in winter", "household/heating-costs.md"),
        ("wine spilled on my shirt", "household/stains.md"),
        ("what to bake this weekend", "kitchen/sourdough.md"),
        ("animals that eat my salad", "garden/slugs.md"),
        ("hurting spine from office work", "health/back-pain.md"),
        ("put money aside", "money/household-budget.md"),
        ("birds that migrate", "nature/swifts.md"),
    ],
)
def test_a_question_finds_the_text_that_answers_it_first(run: Run, store: Path, question: str, id: str) -> None:
    answer = json.loads(run("search", "documents", question, "--store", str(store), "--json").stdout)
    assert answer["hits"][0]["id"] == id


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        ({"topic": "health", "minutes": {"$lt": 20}}, ["health/back-pain.md"]),
        ({"tags": {"$contains": "repair"}}, ["crafts/darning.md", "household/bicycle-puncture.md"]),
        ({"updated": {"$gte": "2025-11-15"}}, ["crafts/darning.md"]),
    ],
)
def test_the_front_matter_can_be_filtered_by(run: Run, store: Path, filter: dict[str, object], ids: list[str]) -> None:
    asked = ("search", "documents", "things to mend", "--filter", json.dumps(filter), "--store", str(store), "--json")
    assert sorted(hit["id"] for hit in json.loads(run(*asked).stdout)["hits"]) == ids
