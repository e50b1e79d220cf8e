"""How is the Batch API of OpenAI asked?

Everything here may be asked twice and come to the same, but for `create`, which costs money each time: that is tried
once, and where nobody can tell whether it has worked, None says so; the batch is then found by `named`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from indexer import storage
from indexer.errors import ModelUnavailable
from indexer.models.openai_client import Connection
from indexer.models.openai_failures import Failure, explain
from indexer.providers import Providers, shown
from indexer.storage import OutputFile

if TYPE_CHECKING:
    from openai import OpenAI

ENDPOINT: Literal["/v1/embeddings"] = "/v1/embeddings"
OURS = "parecido"
"""The key in a batch's metadata whose value is our id of it."""
CHUNK = 1 << 16
"""Bytes that are read at once of what comes back."""
TRIES = 4
"""How often a call is tried again, by the client, which honours Retry-After."""
UPLOAD_SECONDS = 600.0
"""What a file that comes or goes may take; its pieces have the time of any other request."""

Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A batch as the API describes it."""

    id: str
    ours: str | None
    """The id that we gave it."""
    status: str
    file_id: str
    output_id: str | None
    error_id: str | None
    made_at: int
    """In seconds since 1970, by the API's clock."""
    done: int
    """Requests that have an answer."""
    tokens: int
    """Paid for, as the API says; 0 where it does not."""
    problem: str
    """Why it failed as a whole, in the API's words."""
    problem_code: str


class OpenAIBatches:
    """The Batch API of one server. Every method raises ModelUnavailable where the server does not do what it should."""

    def __init__(self, providers: Providers) -> None:
        """Asks nothing yet."""
        self._settings = providers.openai
        self.server = shown(providers.openai.base_url)
        """Its address without credentials."""
        self._connection = Connection(self._settings)

    def close(self) -> None:
        """Let go of connections."""
        self._connection.close()

    def upload(self, path: Path, name: str) -> str:
        """Have the API keep a file; returns its id there."""

        def ask(client: OpenAI) -> Any:
            with storage.disk(path, "read"), path.open("rb") as file:
                patient = client.with_options(timeout=UPLOAD_SECONDS)
                return patient.files.with_raw_response.create(file=(name, file), purpose="batch")

        return str(_id(self._sure("take a batch's file", ask)))

    def uploaded(self, name: str, size: int) -> str | None:
        """The id of the file of that name and length; None where the API has none."""
        files = self._pages("list its files", lambda client, more: client.files.with_raw_response.list(
            purpose="batch", order="desc", **more))  # fmt: skip
        return next((_id(one) for one in files if one.get("filename") == name and one.get("bytes") == size), None)

    def has(self, file: str) -> bool:
        """Whether the API has that file."""
        return self._ask("say what it has", lambda client: client.files.with_raw_response.retrieve(file)) is not None

    def create(self, file: str, ours: str) -> RemoteBatch | None:
        """Have the texts of a file embedded within a day; None where the answer is lost, and it may be so or not.

        Where ModelUnavailable is raised there is no such batch.
        """

        def ask(client: OpenAI) -> Any:
            return client.with_options(max_retries=0).batches.with_raw_response.create(
                completion_window="24h", endpoint=ENDPOINT, input_file_id=file, metadata={OURS: ours}
            )

        with contextlib.suppress(_Unsure):
            return _remote(self._sure("take a batch", ask, once=True))
        return None

    def named(self, ours: Collection[str], since: int) -> Iterator[RemoteBatch]:
        """The batches of these ids of ours, newest first, of those that were made since then."""
        pages = self._pages("list its batches", lambda client, more: client.batches.with_raw_response.list(
            limit=100, **more))  # fmt: skip
        for one in pages:
            batch = _remote(one)
            if batch.made_at < since:
                break
            if batch.ours in ours:
                yield batch

    def get(self, id: str) -> RemoteBatch | None:
        """The batch of that id of the API's; None where the API knows none."""
        found = self._ask("say how far a batch is", lambda client: client.batches.with_raw_response.retrieve(id))
        return None if found is None else _remote(found)

    def cancel(self, id: str) -> None:
        """Have a batch do no more; what it has done comes as ever. Nothing happens where it is over, or not known."""
        batch = self.get(id)
        if batch is not None and batch.status in ("validating", "in_progress"):
            self._ask("cancel a batch", lambda client: client.batches.with_raw_response.cancel(id))

    def download(self, file: str, path: Path) -> None:
        """Write what is in a file of the API's into a new file; raises ModelUnavailable unless all of it came."""
        described = self._sure("describe a file", lambda client: client.files.with_raw_response.retrieve(file))

        def ask(client: OpenAI) -> int:
            storage.remove(path)
            patient = client.with_options(timeout=UPLOAD_SECONDS)
            with OutputFile(path) as out, patient.files.with_streaming_response.content(file) as response:
                return sum(out.write(chunk) for chunk in response.iter_bytes(CHUNK))

        written = self._tried("hand out a file", ask)
        if written != described.get("bytes"):
            raise ModelUnavailable(
                f"A file of {self.server} came with {written} instead of {described.get('bytes')} bytes: run it again.",
                param="model",
            )

    def delete(self, file: str) -> None:
        """Have the API keep a file no longer; one that it does not know is gone already."""
        self._ask("remove a file", lambda client: client.files.with_raw_response.delete(file))

    def _pages(self, act: str, ask: Callable[[OpenAI, Found], Any]) -> Iterator[Found]:
        """The objects of a list, page after page."""
        more: Found = {}
        while True:
            page = self._sure(act, lambda client, more=more: ask(client, more))  # type: ignore[misc]
            objects = page.get("data")
            if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
                raise self._garbled(act)
            yield from objects
            if not (objects and page.get("has_more")):
                return
            more = {"after": _id(objects[-1])}

    def _sure(self, act: str, ask: Callable[[OpenAI], Any], once: bool = False) -> Found:
        found = self._ask(act, ask, once)
        if found is None:
            raise ModelUnavailable(f"{self.server} cannot {act}: it knows nothing of it. Run it again.", param="model")
        return found

    def _ask(self, act: str, ask: Callable[[OpenAI], Any], once: bool = False) -> Found | None:
        """The object that the API answers with; None where it knows no such thing."""
        raw = self._tried(act, ask, once)
        if raw is None:
            return None
        try:
            found = orjson.loads(raw.content)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("id", ""), str):
            raise self._garbled(act, once)
        return found

    def _tried(self, act: str, ask: Callable[[OpenAI], Any], once: bool = False) -> Any:
        """What is answered; None where the API knows no such thing."""

        def patiently(client: OpenAI) -> Any:
            return ask(client if once else client.with_options(max_retries=TRIES))

        outcome = self._connection.call(patiently, self._settings.timeout_seconds)
        if not isinstance(outcome, Failure):
            return outcome
        if outcome.status == 404:
            return None
        if once and (outcome.status or 500) >= 500:
            raise _Unsure
        if outcome.status == 401 or outcome.spent:
            raise explain(outcome, "", self.server)
        raise ModelUnavailable(f"{self.server} does not {act}: {outcome.words} Run it again.", param="model")

    def _garbled(self, act: str, once: bool = False) -> Exception:
        if once:
            return _Unsure()
        return ModelUnavailable(
            f"{self.server} was asked to {act}, and what came is no answer. Run it again.", param="model"
        )


class _Unsure(Exception):
    """Nobody can tell whether the API has done as it was asked."""


def _id(found: Found) -> Any:
    return found.get("id")


def _number(value: Any) -> int:
    return value if type(value) is int else 0


def _remote(found: Found) -> RemoteBatch:
    errors, counts, usage = (found.get(key) or {} for key in ("errors", "request_counts", "usage"))
    problem: Found = next(iter(errors.get("data") or ()), {})
    return RemoteBatch(
        id=str(found.get("id")),
        ours=(found.get("metadata") or {}).get(OURS),
        status=str(found.get("status")),
        file_id=str(found.get("input_file_id")),
        output_id=found.get("output_file_id"),
        error_id=found.get("error_file_id"),
        made_at=_number(found.get("created_at")),
        done=_number(counts.get("completed")) + _number(counts.get("failed")),
        tokens=_number(usage.get("total_tokens")),
        problem=str(problem.get("message") or problem.get("code") or ""),
        problem_code=str(problem.get("code") or ""),
    )
