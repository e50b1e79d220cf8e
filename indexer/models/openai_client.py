"""How is the API reached?

With `openai_deadline` the only module that imports openai, and only when the first request is made. What always holds:
one call is one request, whose outcome is an answer or a failure; the key is in the request's header and nowhere else.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from indexer.errors import ModelUnavailable
from indexer.models.openai_answers import Answer, BadAnswer, read_answer
from indexer.models.openai_failures import Failure, Verdict, judge, retry_after, sentence
from indexer.providers import OPENAI_KEY, OpenAISettings, shown

if TYPE_CHECKING:
    from httpx2 import TransportError
    from openai import APIConnectionError, APIStatusError, OpenAI

T = TypeVar("T")


def connect(settings: OpenAISettings) -> OpenAI:
    """A client that tries once; raises ModelUnavailable where there is no key."""
    from openai import OpenAI

    from indexer.models.openai_deadline import punctual_client

    return OpenAI(
        api_key=_key(settings),
        base_url=shown(settings.base_url),
        default_headers=_login(settings.base_url),
        max_retries=0,
        timeout=settings.timeout_seconds,
        http_client=punctual_client(),
    )


def _key(settings: OpenAISettings) -> str:
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    if not key:
        raise ModelUnavailable(
            f"{OPENAI_KEY} is not set, so that {shown(settings.base_url)} cannot be asked: export it; a server that "
            "wants no key takes any.",
            param="model",
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ModelUnavailable(f"{OPENAI_KEY} holds characters that no key has: set it again.", param="model")
    return key


def _login(url: str) -> dict[str, str]:
    """User and password of an address, as a header, so that nobody sees them who logs addresses."""
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


class Connection:
    """Asks one model of the API for vectors, or the API for anything; safe to use from several threads."""

    def __init__(self, settings: OpenAISettings, model: str = "") -> None:
        """`model` is the API's name of it. Nothing is asked yet."""
        self._settings, self._model = settings, model
        self._client: OpenAI | None = None
        self._turn = threading.Lock()

    def open(self) -> OpenAI:
        """The client; raises ModelUnavailable where there is no key."""
        with self._turn:
            if self._client is None:
                self._client = connect(self._settings)
            return self._client

    def ask(
        self, texts: Sequence[str], dimension: int | None, dimensions: int | None, timeout: float
    ) -> Answer | Failure:
        """Ask once; vectors have to be of length `dimension`, if that is given."""
        from openai import omit

        def ask(client: OpenAI) -> tuple[Mapping[str, str], bytes]:
            raw = client.embeddings.with_raw_response.create(
                input=list(texts),
                model=self._model,
                dimensions=omit if dimensions is None else dimensions,
                encoding_format="base64",
                timeout=timeout,
            )
            return _lower(raw.headers), raw.content

        outcome = self.call(ask, timeout)
        if isinstance(outcome, Failure):
            return outcome
        headers, body = outcome
        try:
            vectors, billed = read_answer(body, len(texts), dimension)
        except BadAnswer as error:
            return Failure(Verdict.AGAIN, f"{error.reason}.", headers=headers, billed=error.billed)
        return Answer(vectors, billed, headers)

    def call(self, ask: Callable[[OpenAI], T], timeout: float) -> T | Failure:
        """What is asked of the client, or why it failed; `timeout` is what the client was told."""
        from httpx2 import TransportError
        from openai import APIConnectionError, APIStatusError

        client = self.open()
        try:
            return ask(client)
        except APIStatusError as error:
            return self._refused(error)
        except (APIConnectionError, TransportError) as error:
            return self._broken(error, timeout)

    def close(self) -> None:
        """Let go of the connections that wait for the next request."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def _secret(self) -> str:
        return self._settings.api_key.get_secret_value() if self._settings.api_key else ""

    def _refused(self, error: APIStatusError) -> Failure:
        headers = _lower(error.response.headers)
        code, kind, param = (str(value or "") for value in (error.code, error.type, error.param))
        return Failure(
            judge(error.status_code, code, kind, param),
            sentence(_words(error), self._secret),
            status=error.status_code,
            code=kind if kind == "insufficient_quota" else code,
            after=retry_after(headers, datetime.now(UTC)),
            headers=headers,
        )

    def _broken(self, error: APIConnectionError | TransportError, timeout: float) -> Failure:
        from openai import APITimeoutError

        if isinstance(error, APITimeoutError):
            return Failure(Verdict.LATER, f"no answer came within {timeout:.3g} seconds.", slow=True)
        cause = error.__cause__
        words = f"the connection failed ({type(cause).__name__}: {cause})" if cause else "the connection failed"
        return Failure(Verdict.LATER, sentence(words, self._secret))


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _words(error: APIStatusError) -> str:
    """What the API says, wherever a server puts it."""
    body: Any = error.body
    if isinstance(body, dict):
        body = next((body[key] for key in ("message", "detail", "error") if isinstance(body.get(key), str)), None)
    return body if isinstance(body, str) and body.strip() else f"status {error.status_code}"
