"""Do the test server's batches live as OpenAI's do, end as told, and is each text of theirs paid once?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch
from openai_embeddings import Limits
from openai_server import OpenAIProcess, OpenAIServer
from test_openai_server import client

SMALL = "text-embedding-3-small"
DONE = ("completed", "failed", "expired", "cancelled")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(poison="☠") as running:
        yield running


@pytest.fixture
def api(server: OpenAIServer) -> Iterator[openai.OpenAI]:
    with client(server) as made:
        yield made


def line(n: int, input: Any = None, **changes: Any) -> dict[str, Any]:
    body = {"model": SMALL, "input": input or [f"{n}a", f"{n}b"]}
    return {"custom_id": f"r{n}", "method": "POST", "url": "/v1/embeddings", "body": body, **changes}


TEN = [line(n) for n in range(10)]


def upload(api: openai.OpenAI, lines: list[dict[str, Any]] | bytes = b"", name: str = "ours.jsonl") -> str:
    content = lines if isinstance(lines, bytes) else "".join(json.dumps(each) + "\n" for each in lines).encode()
    return api.files.create(file=(name, content), purpose="batch").id


def create(api: openai.OpenAI, file: str, **metadata: str) -> Batch:
    return api.batches.create(
        input_file_id=file, endpoint="/v1/embeddings", completion_window="24h", metadata=metadata or None
    )


def to_the_end(api: openai.OpenAI, batch: Batch) -> tuple[Batch, list[str]]:
    statuses = [batch.status]
    while batch.status not in DONE:
        batch = api.batches.retrieve(batch.id)
        statuses.append(batch.status)
    return batch, statuses


def told(api: openai.OpenAI, file: str | None) -> dict[str, dict[str, Any]]:
    if file is None:
        return {}
    return {each["custom_id"]: each for each in map(json.loads, api.files.content(file).text.splitlines())}


def counts(batch: Batch) -> tuple[int, int, int]:
    assert batch.request_counts is not None
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed


def test_a_batch_goes_its_way_and_answers_as_single_requests_do(server: OpenAIServer, api: openai.OpenAI) -> None:
    file = upload(api, [*TEN, line(10, ["good", "☠"]), line(11, "alone")])
    batch, statuses = to_the_end(api, create(api, file, run="7"))
    assert statuses == ["validating", "in_progress", "in_progress", "finalizing", "completed"]
    assert (batch.metadata, counts(batch)) == ({"run": "7"}, (12, 11, 1))
    answers, errors = told(api, batch.output_file_id), told(api, batch.error_file_id)
    assert set(answers) == {f"r{n}" for n in [*range(10), 11]}
    assert list(answers) != sorted(answers)
    single = api.embeddings.create(model=SMALL, input=["3a", "3b"], encoding_format="float")
    assert answers["r3"]["response"]["body"]["data"] == [each.model_dump() for each in single.data]
    assert {id: each["response"]["status_code"] for id, each in errors.items()} == {"r10": 400}
    paid = Counter(f"{n}{letter}" for n in range(10) for letter in "ab") + Counter(["alone"])
    assert server.ledger.paid - Counter(["3a", "3b"]) == paid
    assert server.ledger.tokens_paid_in("batch") == 41


def test_files_keep_their_name_and_bytes_and_are_listed_in_pages(api: openai.OpenAI) -> None:
    strange = b'\r\n--x\r\n\r\n{"a": "\xc3\xa9"}\r\n\n'
    ids = [upload(api, strange if n == 3 else TEN, f"run-{n}.jsonl") for n in range(5)]
    assert api.files.content(ids[3]).read() == strange
    assert [file.filename for file in api.files.list(limit=2)] == [f"run-{n}.jsonl" for n in (4, 3, 2, 1, 0)]
    assert [file.id for file in api.files.list(limit=2, order="asc", purpose="batch")] == ids
    assert list(api.files.list(purpose="batch_output")) == []
    assert api.files.retrieve(ids[0]).bytes == len("".join(json.dumps(each) + "\n" for each in TEN))
    assert api.files.delete(ids[0]).deleted
    with pytest.raises(openai.NotFoundError, match="No such File"):
        api.files.retrieve(ids[0])


def test_batches_are_listed_in_pages_newest_first(api: openai.OpenAI) -> None:
    file = upload(api, TEN)
    ids = [create(api, file).id for _ in range(5)]
    assert [batch.id for batch in api.batches.list(limit=2)] == ids[::-1]
    assert {batch.status for batch in api.batches.list()} == {"validating"}
    with pytest.raises(openai.NotFoundError, match="No batch"):
        api.batches.retrieve("batch_x")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], "empty_file"),
        (b"{}\n", "invalid_json_line"),
        (b"not JSON\n", "invalid_json_line"),
        ([line(1), line(1)], "duplicate_custom_id"),
        ([line(1), line(2, body={"model": "text-embedding-3-large", "input": "x"})], "mismatched_model"),
        ([line(1, body={"model": "gpt", "input": "x"})], "model_not_found"),
        ([line(1, url="/v1/completions")], "mismatched_endpoint"),
        ([line(n, "x") for n in range(5)], "too_many_tasks"),
        ([line(1, ["x"] * 11)], "too_many_inputs"),
        ([line(1, "one two three four five six seven eight nine ten eleven")], "token_limit_exceeded"),
    ],
)
def test_a_file_that_is_no_batch_fails_at_validation(
    server: OpenAIServer, api: openai.OpenAI, lines: list[dict[str, Any]] | bytes, code: str
) -> None:
    server.set(limits=Limits(batch_requests=4, batch_inputs=10, enqueued_tokens=10))
    batch, _ = to_the_end(api, create(api, upload(api, lines or b"\n")))
    assert batch.status == "failed"
    assert batch.errors is not None
    assert [error.code for error in batch.errors.data or []] == [code]
    assert server.ledger.paid == Counter()


def test_tokens_of_running_batches_count_against_the_next(server: OpenAIServer, api: openai.OpenAI) -> None:
    server.set(limits=Limits(enqueued_tokens=60), pace="told")
    file = upload(api, TEN)
    ids = [create(api, file).id for _ in range(2)]
    server.advance()
    assert [server.api.batches.statuses()[id] for id in ids] == ["in_progress", "failed"]
    server.advance(3)
    again = create(api, file)
    server.advance(id=again.id)
    assert api.batches.retrieve(again.id).status == "in_progress"


def test_a_batch_expires_with_a_share_of_its_lines(server: OpenAIServer, api: openai.OpenAI) -> None:
    server.fate("expire", share=0.4)
    batch, _ = to_the_end(api, create(api, upload(api, TEN)))
    assert (batch.status, counts(batch)) == ("expired", (10, 4, 6))
    answers, errors = told(api, batch.output_file_id), told(api, batch.error_file_id)
    assert {each["error"]["code"] for each in errors.values()} == {"batch_expired"}
    assert answers.keys() | errors.keys() == {f"r{n}" for n in range(10)}
    assert server.ledger.paid == Counter(f"{id[1:]}{letter}" for id in answers for letter in "ab")


def test_a_cancelled_batch_keeps_what_was_done(server: OpenAIServer, api: openai.OpenAI) -> None:
    server.fate("stuck")
    batch = create(api, upload(api, TEN))
    for _ in range(6):
        assert api.batches.retrieve(batch.id).status == "in_progress"
    assert api.batches.cancel(batch.id).status == "cancelling"
    batch = api.batches.retrieve(batch.id)
    assert (batch.status, counts(batch)) == ("cancelled", (10, 5, 5))
    assert {each["error"]["code"] for each in told(api, batch.error_file_id).values()} == {"batch_cancelled"}
    with pytest.raises(openai.BadRequestError, match="Cannot cancel"):
        api.batches.cancel(batch.id)


@pytest.mark.parametrize(("kind", "code"), [("fail", "invalid_request"), ("token_limit", "token_limit_exceeded")])
def test_the_next_batch_fails_at_validation_on_command(
    server: OpenAIServer, api: openai.OpenAI, kind: str, code: str
) -> None:
    server.fate(kind)
    file = upload(api, TEN)
    batch, _ = to_the_end(api, create(api, file))
    assert batch.errors is not None
    assert [error.code for error in batch.errors.data or []] == [code]
    assert to_the_end(api, create(api, file))[0].status == "completed"


def test_lines_fail_are_forgotten_or_come_spoiled_on_command(server: OpenAIServer, api: openai.OpenAI) -> None:
    file = upload(api, TEN)
    server.fate("partly", share=0.3)
    batch, _ = to_the_end(api, create(api, file))
    errors = told(api, batch.error_file_id)
    assert [each["response"]["status_code"] for each in errors.values()] == [500] * 3
    server.fate("forget", share=0.3)
    batch, _ = to_the_end(api, create(api, file))
    assert (len(told(api, batch.output_file_id)), batch.error_file_id) == (7, None)
    assert server.ledger.spoiled == Counter()
    server.fate("short", share=0.3)
    batch, _ = to_the_end(api, create(api, file))
    sizes = Counter(
        len(each["response"]["body"]["data"][0]["embedding"]) for each in told(api, batch.output_file_id).values()
    )
    assert sizes == Counter({15: 3, 16: 7})
    assert sum(server.ledger.spoiled.values()) == 6


def test_what_was_accepted_stays_when_the_answer_is_lost(server: OpenAIServer, api: openai.OpenAI) -> None:
    server.plan("cut_after", on="POST /v1/files")
    with pytest.raises(openai.APIConnectionError):
        upload(api, TEN, "lost.jsonl")
    (file,) = api.files.list()
    assert file.filename == "lost.jsonl"
    server.plan("lost_500", on="POST /v1/batches")
    with pytest.raises(openai.InternalServerError):
        create(api, file.id, run="7")
    server.plan("cut_before", on="POST /v1/batches")
    with pytest.raises(openai.APIConnectionError):
        create(api, file.id, run="8")
    assert [batch.metadata for batch in api.batches.list()] == [{"run": "7"}]
    assert (server.ledger.asked("POST /v1/files"), server.ledger.asked("POST /v1/batches")) == (1, 2)


def test_batches_go_on_by_the_clock_while_nobody_asks(server: OpenAIServer, api: openai.OpenAI) -> None:
    batch = create(api, upload(api, TEN))
    server.set(pace=0.0001)
    assert next(iter(api.batches.list())).status == "completed"
    server.set(pace=3600)
    assert api.batches.retrieve(create(api, batch.input_file_id).id).status == "validating"


def test_batches_of_a_process_outlive_their_client(tmp_path: Path) -> None:
    with OpenAIProcess(tmp_path / "ledger.jsonl", "--order", '{"set": {"pace": "told"}}') as server:
        with client(server) as first:
            id = create(first, upload(first, TEN)).id
        server.advance(4)
        with client(server) as second:
            batch = second.batches.retrieve(id)
            assert len(told(second, batch.output_file_id)) == 10
        assert server.order({})["batches"] == {id: "completed"}
        assert sum(server.ledger.paid.values()) == 20
