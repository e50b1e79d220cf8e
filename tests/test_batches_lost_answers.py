"""What becomes of batches where the API cannot be reached, its answers are lost, or it does not know what it had?"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import OpenAIServer
from posted import TO_THE_END, Posted, rows, texts
from support import NAME, StandIn

from indexer.batches import sending
from indexer.errors import ModelUnavailable, OnHold, StorageError
from indexer.rollback import rollback
from indexer.storage import collection_folder

CREATE = "POST /v1/batches"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(pace="told") as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, server: OpenAIServer, stand_in: StandIn) -> Posted:
    return Posted(tmp_path, server, stand_in)


@pytest.mark.parametrize("mischief", ["cut_after", "cut_middle", "garbage", "html", "lost_500", "lost_503"])
def test_a_batch_whose_making_went_unanswered_is_found_and_not_made_twice(
    place: Posted, server: OpenAIServer, mischief: str
) -> None:
    server.plan(mischief, on=CREATE)
    assert place.run(rows(3)).pending == 3
    assert [batch.stage for batch in place.batches] == ["creating"]
    server.advance(TO_THE_END)
    assert place.run().published
    assert place.asked.paid == texts(rows(3))
    assert place.asked.asked(CREATE) == 1


def test_a_batch_that_was_perhaps_not_made_is_asked_for_again_only_when_it_had_time_to_appear(
    place: Posted, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.plan("cut_before", on=CREATE)
    place.run(rows(3))
    assert place.run().pending == 3
    assert server.api.batches.statuses() == {}
    monkeypatch.setattr(sending, "UNSURE_SECONDS", 0)
    place.run()
    server.advance(TO_THE_END)
    assert place.run().published
    assert place.asked.paid == texts(rows(3))


def test_a_batch_that_is_refused_is_asked_for_again_by_the_next_run(place: Posted, server: OpenAIServer) -> None:
    server.plan("quota", on=CREATE)
    with pytest.raises(ModelUnavailable, match="exceeded your current quota"):
        place.run(rows(3))
    assert [batch.stage for batch in place.batches] == ["uploaded"]
    assert place.run().pending == 3
    server.advance(TO_THE_END)
    assert place.run().published
    assert place.asked.asked("POST /v1/files") == 1


def test_a_file_that_the_server_has_lost_before_its_batch_is_uploaded_again(
    place: Posted, server: OpenAIServer
) -> None:
    server.plan("quota", on=CREATE)
    with pytest.raises(ModelUnavailable):
        place.run(rows(3))
    server.api.files._files.clear()
    place.run()
    server.advance(TO_THE_END)
    assert place.run().published


@pytest.mark.parametrize("route", ["POST /v1/files", "GET /v1/batches/{id}", "GET /v1/files/{id}/content"])
@pytest.mark.parametrize("mischief", ["cut_before", "status_500", "busy", "cut_middle", "status_401"])
def test_a_call_that_fails_is_tried_again_by_this_run_or_the_next(
    place: Posted, server: OpenAIServer, route: str, mischief: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    server.plan(mischief, on=route)
    for _ in range(5):
        with contextlib.suppress(ModelUnavailable):
            if place.run(rows(3)).published:
                break
        server.advance(TO_THE_END)
    assert place.holds(rows(3))
    assert place.asked.paid == texts(rows(3))
    assert place.spent.tokens == place.asked.tokens_paid


def test_a_file_that_stays_on_the_server_is_a_warning_only(
    place: Posted, server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    place.run(rows(3))
    server.advance(TO_THE_END)
    server.plan("status_403", on="DELETE /v1/files/{id}")
    assert place.run().published
    assert "a file that is not needed any more stays" in caplog.text
    assert len(server.api.files.all()) == 1


def test_a_wrong_key_ends_the_run_and_publishes_nothing(place: Posted, server: OpenAIServer) -> None:
    server.set(key="another")
    with pytest.raises(ModelUnavailable, match="does not take the key"):
        place.run(rows(3))
    assert place.numbers == []


def test_a_batch_that_the_server_does_not_know_is_named_and_not_sent_again(
    place: Posted, server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    place.run(rows(3))
    server.api.batches._batches.clear()
    assert place.run().pending == 3
    assert "is not known to" in caplog.text
    assert place.asked.asked(CREATE) == 1


def test_a_batch_at_another_address_is_named_and_left_alone(
    place: Posted, stand_in: StandIn, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    place.run(rows(3))
    with OpenAIServer(pace="told") as other:
        elsewhere = Posted(tmp_path, other, stand_in)
        assert elsewhere.run(rows(3)).pending == 3
        other.advance(TO_THE_END)
        assert elsewhere.run().published
        assert other.ledger.paid == texts(rows(3))
    assert "set OPENAI_BASE_URL to that" in caplog.text


def test_a_run_with_a_model_of_this_machine_goes_through_while_the_api_is_gone(
    place: Posted, server: OpenAIServer, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    place.run(rows(3))
    server.set(key="another")
    stand_in.fingerprint = StandIn.fingerprint
    with caplog.at_level(logging.WARNING):
        assert place.run(mode="normal").published
    assert "what is with the Batch API is left for later" in caplog.text


def test_a_collection_on_hold_neither_sends_nor_picks_up(place: Posted, server: OpenAIServer) -> None:
    for more in (3, 4):
        place.run(rows(more))
        server.advance(TO_THE_END)
        place.run()
    rollback(place.store, NAME)
    asked = len(place.asked.entries)
    with pytest.raises(OnHold):
        place.run(rows(9))
    assert len(place.asked.entries) == asked


def test_what_is_known_of_a_damaged_record_is_not_made_up(place: Posted) -> None:
    place.run(rows(3))
    record = collection_folder(place.store, NAME).path / "batches.sqlite"
    record.write_bytes(b"nothing" * 1000)
    for part in ("-wal", "-shm"):
        Path(f"{record}{part}").unlink(missing_ok=True)
    with pytest.raises(StorageError, match=r"record of batches .* is damaged"):
        place.run()
