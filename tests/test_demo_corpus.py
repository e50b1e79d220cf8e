"""The demo corpus: the standard library's documentation, each object once, the same bytes every time."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from questions import QUESTIONS

from indexer.demo import main, write_corpus
from indexer.errors import SourceError

KNOWN = {
    "str.strip": {"module": "builtins", "kind": "method", "lines": 3},
    "dict.fromkeys": {"module": "builtins", "kind": "method", "lines": 1},
    "math.gcd": {"module": "math", "kind": "function", "lines": 1},
    "os.getcwd": {"module": "os", "kind": "function", "lines": 1},
    "random.choice": {"module": "random", "kind": "function", "lines": 1},
    "io.BytesIO": {"module": "io", "kind": "class", "lines": 1},
    "collections.abc.MutableSequence.pop": {"module": "collections.abc", "kind": "method", "lines": 2},
    "textwrap": {"module": "textwrap", "kind": "module", "lines": 1},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "corpus.jsonl"
    write_corpus(path)
    return path


@pytest.fixture(scope="module")
def items(corpus: Path) -> list[dict[str, Any]]:
    with corpus.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def by_id(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in items}


def test_the_standard_library_has_several_thousand_items(items):
    assert len(items) > 5000
    assert {item["kind"] for item in items} == {"module", "class", "function", "method"}


def test_ids_are_unique_and_sorted(items):
    ids = [item["id"] for item in items]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("id", KNOWN)
def test_a_known_object_is_described_exactly(by_id, id):
    assert {k: v for k, v in by_id[id].items() if k not in ("id", "text")} == KNOWN[id]


@pytest.mark.parametrize(
    ("id", "start"),
    [
        ("str.strip", "str.strip(chars=None, /)\n\nReturn a copy of the string with leading"),
        ("dict.fromkeys", "dict.fromkeys(iterable, value=None, /)\n\nCreate a new dictionary"),
        ("textwrap.dedent", "textwrap.dedent(text)\n\nRemove any common leading whitespace"),
        ("pathlib.Path.cwd", "pathlib.Path.cwd()\n\nReturn a new path"),
        ("fractions.Fraction.from_float", "fractions.Fraction.from_float(f)\n\n"),
        ("tempfile.TemporaryDirectory", "tempfile.TemporaryDirectory(suffix=None, prefix=None, dir=None, "),
        ("threading.Thread.name", "threading.Thread.name\n\nA string used for identification"),
    ],
)
def test_a_text_is_the_name_the_signature_without_self_and_the_docstring(by_id, id, start):
    assert by_id[id]["text"].startswith(start)


def test_every_text_begins_with_the_items_name(items):
    assert all(re.match(re.escape(item["id"]) + r"(\(.*\))?\n\n\S", item["text"]) for item in items)


def test_every_item_counts_the_lines_of_its_docstring(items):
    assert all(
        item["lines"] == item["text"].partition("\n\n")[2].count("\n") + 1 and item["text"].strip() for item in items
    )


def test_no_name_is_private(items):
    assert not [item["id"] for item in items if any(part.startswith("_") for part in item["id"].split("."))]
    assert not [item["id"] for item in items if "._" in f".{item['module']}"]


def test_no_text_holds_the_address_of_an_object_or_the_path_of_this_interpreter(items):
    assert not [item["id"] for item in items if re.search(r" at 0x[0-9A-Fa-f]", item["text"])]
    assert not [item["id"] for item in items if sys.executable in item["text"]]


@pytest.mark.parametrize("alias", ["secrets.choice", "posixpath.join", "posix.getcwd", "IOError", "builtins.str"])
def test_an_object_known_under_several_names_appears_under_its_home_only(by_id, alias):
    assert alias not in by_id


def test_what_a_class_inherits_from_a_public_class_is_not_repeated(by_id):
    assert "bool.bit_length" not in by_id
    assert "int.bit_length" in by_id


def test_what_a_class_inherits_from_a_private_class_is_its_own(by_id):
    assert "argparse.ArgumentParser.add_argument" in by_id
    assert "contextlib.ExitStack.enter_context" in by_id


@pytest.mark.parametrize("left_out", ["test", "idlelib", "lib2to3", "turtledemo", "antigravity", "this"])
def test_tests_applications_and_jokes_are_left_out(items, left_out):
    assert not [item["id"] for item in items if left_out in item["module"].split(".")]


def test_every_question_names_an_item(by_id):
    assert [id for _, id in QUESTIONS if id not in by_id] == []


def test_a_second_run_writes_the_same_bytes_and_returns_the_number_of_items(corpus, items, tmp_path):
    again = tmp_path / "again.jsonl"
    assert write_corpus(again) == len(items)
    assert again.read_bytes() == corpus.read_bytes()
    assert list(tmp_path.iterdir()) == [again]


def test_writing_the_corpus_imports_nothing_into_our_own_process(tmp_path):
    before = set(sys.modules)
    write_corpus(tmp_path / "corpus.jsonl")
    assert set(sys.modules) == before


def test_of_some_modules_the_same_lines_are_written_and_no_others(items, tmp_path):
    some = tmp_path / "some.jsonl"
    assert write_corpus(some, ("builtins", "textwrap")) > 300
    lines = [json.loads(line) for line in some.read_text(encoding="utf-8").splitlines()]
    assert lines == [item for item in items if item["module"] in ("builtins", "textwrap")]


def test_a_folder_that_is_missing_is_said_and_leaves_nothing_behind(tmp_path):
    with pytest.raises(SourceError, match=r"could not be written to .*No such file or directory"):
        write_corpus(tmp_path / "missing" / "corpus.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_keeps_the_corpus_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "corpus.jsonl"
    path.write_text("the old corpus\n", encoding="utf-8")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SourceError, match=r"ended with 1; run it by hand"):
        write_corpus(path)
    assert path.read_text(encoding="utf-8") == "the old corpus\n"
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_file_name_the_command_says_what_is_missing(capsys):
    assert main([]) == 2
    assert "python -m indexer.demo OUT.jsonl [MODULE]..." in capsys.readouterr().err


def test_a_module_of_which_nothing_is_documented_is_named_and_nothing_is_written(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("the old corpus\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"ended with 2; .*Nothing is documented in _io, jsn: name public modules"):
        write_corpus(path, ("json", "jsn", "_io"))
    assert path.read_text(encoding="utf-8") == "the old corpus\n"
    assert list(tmp_path.iterdir()) == [path]
