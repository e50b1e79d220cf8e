"""Does the demo index a real corpus, find what people ask for, and embed nothing twice?

The real model sees the tenth that `--quick` leaves, in which all answers are; the whole goes through a stand-in.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from questions import QUESTIONS
from support import StandIn

from indexer import models
from indexer.demo import QUICK
from indexer.models import Model
from indexer.queries import Query, search
from indexer.snapshot import Snapshot, open_newest
from indexer.storage import collection_folder
from service.cli import main


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def first_run(store: Path) -> str:
    return ask(store)


@pytest.fixture(scope="module")
def snapshot(store: Path, first_run: str) -> Snapshot:
    return open_newest(collection_folder(store, "python"))


@pytest.fixture(scope="module")
def model(snapshot: Snapshot) -> Callable[[], Model]:
    return functools.cache(lambda: models.load(snapshot.generation.fingerprint))


def ask(store: Path) -> str:
    parecido = Path(sys.executable).with_name("parecido")
    done = subprocess.run(
        [parecido, "demo", "--quick", "--ask", "--store", store], cwd=store, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_demo_asks_three_questions_and_prints_what_it_finds(first_run: str) -> None:
    answers = first_run.split("\n\n")[1:]
    assert len(answers) == 3
    question, first_hit = answers[0].splitlines()[:2]
    assert question == "strip whitespace from both ends of a string?"
    assert first_hit.split()[1] == "str.strip"


def test_the_quick_corpus_is_hundreds_of_items_of_the_running_python(snapshot: Snapshot) -> None:
    assert snapshot.generation.counts.items > 500
    (part,) = snapshot.segments
    assert {part.segment.metadata(row)["module"] for row in range(part.segment.entry.items)} == set(QUICK)
    found = snapshot.find("textwrap.dedent")
    assert found is not None
    text = found.segment.text(found.row)
    assert text is not None
    assert text.startswith("textwrap.dedent(text)\n\nRemove any common leading whitespace")
    metadata = found.segment.metadata(found.row)
    assert (metadata["module"], metadata["kind"]) == ("textwrap", "function")


@pytest.mark.parametrize(("question", "id"), QUESTIONS)
def test_a_question_finds_its_answer_among_the_first_three(
    snapshot: Snapshot, model: Callable[[], Model], question: str, id: str
) -> None:
    hits = search(snapshot, model, Query(text=question, limit=3))["hits"]
    assert id in [hit["id"] for hit in hits]


def test_stripping_a_string_finds_str_strip_first(snapshot: Snapshot, model: Callable[[], Model]) -> None:
    (hit,) = search(snapshot, model, Query(text="strip whitespace from both ends of a string", limit=1))["hits"]
    assert hit["id"] == "str.strip"


def test_a_second_demo_embeds_nothing_again(store: Path, first_run: str) -> None:
    again = ask(store)
    assert "generation 1 still current (nothing changed)" in again
    assert "; 0 of " in again


def test_the_whole_is_several_thousand_items_and_may_follow_or_precede_the_quick_look(
    tmp_path: Path, stand_in: StandIn
) -> None:
    def items(*arguments: str) -> int:
        done = CliRunner().invoke(main, ["demo", "--ask", *arguments, "--store", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return open_newest(collection_folder(tmp_path, "python")).generation.counts.items

    quick = items("--quick")
    assert 5000 < items() > 5 * quick
    assert items("--quick") == quick
