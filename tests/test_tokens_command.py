"""Can a person see what a model sees of a text, and what it costs?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from service_support import Run, environment, process

from indexer import prices
from indexer.chunking import document_chunker
from indexer.config import PassageSettings
from indexer.models import Model
from indexer.models.openai_tokens import OpenAITokenizer, original
from service.cli import main

pytest_plugins = ["service_fixtures"]

FOLDER = Path(sys.prefix) / "share" / "tiktoken"
SMALL = "openai:text-embedding-3-small"
LONG = " ".join(f"Paragraph {n}. " + "Plants store water in stems and leaves. " * 20 for n in range(80))


@pytest.fixture(autouse=True)
def _vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(FOLDER))


def answer(run: Run, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("tokens", "--json", *arguments).stdout)
    return found


def test_an_openai_model_sees_ids_and_pieces_and_its_price_stands_first(run: Run) -> None:
    found = answer(run, "tiktoken is great! 🜁", "--model", SMALL)
    sizes = [found[name] for name in ("tokens", "special", "words", "characters", "bytes", "window")]
    assert sizes == [9, 0, 4, 20, 23, 8191]
    assert found["pieces"][:3] == [[83, "t"], [1609, "ik"], [5963, "token"]]
    assert found["pieces"][6:] == [[11410, r" \xf0\x9f"], [250, r"\x9c"], [223, r"\x81"]]
    assert found["passages"] == [{"start": 0, "end": 20, "tokens": 9}]
    assert not found["estimated"]
    assert [(one["model"], one["nano_dollars"], one["batch_nano_dollars"]) for one in found["prices"]] == [
        (SMALL, 180, 90),
        ("openai:text-embedding-3-large", 1170, 585),
        ("openai:text-embedding-ada-002", 900, 450),
    ]
    said = run("tokens", "tiktoken is great! 🜁", "--model", SMALL).stdout
    assert f"{SMALL}: 9 tokens, 4 words, 20 characters, 23 bytes\n  not split" in said
    assert r"83 't'  1609 'ik'  5963 'token'  374 ' is'  2294 ' great'  0 '!'  11410 ' \xf0\x9f'  250 '\x9c'" in said
    assert "$0.00000018  $0.00000009" in said
    assert "estimated" not in said


def test_a_local_model_has_its_own_tokens_and_costs_nothing(run: Run, model: Model) -> None:
    found = answer(run, "Plants store water")
    assert found["model"] == "all-MiniLM-L6-v2"
    assert [tuple(piece) for piece in found["pieces"]] == model.tokenizer.pieces("Plants store water")
    assert [(piece, id) for id, piece in found["pieces"]][:2] == [("[CLS]", 101), ("plants", 4264)]
    assert (found["tokens"], found["special"], found["window"]) == (3, 2, 256)
    assert [one["nano_dollars"] for one in found["prices"]] == [0, 80, 520, 400]


def test_a_long_text_is_split_where_indexing_splits_it(run: Run, model: Model, here: Path) -> None:
    (here / "long.txt").write_text(LONG, encoding="utf-8")
    found = answer(run, "--file", "long.txt")
    spans = document_chunker(model, PassageSettings()).split(LONG)
    assert [(one["start"], one["end"], one["tokens"]) for one in found["passages"]] == [tuple(span) for span in spans]
    assert found["prices"][0]["tokens"] == sum(span.tokens for span in spans) > found["tokens"]
    said = run("tokens", "--file", "long.txt").stdout
    assert f"split into {len(spans)} passages, for the model reads 256 tokens at once:" in said
    assert f"    [0:{spans[0].end}] {spans[0].tokens} tokens\n" in said
    assert f"and {len(spans) - 10} more" in said
    assert "and more, after these 100" in said


def test_a_text_that_fits_costs_its_tokens_and_one_that_does_not_what_is_sent(run: Run, here: Path) -> None:
    (here / "long.txt").write_text(LONG, encoding="utf-8")
    found, counter = answer(run, "--file", "long.txt", "--model", SMALL), OpenAITokenizer(SMALL, FOLDER)
    assert found["tokens"] == counter.count(LONG)
    passages = [LONG[one["start"] : one["end"]] for one in found["passages"]]
    assert len(passages) == 2
    sent = sum(map(counter.count, passages))
    assert [one["tokens"] for one in found["prices"]] == [sent] * 3
    assert found["prices"][0]["nano_dollars"] == sent * 20
    assert original("".join(piece for _, piece in found["pieces"])).decode() == LONG


def test_a_number_of_words_is_about_a_third_more_tokens_and_training_on_it_has_a_price(run: Run) -> None:
    one = run("tokens", "--words", "1084170", "--epochs", "1", "--price-per-million", "8", "--model", SMALL).stdout
    assert "1,445,560 tokens estimated, 1,084,170 words" in one
    assert "1 pass over 1,445,560 tokens at $8 a million: $11.56 estimated" in one
    assert "$0.029 estimated  $0.014 estimated" in one
    four = run("tokens", "--words", "1084170", "--epochs", "4", "--price-per-million", "8").stdout
    assert "4 passes over 1,445,560 tokens at $8 a million: $46.26 estimated" in four
    found = answer(run, "--words", "1084170", "--epochs", "4", "--price-per-million", "8.0")
    assert found["training"] == {
        "tokens": 1_445_560, "epochs": 4, "price_per_million": "8.0", "nano_dollars": 46_257_920_000, "estimated": True,
    }  # fmt: skip
    assert [found[name] for name in ("characters", "bytes", "passages", "pieces")] == [None] * 4


def test_training_on_a_text_that_was_counted_is_exact(run: Run) -> None:
    training = answer(run, "hello world", "--model", SMALL, "--price-per-million", "25")["training"]
    assert (training["tokens"], training["epochs"], training["nano_dollars"]) == (2, 1, 50_000)
    assert not training["estimated"]


def test_without_the_vocabulary_every_figure_of_tokens_says_that_it_is_estimated(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(here))
    (here / "long.txt").write_text(LONG, encoding="utf-8")
    for arguments in (("x" * 400, "--price-per-million", "8"), ("--file", "long.txt")):
        found = answer(run, *arguments, "--model", SMALL)
        assert found["estimated"]
        assert all(one["estimated"] for one in found["prices"])
        assert found["pieces"] is None
        assert "TIKTOKEN_CACHE_DIR" in found["pieces_unknown"]
        for line in run("tokens", *arguments, "--model", SMALL).stdout.splitlines():
            assert ("$" not in line and "] " not in line) or "estimated" in line
    assert answer(run, "x" * 401, "--model", SMALL)["tokens"] == 101
    assert [path.name for path in here.iterdir() if len(path.name) == 40] == []


def test_of_a_model_that_nobody_knows_price_window_and_tokens_are_unknown_until_configured(
    run: Run, here: Path
) -> None:
    found = answer(run, "hello world", "--model", "openai:own")
    assert (found["estimated"], found["window"], found["passages"], found["pieces"]) == (True, None, None, None)
    first = found["prices"][0]
    assert (first["model"], first["nano_dollars"], first["batch_nano_dollars"]) == ("openai:own", None, None)
    said = run("tokens", "hello world", "--model", "openai:own").stdout
    assert re.search("^openai:own +2 estimated +unknown +unknown$", said, re.MULTILINE)
    assert 'set window in [models."openai:own"]' in said
    (here / "parecido.toml").write_text('[models."openai:own"]\nwindow = 512\nprice_per_million = 1\n')
    found = answer(run, "hello world", "--model", "openai:own")
    assert (found["window"], len(found["passages"])) == (512, 1)
    assert found["prices"][0]["nano_dollars"] == 2000
    assert "openai:own" in [one["model"] for one in answer(run, "hello world")["prices"]]


def test_text_comes_from_the_standard_input_and_from_files_with_a_byte_order_mark(run: Run, here: Path) -> None:
    piped = CliRunner().invoke(main, ["tokens", "-", "--json", "--model", SMALL], input="hello wörld".encode())
    assert json.loads(piped.stdout)["characters"] == 11
    (here / "bom.txt").write_bytes(b"\xef\xbb\xbfhello")
    assert answer(run, "--file", "bom.txt")["characters"] == 5
    assert answer(run, " \n ")["passages"] == answer(run, "", "--model", SMALL)["passages"] == []


def test_what_is_in_a_text_does_nothing_to_a_terminal(run: Run) -> None:
    said = run("tokens", "red \x1b[31m\n\ttext \u202e", "--model", SMALL).stdout
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert r"\x1b" in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Give one of TEXT, --file and --words"),
        (("a", "--words", "3"), 2, "Give one of TEXT, --file and --words"),
        (("a", "--epochs", "2"), 2, "give --price-per-million too"),
        (("a", "--price-per-million", "nan"), 2, "'nan' is no number of dollars"),
        (("a", "--price-per-million", "-1"), 2, "'-1' is no number of dollars"),
        (("a", "--price-per-million", "much"), 2, "'much' is no number of dollars"),
        (("--words", "-1"), 2, "-1"),
        (("--file", "latin.txt"), 4, "'latin.txt' is not UTF-8: byte 3 is 0xe9"),
        (("--file", "none.txt"), 4, "'none.txt' cannot be read: No such file"),
        (("a", "--model", "text-embedding-3-small"), 2, "write 'openai:text-embedding-3-small'"),
        (("a\udce9",), 2, "TEXT is not UTF-8"),
    ],
)
def test_a_mistake_is_said(run: Run, here: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    (here / "latin.txt").write_bytes("café".encode("latin-1"))
    assert said in run("tokens", *arguments, code=code).stderr


def test_prices_that_are_old_are_warned_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "OLD_AFTER_DAYS", -(10**6))
    result = run("tokens", "a", "--json")
    assert "look them up" in result.stderr
    assert json.loads(result.stdout)["tokens"] == 1


def test_no_model_is_loaded_where_its_files_tell(here: Path) -> None:
    program = """
import sys
from service.cli import main
main(["tokens", "hello"], standalone_mode=False)
print(sorted({"torch", "sentence_transformers", "transformers", "faiss"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=here, env=environment(), capture_output=True, text=True)
    assert done.stderr == "[]\n"
    assert "7592 'hello'" in done.stdout


def test_the_installed_command_works(here: Path) -> None:
    done = process(here, "tokens", "hello", "--model", SMALL, TIKTOKEN_CACHE_DIR=str(FOLDER))
    assert "15339 'hello'" in done.stdout
