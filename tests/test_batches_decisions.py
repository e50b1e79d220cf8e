"""When does a run publish while texts are with the Batch API, and what does an answer say? Both are pure functions."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
import pytest

from indexer.batches.lines import read_answer, request_line, split_lines
from indexer.batches.verdict import Standing, verdict

KEY = bytes(range(32))
ID = KEY.hex()
VECTOR = np.array([0.6, 0.8], dtype="<f4")


@pytest.mark.parametrize(
    ("found", "batch", "everything", "expected"),
    [
        (Standing(), True, False, (False, True, 0)),
        (Standing(new=5), True, False, (True, False, 5)),
        (Standing(new=5), True, True, (True, False, 5)),
        (Standing(new=5), False, False, (False, True, 0)),
        (Standing(under_way=3), True, False, (True, False, 3)),
        (Standing(under_way=3, new=5), True, False, (True, False, 8)),
        (Standing(under_way=3, new=5, picked_up=90), True, False, (True, False, 8)),
        (Standing(under_way=3, new=5), False, False, (False, False, 3)),
        (Standing(again=2, new=1), True, False, (True, False, 3)),
        (Standing(again=2), False, False, (False, True, 0)),
        (Standing(picked_up=9), True, False, (False, True, 0)),
        (Standing(picked_up=9, new=4), True, False, (True, True, 4)),
        (Standing(picked_up=9, new=4), True, True, (False, True, 0)),
        (Standing(picked_up=9, new=400), True, True, (True, False, 400)),
    ],
)
def test_what_is_owed_is_waited_for_and_what_is_late_is_not(
    found: Standing, batch: bool, everything: bool, expected: tuple[bool, bool, int]
) -> None:
    decided = verdict(found, batch=batch, everything=everything)
    assert (decided.sends, decided.publishes, decided.pending) == expected
    assert bool(decided.reason) == bool(decided.pending)


def test_a_request_asks_for_one_text_and_carries_its_key() -> None:
    line = request_line(KEY, 'a "quoted" text\u2028and more', "text-embedding-3-small", 256)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert orjson.loads(line) == {
        "custom_id": KEY.hex(),
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {
            "model": "text-embedding-3-small",
            "input": 'a "quoted" text\u2028and more',
            "encoding_format": "base64",
            "dimensions": 256,
        },
    }
    assert "dimensions" not in orjson.loads(request_line(KEY, "text", "model", None))["body"]


def test_lines_end_at_line_feeds_alone_wherever_the_pieces_are_cut() -> None:
    content = "one\u2028still one\n\n  \ntwo\r\x85three\nfour".encode()
    lines = ["one\u2028still one", "two\r\x85three", "four"]
    for size in range(1, len(content) + 1):
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        assert [line.decode() for line in split_lines(pieces)] == lines


def answered(status: int, body: Any, custom_id: Any = ID) -> bytes:
    response = {"status_code": status, "request_id": "r", "body": body}
    return orjson.dumps({"id": "b", "custom_id": custom_id, "response": response, "error": None})


def embedding(value: Any, **more: Any) -> dict[str, Any]:
    return {"data": [{"object": "embedding", "index": 0, "embedding": value}], "usage": {"total_tokens": 7}, **more}


@pytest.mark.parametrize("value", [base64.b64encode(VECTOR.tobytes()).decode(), VECTOR.tolist()])
def test_a_vector_comes_as_base64_or_as_numbers(value: Any) -> None:
    answer = read_answer(answered(200, embedding(value)), 2)
    assert answer.key == KEY
    assert answer.vector is not None
    assert answer.vector == pytest.approx(VECTOR)
    assert answer.tokens == 7


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"data": []},
        embedding([0.6, 0.8, 0.0]),
        embedding([0.0, 0.0]),
        embedding("no base64"),
        embedding([0.6, None]),
        {"data": [{"index": 1, "embedding": [0.6, 0.8]}]},
    ],
)
def test_what_is_no_vector_has_failed_and_may_be_asked_for_again(body: Any) -> None:
    answer = read_answer(answered(200, body), 2)
    assert answer.vector is None
    assert answer.reason
    assert not answer.refused
    assert not answer.expired


@pytest.mark.parametrize(("status", "refused"), [(400, True), (413, True), (401, False), (429, False), (500, False)])
def test_a_text_is_refused_only_where_the_answer_is_about_it(status: int, refused: bool) -> None:
    answer = read_answer(answered(status, {"error": {"message": "The API's own words."}}), 2)
    assert (answer.refused, answer.reason) == (refused, "The API's own words.")
    assert read_answer(answered(status, None), 2).reason == f"the API answered {status}"


@pytest.mark.parametrize("code", ["batch_expired", "batch_cancelled"])
def test_a_text_that_was_not_come_to_is_told_apart(code: str) -> None:
    line = orjson.dumps({"custom_id": KEY.hex(), "response": None, "error": {"code": code, "message": "Too late."}})
    answer = read_answer(line, 2)
    assert (answer.expired, answer.reason) == (True, "Too late.")


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b"{}", answered(200, None, "mine"), answered(200, None, 7)])
def test_a_line_that_is_about_no_text_of_ours_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"it is not an answer|is none of ours"):
        read_answer(line, 2)
