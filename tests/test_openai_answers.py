"""Is an answer of the API taken for what it is, and never for more?"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from indexer.models.openai_answers import BadAnswer, read_answer

ROWS = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], dtype=np.float32)
UNIT = [[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]]


def coded(row: Any) -> str:
    """Numbers as the API codes them."""
    return base64.b64encode(np.asarray(row, dtype="<f4").tobytes()).decode()


def body(embeddings: Any, indices: Any = None, **more: Any) -> bytes:
    """An answer with these."""
    indices = range(len(embeddings)) if indices is None else indices
    data = [{"object": "embedding", "index": i, "embedding": e} for i, e in zip(indices, embeddings, strict=True)]
    return json.dumps(
        {"object": "list", "data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}, **more}
    ).encode()


@pytest.mark.parametrize("shape", [coded, np.ndarray.tolist])
def test_vectors_come_as_base64_or_as_numbers_and_have_length_1(shape: Any) -> None:
    vectors, billed = read_answer(body([shape(row) for row in ROWS]), 3, 2)
    assert np.allclose(vectors, UNIT)
    assert (vectors.dtype, billed) == (np.float32, 7)


def test_whole_numbers_are_numbers() -> None:
    assert np.allclose(read_answer(body([[3, 4]]), 1, None)[0], UNIT[:1])


def test_vectors_in_another_order_are_put_right() -> None:
    vectors, _ = read_answer(body([coded(row) for row in ROWS[[2, 0, 1]]], indices=[2, 0, 1]), 3, 2)
    assert np.allclose(vectors, UNIT)


@pytest.mark.parametrize(
    ("usage", "billed"),
    [
        ({"usage": None}, None),
        ({"usage": {}}, None),
        ({"usage": {"total_tokens": "7"}}, None),
        ({"usage": {"total_tokens": -1, "prompt_tokens": 5}}, 5),
        ({"usage": {"total_tokens": 0}}, 0),
    ],
)
def test_what_is_billed_is_what_the_api_says(usage: dict[str, Any], billed: int | None) -> None:
    assert read_answer(body([coded(row) for row in ROWS], **usage), 3, 2)[1] == billed


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the answer is not JSON"),
        (b"<html>", "the answer is not JSON"),
        (b"null", "no list of vectors"),
        (b"[]", "no list of vectors"),
        (b'{"data": {}}', "no list of vectors"),
        (b'{"data": [1, 2]}', "no list of vectors"),
        (body([]), "0 vectors for 2 texts"),
        (body([coded(ROWS[0])]), "1 vectors for 2 texts"),
        (body([coded(row) for row in ROWS]), "3 vectors for 2 texts"),
        (body([coded(row) for row in ROWS[:2]], [1, 2]), "which vector is of which text"),
        (body([coded(row) for row in ROWS[:2]], [0, 0]), "which vector is of which text"),
        (body([coded(row) for row in ROWS[:2]], [0, None]), "which vector is of which text"),
        (body([coded(row) for row in ROWS[:2]], [False, True]), "which vector is of which text"),
        (body([coded(row) for row in ROWS[:2]], ["0", "1"]), "which vector is of which text"),
        (body([coded([1, 2, 3])] * 2), "3 dimensions, not 2"),
        (body([coded([1, 2]), coded([1])]), "1 dimensions, not 2"),
        (body([coded([1, 2]), coded([])]), "0 dimensions, not 2"),
        (body([coded([1, 2]), coded([0, 0])]), "row 1 has no direction"),
        (body([coded([1, np.nan]), coded([1, 2])]), "row 0 has no direction"),
        (body([coded([1, np.inf]), coded([1, 2])]), "row 0 has no direction"),
        (body([[1, None], [1, 2]]), "neither base64 nor a list of numbers"),
        (body([[1, "2"], [1, 2]]), "neither base64 nor a list of numbers"),
        (body([[1, True], [1, 2]]), "neither base64 nor a list of numbers"),
        (body([None, [1, 2]]), "neither base64 nor a list of numbers"),
        (body(["*", [1, 2]]), "no base64 of float32"),
        (body([base64.b64encode(b"12345").decode(), [1, 2]]), "no base64 of float32"),
        (body([[1, 2], [10**400, 2]]), ""),
    ],
)
def test_what_is_no_answer_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        read_answer(content, 2, 2)
    assert reason in caught.value.reason


def test_a_wrong_answer_is_paid_for_all_the_same() -> None:
    with pytest.raises(BadAnswer) as caught:
        read_answer(body([coded([1, 2, 3])]), 1, 2)
    assert caught.value.billed == 7


def test_vectors_of_unknown_length_agree_among_themselves() -> None:
    assert read_answer(body([coded([1, 2, 3])]), 1, None)[0].shape == (1, 3)
    for embeddings in ([coded([1, 2]), coded([1])], [coded([]), coded([])]):
        with pytest.raises(BadAnswer):
            read_answer(body(embeddings), 2, None)
