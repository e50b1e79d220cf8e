"""Does a collection get its vectors through the Batch API, from one run to the next, each text paid once?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import OpenAIServer
from posted import TO_THE_END, Posted, rows, texts
from support import StandIn

from indexer.errors import ConfigurationError


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(pace="told") as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, server: OpenAIServer, stand_in: StandIn) -> Posted:
    return Posted(tmp_path, server, stand_in)


def test_a_run_sends_what_is_new_and_a_later_one_publishes_it(place: Posted, server: OpenAIServer) -> None:
    sent = place.run(rows(10))
    assert (sent.published, sent.generation, sent.pending) == (False, None, 10)
    assert sent.items.later == 10
    assert place.asked.paid == {}
    still = place.run()
    assert (still.published, still.pending) == (False, 10)
    server.advance(TO_THE_END)
    done = place.run()
    assert (done.published, done.pending, done.items.added) == (True, 0, 10)
    assert place.holds(rows(10))
    assert place.asked.paid == texts(rows(10))
    assert not place.run().published
    assert place.asked.asked("POST /v1/batches") == 1


def test_what_a_batch_cost_is_recorded_once_at_the_batch_rate(place: Posted, server: OpenAIServer) -> None:
    place.run(rows(10))
    assert place.spent.tokens == 0
    server.advance(TO_THE_END)
    report = place.run()
    tokens = place.asked.tokens_paid
    assert place.spent.tokens == report.paid.tokens == tokens
    assert report.paid.dollars == pytest.approx(tokens * 0.0005)
    assert place.spent.nano_dollars == tokens * 500_000
    assert [batch.billed for batch in place.batches] == [tokens]
    assert place.run().paid.tokens == 0


def test_nothing_of_a_batch_stays_on_the_server_or_in_the_folder(place: Posted, server: OpenAIServer) -> None:
    place.run(rows(10))
    server.advance(TO_THE_END)
    place.run()
    assert server.api.files.all() == []
    assert [batch.stage for batch in place.batches] == ["over"]
    assert list((place.store / "collections" / place.name / "batches").iterdir()) == []


def test_texts_that_come_while_a_batch_is_under_way_are_sent_too_and_do_not_hold_the_rest_back(
    place: Posted, server: OpenAIServer
) -> None:
    place.run(rows(10))
    assert place.run(rows(12)).pending == 12
    server.advance(TO_THE_END)
    report = place.run(rows(15))
    assert (report.published, report.items.added, report.items.later, report.pending) == (True, 12, 3, 3)
    assert report.reason == "nothing was published before; 3 texts that came later are with the Batch API"
    assert place.holds(rows(12))
    server.advance(TO_THE_END)
    report = place.run()
    assert (report.published, report.items.added, report.pending) == (True, 3, 0)
    assert place.holds(rows(15))
    assert place.asked.paid == texts(rows(15))


def test_an_item_that_changes_while_others_are_picked_up_keeps_its_published_version_until_its_text_is_back(
    place: Posted, server: OpenAIServer
) -> None:
    place.run(rows(5))
    server.advance(TO_THE_END)
    place.run()
    place.run(rows(8))
    server.advance(TO_THE_END)
    changed = [{"id": "0", "text": "This text is another one now."}, *rows(7, start=1)]
    report = place.run(changed)
    assert (report.published, report.items.added, report.items.changed, report.items.later) == (True, 3, 0, 1)
    assert place.holds(rows(8))
    server.advance(TO_THE_END)
    assert place.run().items.changed == 1
    assert place.holds(changed)


def test_items_that_vanish_while_their_texts_are_under_way_are_not_waited_for(
    place: Posted, server: OpenAIServer
) -> None:
    place.run(rows(5))
    server.advance(TO_THE_END)
    place.run()
    place.run(rows(9))
    report = place.run(rows(4))
    assert (report.published, report.items.deleted, report.pending) == (True, 1, 0)
    server.advance(TO_THE_END)
    assert place.run(rows(9)).published
    assert place.holds(rows(9))
    assert place.asked.paid == texts(rows(9))


def test_texts_that_expired_are_sent_again_and_no_other(place: Posted, server: OpenAIServer) -> None:
    server.fate("expire", share=0.5)
    place.run(rows(10))
    server.advance(TO_THE_END)
    again = place.run()
    assert (again.published, again.pending) == (False, 5)
    server.advance(TO_THE_END)
    assert place.run().published
    assert place.holds(rows(10))
    assert place.asked.paid == texts(rows(10))


@pytest.mark.parametrize("fate", ["fail", "token_limit", "partly", "forget"])
def test_texts_that_failed_are_sent_again_and_paid_once(place: Posted, server: OpenAIServer, fate: str) -> None:
    server.fate(fate)
    place.run(rows(10))
    server.advance(TO_THE_END)
    assert not place.run().published
    server.advance(TO_THE_END)
    assert place.run().published
    assert place.holds(rows(10))
    assert place.asked.paid == texts(rows(10))


@pytest.mark.parametrize("fate", ["nan", "short", "none", "many", "zeros"])
def test_an_answer_that_is_no_vector_is_never_stored_and_asked_for_again(
    place: Posted, server: OpenAIServer, fate: str
) -> None:
    server.fate(fate)
    place.run(rows(10))
    server.advance(TO_THE_END)
    assert place.run().pending == 5
    server.advance(TO_THE_END)
    assert place.run().published
    assert place.holds(rows(10))


def test_a_text_that_fails_again_and_again_goes_to_the_rejects(place: Posted, server: OpenAIServer) -> None:
    for _ in range(3):
        server.fate("partly", share=0.2)
        place.run(rows(5))
        server.advance(TO_THE_END)
    report = place.run()
    assert (report.published, report.items.rejected) == (True, 1)
    (reject,) = place.rejects()
    assert "has failed 3 times" in reject["reason"]
    assert "had an error while processing" in reject["reason"]


def test_a_text_that_the_api_refuses_goes_to_the_rejects_in_its_own_words(place: Posted, server: OpenAIServer) -> None:
    server.set(poison="number 3")
    place.run(rows(5))
    server.advance(TO_THE_END)
    report = place.run()
    assert (report.published, report.items.added, report.items.rejected) == (True, 4, 1)
    (reject,) = place.rejects()
    assert (reject["id"], reject["reason"]) == ("3", "Your input was rejected as a result of our safety system.")
    assert place.asked.asked("POST /v1/batches") == 1
    place.run(rows(6))
    assert place.batches[-1].requests == 1


def test_no_words_of_the_api_tell_the_key(place: Posted, server: OpenAIServer) -> None:
    secret = server.key
    server.set(poison="number 3", poison_message=f"Your key {secret} may not ask that")
    place.run(rows(5))
    server.advance(TO_THE_END)
    place.run()
    (reject,) = place.rejects()
    assert reject["reason"] == "Your key … may not ask that."


def test_a_model_of_this_machine_takes_no_batches(place: Posted, stand_in: StandIn) -> None:
    stand_in.fingerprint = StandIn.fingerprint
    with pytest.raises(ConfigurationError, match=r'mode is "batch", but model .* is not behind an API'):
        place.run(rows(3))


def test_texts_under_way_are_waited_for_and_not_paid_again_when_the_mode_is_normal_again(
    place: Posted, server: OpenAIServer, stand_in: StandIn
) -> None:
    place.run(rows(5))
    assert place.run(rows(7), mode="normal").pending == 5
    server.advance(TO_THE_END)
    assert place.run(mode="normal").published
    assert place.holds(rows(7))
    assert stand_in.asked == ["This is text number 5.", "This is text number 6."]
    assert place.asked.paid == texts(rows(5))


def test_what_is_late_in_a_rebuild_is_embedded_at_once(place: Posted, server: OpenAIServer, stand_in: StandIn) -> None:
    place.run(rows(5), mode="normal")
    stand_in.asked.clear()
    place.run(rows(6), document_prompt="passage: ")
    stand_in.fingerprint = type(stand_in.fingerprint)(**{**stand_in.fingerprint.to_json(), "document_prompt": "p: "})
    assert place.run().pending == 6
    server.advance(TO_THE_END)
    report = place.run(rows(7))
    assert (report.published, report.pending) == (True, 0)
    assert len(stand_in.asked) == 1
    assert place.snapshot.generation.counts.items == 7


def test_a_batch_of_another_model_is_picked_up_and_kept_though_the_model_has_changed(
    place: Posted, server: OpenAIServer, stand_in: StandIn
) -> None:
    place.run(rows(5))
    through_api, stand_in.fingerprint = stand_in.fingerprint, StandIn.fingerprint
    assert place.run(mode="normal").published
    server.advance(TO_THE_END)
    assert not place.run(mode="normal").published
    stand_in.fingerprint = through_api
    stand_in.asked.clear()
    assert place.run().published
    assert stand_in.asked == []
    assert place.holds(rows(5))
    assert place.asked.paid == texts(rows(5))
