"""Are the tokens of OpenAI's models counted as OpenAI does, without ever fetching anything?"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from indexer.chunking import Chunker
from indexer.errors import ModelUnavailable
from indexer.models import Tokenizer, openai_tokens
from indexer.models.openai_tokens import VOCABULARY, OpenAITokenizer, original, readable, vocabulary

FOLDER = Path(sys.prefix) / "share" / "tiktoken"
MODEL = "openai:text-embedding-3-small"
EXACT: Tokenizer = OpenAITokenizer(MODEL, FOLDER)
ABOUT: Tokenizer = OpenAITokenizer(MODEL, None)

SPECIAL = ("<|endoftext|>", "<|fim_prefix|>", "<|endofprompt|>")
WORDS = st.sampled_from(
    [*SPECIAL, " ", "  ", "\n", "\n\n", "\r\n", "\t", "'s", "'LL", "a", "word", " word", "1234567", "_", ".", "日本語",
     "é", "👩‍👩‍👧", "ﬁ", "e\u0301", "\u3000", "\u200d"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.lists(WORDS, max_size=40).map("".join)
)  # fmt: skip


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whom anything would have connected to."""
    asked: list[Any] = []

    def refuse(self: socket.socket, address: Any) -> None:
        asked.append(address)
        raise OSError("offline")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    vocabulary.cache_clear()
    return asked


@pytest.fixture(scope="module")
def theirs() -> Iterator[tiktoken.Encoding]:
    """The encoding as tiktoken makes it by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(FOLDER))
        yield tiktoken.encoding_for_model("text-embedding-3-small")


def test_known_texts_have_known_tokens() -> None:
    assert EXACT.pieces("tiktoken is great!") == [
        (83, "t"), (1609, "ik"), (5963, "token"), (374, " is"), (2294, " great"), (0, "!"),
    ]  # fmt: skip
    assert EXACT.exact
    assert EXACT.special == 0
    assert EXACT.count("") == 0


@given(TEXTS)
def test_tokens_are_those_of_tiktoken_itself(theirs: tiktoken.Encoding, text: str) -> None:
    ids = theirs.encode_ordinary(text)
    assert EXACT.count(text) == len(ids)
    assert [id for id, _ in EXACT.pieces(text)] == ids


@pytest.mark.parametrize("text", SPECIAL)
def test_what_ends_a_conversation_is_plain_text_here(text: str) -> None:
    assert EXACT.count(text) > 1
    assert "".join(piece for _, piece in EXACT.pieces(text)) == text


@given(TEXTS)
def test_pieces_joined_are_the_text_to_the_byte(text: str) -> None:
    assert original("".join(piece for _, piece in EXACT.pieces(text))) == text.encode()


def test_a_piece_that_is_no_whole_character_is_shown_by_its_bytes() -> None:
    assert EXACT.pieces("🜁 \\x") == [
        (9468, r"\xf0\x9f"), (250, r"\x9c"), (223, r"\x81"), (1144, r" \\"), (87, "x"),
    ]  # fmt: skip
    assert readable(b"\xc3") == r"\xc3"
    assert original(r"\\xc3") == rb"\xc3"


@given(st.lists(WORDS, max_size=300).map("".join), st.integers(1, 40))
def test_a_long_text_counted_in_parts_has_the_tokens_of_the_whole(text: str, length: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_tokens, "PART", length)
        parts = [id for id, _ in EXACT.pieces(text)], EXACT.count(text)
    assert parts == ([id for id, _ in EXACT.pieces(text)], len(parts[0]))


@given(TEXTS, st.integers(8, 40))
def test_no_passage_has_more_tokens_than_asked_for_and_all_are_the_same_without_the_vocabulary(
    text: str, tokens: int
) -> None:
    if not text.strip():
        return
    exact, about = (Chunker(each, tokens, tokens // 8).split(text) for each in (EXACT, ABOUT))
    assert [(span.start, span.end) for span in exact] == [(span.start, span.end) for span in about]
    assert all(span.tokens == EXACT.count(text[span.start : span.end]) <= tokens for span in exact)


def test_without_the_vocabulary_a_token_is_four_characters_and_nothing_is_fetched(offline: list[Any]) -> None:
    for folder in (None, Path("/nowhere")):
        about = OpenAITokenizer(MODEL, folder)
        assert not about.exact
        assert [about.count(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]
        assert about.fits("abcd" * 20, 8) is None
        with pytest.raises(ModelUnavailable, match="TIKTOKEN_CACHE_DIR"):
            about.pieces("a")
    assert offline == []


def test_a_damaged_vocabulary_is_not_used_not_mended_and_not_fetched(tmp_path: Path, offline: list[Any]) -> None:
    shutil.copy(FOLDER / VOCABULARY, tmp_path)
    file = tmp_path / VOCABULARY
    with file.open("r+b") as content:
        content.seek(1000)
        content.write(b"A")
    damaged = file.read_bytes()
    tokenizer = OpenAITokenizer(MODEL, tmp_path)
    assert not tokenizer.exact
    assert tokenizer.count("word") == 1
    with pytest.raises(ModelUnavailable, match=f"{VOCABULARY}.*, with the SHA-256 223921b7"):
        tokenizer.pieces("word")
    assert file.read_bytes() == damaged
    assert offline == []


def test_the_vocabulary_is_read_without_asking_the_environment_or_the_network(
    offline: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert OpenAITokenizer(MODEL, FOLDER).count("tiktoken is great!") == 6
    assert os.listdir(tmp_path) == []
    assert offline == []


def test_the_model_of_another_server_is_counted_too_but_every_figure_is_estimated() -> None:
    other = OpenAITokenizer("openai:nomic-embed-text", FOLDER)
    assert other.count("tiktoken is great!") == 6
    assert not other.exact
    with pytest.raises(ModelUnavailable, match="'nomic-embed-text' makes tokens is not known"):
        other.pieces("a")


@pytest.mark.parametrize("text", ["a" * 300_000, "^" * 300_000, " " * 300_000, "1" * 300_000, "日" * 100_000])
def test_a_text_that_is_one_endless_word_is_counted_and_split(text: str) -> None:
    assert EXACT.count(text) > 1000
    spans = Chunker(EXACT, 8191, 0).split("x" + text)
    assert max(span.tokens for span in spans) <= 8191
