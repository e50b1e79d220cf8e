"""Are texts that arrive together embedded together, each answered for itself, none more often than need be?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from held_model import Held
from support import StandIn

from indexer.errors import InvalidRequest, ModelUnavailable
from service import embedder
from service.embedder import Embeddings, QueryEmbedder

LONG = "a passage of many words, and another one of as many. " * 40


@pytest.fixture
def held() -> Held:
    return Held()


async def soon(held: Held, turns: int) -> None:
    """Wait for a turn to begin."""
    while len(held.turns) < turns:
        await asyncio.sleep(0.001)


async def ask(embedder: QueryEmbedder, *requests: Sequence[str]) -> list[asyncio.Task[Embeddings]]:
    """One request after the other, none waited for."""
    tasks = [asyncio.create_task(embedder.embed(texts)) for texts in requests]
    await asyncio.sleep(0)
    return tasks


def same(embeddings: Embeddings, *texts: str) -> bool:
    """Whether these are the vectors of those texts."""
    return list(embeddings) == list(texts) and all(
        np.array_equal(embeddings[text], StandIn().embed_query([text])) for text in texts
    )


def test_what_comes_while_the_model_is_at_work_goes_together_and_nobody_waits_for_an_idle_one(held: Held) -> None:
    async def run() -> None:
        embedder = QueryEmbedder(held)
        tasks = await ask(embedder, ["a"], ["b"], ["c"], ["b"])
        await soon(held, 1)
        held.go.release(2)
        for task, text in zip(tasks, "abcb", strict=True):
            assert same(await task, text)

    asyncio.run(run())
    assert held.turns == [["a"], ["b", "c"]]


def test_a_request_of_many_texts_does_not_hold_up_one_of_another(held: Held) -> None:
    many = [f"text {i}" for i in range(100)]

    async def run() -> None:
        embedder = QueryEmbedder(held)
        (first,) = await ask(embedder, many)
        await soon(held, 1)
        (second,) = await ask(embedder, ["mine"])
        held.go.release(2)
        assert same(await second, "mine")
        assert not first.done()
        held.go.release(10)
        assert set(await first) == set(many)

    asyncio.run(run())
    assert [len(turn) for turn in held.turns] == [32, 32, 32, 5]
    assert "mine" in held.turns[1]


def test_a_text_that_is_refused_is_an_error_for_nobody_else(held: Held) -> None:
    async def run() -> None:
        embedder = QueryEmbedder(held)
        tasks = await ask(embedder, ["a"], ["b", "bad"], ["c"])
        held.go.release(10)
        assert same(await tasks[0], "a")
        mixed = await tasks[1]
        assert isinstance(mixed["bad"], InvalidRequest)
        assert same({"b": mixed["b"]}, "b")
        assert same(await tasks[2], "c")

    asyncio.run(run())


def test_a_model_that_cannot_be_had_is_told_to_all_at_once_and_asked_again_by_the_next() -> None:
    held = Held(error=ModelUnavailable)

    async def run() -> None:
        embedder = QueryEmbedder(held)
        tasks = await ask(embedder, ["a"], ["bad"], ["c"])
        held.go.release(2)
        await tasks[0]
        assert isinstance((await tasks[1])["bad"], ModelUnavailable)
        assert isinstance((await tasks[2])["c"], ModelUnavailable)
        held.go.release(1)
        assert same(await embedder.embed(["c"]), "c")

    asyncio.run(run())
    assert held.turns == [["a"], ["bad", "c"], ["c"]]


def test_a_failure_of_the_model_itself_reaches_everybody_and_the_next_turn_begins(held: Held) -> None:
    held.error = RuntimeError  # type: ignore[assignment]

    async def run() -> None:
        embedder = QueryEmbedder(held)
        tasks = await ask(embedder, ["bad"], ["a"])
        held.go.release(2)
        with pytest.raises(RuntimeError):
            await tasks[0]
        assert same(await tasks[1], "a")

    asyncio.run(run())


def test_a_request_that_is_given_up_is_not_embedded(held: Held) -> None:
    async def run() -> None:
        embedder = QueryEmbedder(held)
        tasks = await ask(embedder, ["a"], ["given up"], ["c"])
        tasks[1].cancel()
        await asyncio.sleep(0)
        held.go.release(2)
        assert same(await tasks[2], "c")

    asyncio.run(run())
    assert held.turns == [["a"], ["c"]]


def test_a_repeated_text_is_embedded_once_and_the_oldest_is_forgotten(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "MOST_KEPT", 2)
    held.go.release(100)

    async def run() -> None:
        one = QueryEmbedder(held)
        for text in ("a", "b", "a", "c", "a", "b"):
            assert same(await one.embed([text]), text)
        assert same(await one.embed([LONG[:40]] * 3), LONG[:40])
        another = QueryEmbedder(held)
        assert same(await another.embed(["b"]), "b")

    asyncio.run(run())
    assert held.turns == [["a"], ["b"], ["c"], ["b"], [LONG[:40]], ["b"]]


def test_a_long_text_has_the_vectors_of_all_its_passages(held: Held) -> None:
    held.go.release(1)

    async def run() -> None:
        vectors = (await QueryEmbedder(held).embed([LONG]))[LONG]
        assert isinstance(vectors, np.ndarray)
        assert len(vectors) == len(held.turns[0]) > 1

    asyncio.run(run())


def test_a_model_behind_an_api_is_asked_again_before_it_has_answered() -> None:
    held = Held("api")

    async def run() -> None:
        embedder = QueryEmbedder(held)
        tasks = await ask(embedder, ["a"], ["b"], ["c"])
        await soon(held, 2)
        assert not tasks[0].done()
        held.go.release(2)
        for task, text in zip(tasks, "abc", strict=True):
            assert same(await task, text)

    asyncio.run(run())
    assert sorted(held.turns) == [["a"], ["b", "c"]]


@pytest.mark.parametrize("device", ["api", "cpu"])
def test_of_an_api_all_that_waits_is_asked_at_once_but_no_more_than_so_many_turns(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(embedder, "API_AT_ONCE", 3)
    held = Held(device)
    at_once = 3 if device == "api" else 1

    async def run() -> None:
        one = QueryEmbedder(held)
        (task,) = await ask(one, [f"text {i}" for i in range(5 * embedder.MOST_TEXTS)])
        await soon(held, at_once)
        await asyncio.sleep(10 * embedder.API_SECONDS)
        assert len(held.turns) == at_once
        held.go.release(1)
        await soon(held, at_once + 1)
        held.go.release(4)
        assert len(await task) == 5 * embedder.MOST_TEXTS

    asyncio.run(run())
    assert [len(turn) for turn in held.turns] == [embedder.MOST_TEXTS] * 5


def test_vectors_that_are_kept_keep_no_others(held: Held) -> None:
    held.go.release(1)

    async def run() -> list[Embeddings]:
        one = QueryEmbedder(held)
        tasks = await ask(one, [f"text {i}" for i in range(embedder.MOST_TEXTS)])
        return [await task for task in tasks]

    (found,) = asyncio.run(run())
    for vectors in found.values():
        assert isinstance(vectors, np.ndarray)
        assert vectors.base is None
