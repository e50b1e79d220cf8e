"""How is a model behind OpenAI's API asked?

The only module that imports openai, when something is asked for the first time. What always holds: an answer is
handed over before its place is taken by another request; what the API refuses is told apart, text by text; a key shows
nowhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.config import CollectionSettings
from indexer.errors import InvalidRequest, ModelUnavailable
from indexer.models import Allows, Embedded, Fingerprint, whatever_it_costs
from indexer.models.openai_answers import Answer, Failure, SpoiledAnswer, judge, read_answer
from indexer.models.openai_known import asked_dimension, known
from indexer.models.openai_stream import Asked, stream
from indexer.models.openai_tokens import OpenAITokenizer
from indexer.providers import OPENAI, OPENAI_KEY, OPENAI_URL, OpenAISettings, Providers, shown
from indexer.vectors import Vectors

if TYPE_CHECKING:
    import openai

PROVIDER = "openai"
QUERY_SECONDS = 10.0
"""How long a query may take, retries included: somebody waits for it."""


class OpenAIModel:
    """A model behind the API; any number of threads may ask at once."""

    device = "api"
    numeric_path = "api"

    def __init__(self, fingerprint: Fingerprint, providers: Providers) -> None:
        """Asks for nothing."""
        model = known(fingerprint.name, providers.of(fingerprint.name))
        self.fingerprint = fingerprint
        self.tokenizer = OpenAITokenizer(fingerprint.name, providers.vocabularies)
        self.window = model.window
        self._settings = providers.openai
        shorter = model.dimension is not None and model.dimension != fingerprint.dimension
        self._connection = Connection(
            providers.openai, fingerprint.name, fingerprint.dimension, fingerprint.dimension if shorter else None
        )

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 for each text, (n, dimension) float32."""
        return self._embed(texts, self.fingerprint.document_prompt, self._settings.give_up_seconds)

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        """The same for queries, with the query prompt, soon or not at all."""
        return self._embed(texts, self.fingerprint.query_prompt, min(QUERY_SECONDS, self._settings.give_up_seconds))

    def embed_stream(self, texts: Sequence[str], allows: Allows = whatever_it_costs) -> Iterator[Embedded]:
        """The same for many texts: several requests at once, answers as they come."""
        return self._stream(texts, self.fingerprint.document_prompt, self._settings.give_up_seconds, allows, kept=True)

    def warm(self) -> None:
        """Nothing to wait for."""

    def _embed(self, texts: Sequence[str], prompt: str, give_up: float) -> Vectors:
        vectors = np.empty((len(texts), self.fingerprint.dimension), dtype=np.float32)
        for answer in self._stream(texts, prompt, give_up, whatever_it_costs):
            if answer.refusal:
                raise InvalidRequest(f"Model {self.fingerprint.name!r} refuses the text: {answer.refusal}")
            if answer.vectors is not None:
                vectors[list(answer.rows)] = answer.vectors
        return vectors

    def _stream(
        self, texts: Sequence[str], prompt: str, give_up: float, allows: Allows, kept: bool = False
    ) -> Iterator[Embedded]:
        whole = [prompt + text for text in texts]
        tokens = [self.tokenizer.count(text) for text in whole]
        asked = Asked(whole, tokens, self.tokenizer.exact, self._settings.in_flight, give_up, kept)
        return stream(asked, self._connection, allows)


class Connection:
    """A way to one model behind the API, opened when it is first asked."""

    def __init__(self, settings: OpenAISettings, name: str, dimension: int | None, ask_for: int | None) -> None:
        """`dimension` is how long vectors must be, where that is known; `ask_for` what the API is told of it."""
        self.name = name
        self._settings = settings
        self._dimension = dimension
        self._options: dict[str, Any] = {} if ask_for is None else {"dimensions": ask_for}
        self._client: openai.OpenAI | None = None
        self._opening = threading.Lock()

    def ask(self, texts: Sequence[str], seconds: float) -> tuple[Answer | SpoiledAnswer | Failure, Mapping[str, str]]:
        """One request, without a retry: its answer, or why there is none, and the headers that came with it."""
        import openai

        client = self.client()
        try:
            got = client.with_options(timeout=min(seconds, self._settings.timeout_seconds)).embeddings
            raw = got.with_raw_response.create(
                input=list(texts), model=self.name.removeprefix(OPENAI), encoding_format="base64", **self._options
            )
            return read_answer(raw.http_response.content, len(texts), self._dimension), raw.headers
        except SpoiledAnswer as spoiled:
            return spoiled, {}
        except openai.APIStatusError as error:
            failure = judge(error.status_code, error.body, error.response.headers, f"status {error.status_code}")
            return self._masked(failure), error.response.headers
        except openai.APIError as error:
            return self._masked(judge(None, error.body, {}, _cause(error))), {}

    def client(self) -> openai.OpenAI:
        """The client, which retries nothing by itself; raises ModelUnavailable where there is no key."""
        with self._opening:
            if self._client is None:
                self._client = connect(self._settings, self.name)
            return self._client

    def unavailable(self, words: str) -> ModelUnavailable:
        """The error of a model that cannot be had."""
        return ModelUnavailable(f"Model {self.name!r} cannot be asked at {shown(self._settings.base_url)}: {words}.")

    def _masked(self, failure: Failure) -> Failure:
        """The same without the key, should the server have quoted it."""
        key = self._settings.api_key
        words = failure.words.rstrip(".")
        if key is not None:
            words = words.replace(key.get_secret_value(), "…")
        return Failure(failure.kind, words, failure.wait, failure.rate)


def connect(settings: OpenAISettings, name: str) -> openai.OpenAI:
    """A client of the API; raises ModelUnavailable where there is no key."""
    if settings.api_key is None:
        raise ModelUnavailable(
            f"Model {name!r} needs a key: set {OPENAI_KEY} in the environment, to any word where the server at "
            f"{shown(settings.base_url)} asks for none.",
            param="model",
        )
    import openai

    return openai.OpenAI(
        api_key=settings.api_key.get_secret_value(),
        base_url=settings.base_url,
        timeout=settings.timeout_seconds,
        max_retries=0,
    )


def _cause(error: BaseException) -> str:
    """What broke a request, from the innermost error that says something."""
    told, at = str(error), error.__cause__
    while at is not None:
        told, at = str(at) or told, at.__cause__
    return told.rstrip(".") or type(error).__name__


def identify(settings: CollectionSettings, providers: Providers, published: Fingerprint | None) -> Fingerprint:
    """The fingerprint of a model by its name; asks the API only for what neither is known nor published.

    Raises ConfigurationError for dimensions that the model does not make, and ModelUnavailable.
    """
    name = settings.model
    space = settings.space or shown(providers.openai.base_url)
    model = known(name, providers.of(name))
    dimension = asked_dimension(settings, model)
    if dimension is None and published and (published.name, published.space) == (name, space):
        dimension = published.dimension
    return Fingerprint(
        provider=PROVIDER,
        name=name,
        revision="",
        dimension=dimension or _told_dimension(name, providers),
        query_prompt=settings.query_prompt or "",
        document_prompt=settings.document_prompt or "",
        pooling="api",
        normalised=True,
        space=space,
    )


def _told_dimension(name: str, providers: Providers) -> int:
    """How long the vectors are that the API makes."""
    connection = Connection(providers.openai, name, None, None)
    asked = Asked(["dimension"], [1], True, 1, QUERY_SECONDS)
    dimensions = [
        each.vectors.shape[1] for each in stream(asked, connection, whatever_it_costs) if each.vectors is not None
    ]
    if not dimensions:
        raise connection.unavailable("it refuses any text")
    return int(dimensions[0])


def load(fingerprint: Fingerprint, providers: Providers) -> OpenAIModel:
    """The model of exactly this fingerprint; raises ModelUnavailable where the API is at another address by now."""
    here = shown(providers.openai.base_url)
    if "://" in fingerprint.space and fingerprint.space != here:
        raise ModelUnavailable(
            f"The vectors of model {fingerprint.name!r} were made at {fingerprint.space}, and {OPENAI_URL} is {here}, "
            f"whose vectors may be others: set it to {fingerprint.space}, or name a `space` for both and index again.",
            param="model",
        )
    return OpenAIModel(fingerprint, providers)
