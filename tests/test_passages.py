"""Do the passages of a text lie in it, cover it, and fit the model's window?

Texts of every script and shape, split by the packaged model's own tokenizer, which also counts.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import StandIn

from indexer.chunking import Chunker, Span, document_chunker, query_chunker
from indexer.config import PassageSettings
from indexer.errors import ConfigurationError, ModelUnavailable

MODEL = StandIn()
PIECES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(
        ["word ", "The end. ", "\n\n", "\r\n", "\t", " ", "\u00a0", "\x1c", "\u200b", "e\u0301", "漢字", "한국어 "]
    ),
    st.sampled_from(
        ["👨\u200d👩\u200d👧", "🇪🇸", "﷽", "ﬁ", "a" * 150, "w" * 90, "1234567890" * 4, "=-" * 30, "https://x.org/a?b=c"]
    ),
)
TEXTS = st.builds(
    lambda pieces, times: "".join(pieces) * times, st.lists(PIECES, min_size=1, max_size=12), st.integers(1, 6)
).filter(lambda text: text.strip())


def tokens(text: str) -> int:
    return MODEL.tokenizer.count(text)


def assert_passages(text: str, spans: list[Span], capacity: int, overlap: int) -> None:
    """The promises that hold for every text."""
    assert spans
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    starts, ends = [span.start for span in spans], [span.end for span in spans]
    assert starts == sorted(set(starts))
    assert ends == sorted(set(ends))
    assert [span.tokens for span in spans] == [tokens(text[span.start : span.end]) for span in spans]
    assert max(span.tokens for span in spans) <= capacity
    covered = {at for span in spans for at in range(span.start, span.end)}
    assert all(at in covered for at, character in enumerate(text) if not character.isspace())
    assert (len(spans) == 1) == (tokens(text) <= capacity)
    for one, next in itertools.pairwise(spans):
        assert tokens(text[next.start : one.end]) <= overlap if next.start < one.end else True


@settings(max_examples=250)
@given(TEXTS, st.sampled_from([(8, 0), (8, 4), (16, 2), (62, 7), (62, 31)]))
def test_passages_lie_in_the_text_in_order_cover_it_and_fit(text: str, sizes: tuple[int, int]) -> None:
    capacity, overlap = sizes
    spans = document_chunker(MODEL, PassageSettings(tokens=capacity, overlap=overlap)).split(text)
    assert_passages(text, spans, capacity, overlap)


def test_a_text_that_fits_is_one_passage_with_all_its_white_space() -> None:
    text = "  two words\n"
    assert document_chunker(MODEL, PassageSettings(tokens=8)).split(text) == [Span(0, len(text), tokens=2)]


def test_a_text_that_fills_the_window_is_one_passage_and_a_word_more_makes_two() -> None:
    chunker = document_chunker(MODEL, PassageSettings())
    full = " ".join(["word"] * (MODEL.window - 2))
    assert len(chunker.split(full)) == 1
    assert len(chunker.split(full + " word")) == 2


def test_offsets_count_code_points() -> None:
    text = "😀 𝒜𝒷𝒸 é. " * 20
    spans = document_chunker(MODEL, PassageSettings(tokens=16, overlap=0)).split(text)
    assert len(spans) > 2
    assert "".join("".join(text[s.start : s.end].split()) for s in spans) == "".join(text.split())


def test_passages_share_what_the_overlap_allows_and_nothing_without_one() -> None:
    text = " ".join(f"w{i}" for i in range(200))
    apart = document_chunker(MODEL, PassageSettings(tokens=20, overlap=0)).split(text)
    shared = document_chunker(MODEL, PassageSettings(tokens=20, overlap=10)).split(text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(apart))
    assert all(a.end > b.start for a, b in itertools.pairwise(shared))
    assert len(shared) > len(apart)


def test_texts_are_split_between_sentences_where_they_can_be() -> None:
    text = "The first sentence has some words. The second sentence has some as well."
    spans = document_chunker(MODEL, PassageSettings(tokens=10, overlap=0)).split(text)
    assert [text[s.start : s.end] for s in spans] == text.replace(". ", ".|").split("|")


def test_the_default_overlap_is_an_eighth() -> None:
    text = " ".join(["word"] * 300)
    explicit = document_chunker(MODEL, PassageSettings(tokens=48, overlap=6)).split(text)
    assert document_chunker(MODEL, PassageSettings(tokens=48)).split(text) == explicit
    assert explicit != document_chunker(MODEL, PassageSettings(tokens=48, overlap=5)).split(text)


@pytest.mark.parametrize(
    ("passages", "param", "words"),
    [
        ({"tokens": 63}, "passages.tokens", "set 62 or less"),
        ({"tokens": 20, "overlap": 11}, "passages.overlap", "set 10 or less"),
        ({"overlap": 32}, "passages.overlap", "set 31 or less"),
    ],
)
def test_settings_that_the_model_cannot_hold_are_refused_with_what_it_can(
    passages: dict[str, int], param: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        document_chunker(MODEL, PassageSettings(**passages))
    assert caught.value.param == param


def prompted(**prompts: str) -> StandIn:
    model = StandIn()
    model.fingerprint = replace(StandIn.fingerprint, **prompts)
    return model


def test_a_document_prompt_takes_its_room_from_every_passage() -> None:
    prompt = "title: none | text: "
    model = prompted(document_prompt=prompt)
    text = " ".join(["word"] * 500)
    spans = document_chunker(model, PassageSettings()).split(text)
    sizes = [len(MODEL.tokenizer.pieces(prompt + text[s.start : s.end])) for s in spans]
    assert max(sizes) <= MODEL.window
    assert max(sizes) >= MODEL.window - 1
    with pytest.raises(ConfigurationError):
        document_chunker(model, PassageSettings(tokens=62))
    assert len(query_chunker(model).split(" ".join(["word"] * 62))) == 1


def test_a_query_prompt_takes_its_room_from_a_query() -> None:
    model = prompted(query_prompt="a question: ")
    text = " ".join(["word"] * 62)
    spans = query_chunker(model).split(text)
    assert len(spans) == 2
    assert all(len(MODEL.tokenizer.pieces("a question: " + text[s.start : s.end])) <= MODEL.window for s in spans)
    assert len(document_chunker(model, PassageSettings()).split(text)) == 1


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="leaves 0 of model 'stand-in'"):
        query_chunker(prompted(query_prompt="word " * 100))


def test_a_character_of_more_tokens_than_the_window_is_refused_not_cut() -> None:
    assert tokens("한") == 3
    assert len(Chunker(MODEL.tokenizer, 3, 0).split("한 한")) == 2
    with pytest.raises(ModelUnavailable, match=r"set a smaller passages\.tokens"):
        Chunker(MODEL.tokenizer, 2, 0).split("한 한")
