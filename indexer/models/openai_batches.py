"""How is the Batch API of OpenAI asked?

Everything here may be asked twice and come to the same, but for `create`, which costs money each time: that is tried
once, and where nobody can tell whether it has worked, None says so; the batch is then found by `named`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from indexer.errors import ModelUnavailable
from indexer.providers import Providers, shown
from indexer.storage import OutputFile

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch

ENDPOINT: Literal["/v1/embeddings"] = "/v1/embeddings"
OURS = "parecido"
"""The key in a batch's metadata whose value is our id of it."""
PAGE = 100
CHUNK = 1 << 16
"""Bytes that are read at once of what comes back."""
TRIES = 4


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
        self._settings = providers.openai
        self.server = shown(providers.openai.base_url)
        """Its address without credentials."""
        self._made: OpenAI | None = None

    def upload(self, path: Path, name: str) -> str:
        """Have the API keep a file; returns its id there."""
        with self._asked("upload a batch's file to"), path.open("rb") as file:
            return self._client.files.create(file=(name, file), purpose="batch").id

    def uploaded(self, name: str, size: int) -> str | None:
        """The id of the file of that name and length; None where the API has none."""
        with self._asked("list the files of"):
            files = self._client.files.list(purpose="batch", order="desc")
            return next((file.id for file in files if file.filename == name and file.bytes == size), None)

    def has(self, file: str) -> bool:
        """Whether the API has that file."""
        with self._asked("look for a file of"):
            return self._found(lambda: self._client.files.retrieve(file)) is not None

    def create(self, file: str, ours: str) -> RemoteBatch | None:
        """Have the texts of a file embedded within a day; None where the answer is lost, and it may be so or not."""
        from openai import APIConnectionError, InternalServerError

        with self._asked("ask for a batch of"), contextlib.suppress(APIConnectionError, InternalServerError):
            made = self._client.with_options(max_retries=0).batches.create(
                completion_window="24h", endpoint=ENDPOINT, input_file_id=file, metadata={OURS: ours}
            )
            return _remote(made)
        return None

    def named(self, ours: set[str], since: int) -> Iterator[RemoteBatch]:
        """The batches of these ids of ours, newest first, of those that were made since then."""
        with self._asked("list the batches of"):
            for batch in self._client.batches.list(limit=PAGE):
                if batch.created_at < since:
                    break
                if (batch.metadata or {}).get(OURS) in ours:
                    yield _remote(batch)

    def get(self, id: str) -> RemoteBatch | None:
        """The batch of that id of the API's; None where the API knows none."""
        with self._asked("ask for a batch of"):
            found = self._found(lambda: self._client.batches.retrieve(id))
        return _remote(found) if found is not None else None

    def cancel(self, id: str) -> None:
        """Have a batch do no more; what it has done comes as ever. Nothing happens where it is over, or not known."""
        from openai import BadRequestError, ConflictError

        with self._asked("cancel a batch of"), contextlib.suppress(BadRequestError, ConflictError):
            self._found(lambda: self._client.batches.cancel(id))

    def download(self, file: str, path: Path) -> None:
        """Write what is in a file of the API's into a new file; nothing of it stays where that fails."""
        from httpx2 import TransportError

        for left in reversed(range(TRIES)):
            with contextlib.suppress(*([TransportError] if left else [])), self._asked("fetch the answers of"):
                size = self._client.files.retrieve(file).bytes
                self._fetch(file, path, size)
                return

    def delete(self, file: str) -> None:
        """Have the API keep a file no longer; one that it does not know is gone already."""
        with self._asked("remove a file of"):
            self._found(lambda: self._client.files.delete(file))

    def _fetch(self, file: str, path: Path, size: int) -> None:
        path.unlink(missing_ok=True)
        written = 0
        with OutputFile(path) as out:
            with self._client.files.with_streaming_response.content(file) as response:
                for chunk in response.iter_bytes(CHUNK):
                    written += out.write(chunk)
            out.complete()
        if written < size:
            raise ModelUnavailable(
                f"The file {file!r} of {self.server} ends after {written:,} of {size:,} bytes: run it again."
            )

    @property
    def _client(self) -> OpenAI:
        if self._made is None:
            from openai import OpenAI

            if self._settings.api_key is None:
                raise ModelUnavailable("OPENAI_API_KEY is not set: set it and run it again.", param="model")
            self._made = OpenAI(
                api_key=self._settings.api_key.get_secret_value(),
                base_url=self._settings.base_url,
                timeout=self._settings.timeout_seconds,
                max_retries=TRIES,
            )
        return self._made

    @contextlib.contextmanager
    def _asked(self, act: str) -> Iterator[None]:
        from openai import APIError

        try:
            yield
        except APIError as error:
            said = error.message.rstrip(".")
            raise ModelUnavailable(f"Cannot {act} {self.server}: {said}. Run it again.", param="model") from error

    def _found(self, ask: Any) -> Any:
        """What the API answers; None where it knows no such thing."""
        from openai import NotFoundError

        try:
            return ask()
        except NotFoundError:
            return None


def _remote(batch: Batch) -> RemoteBatch:
    problem = next(iter((batch.errors.data if batch.errors else None) or ()), None)
    return RemoteBatch(
        id=batch.id,
        ours=(batch.metadata or {}).get(OURS),
        status=batch.status,
        file_id=batch.input_file_id,
        output_id=batch.output_file_id,
        error_id=batch.error_file_id,
        made_at=batch.created_at,
        done=batch.request_counts.completed + batch.request_counts.failed if batch.request_counts else 0,
        tokens=batch.usage.total_tokens if batch.usage else 0,
        problem=(problem.message or problem.code or "") if problem else "",
        problem_code=(problem.code or "") if problem else "",
    )
