"""How does a model behind OpenAI's API embed?

What it is called, how long its vectors are and which server makes them is its fingerprint: vectors of two servers never
meet, unless the configuration says that they are of one `space`. Nothing is asked before there is a text; then the key
is needed, and only then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np

from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError, ModelUnavailable
from indexer.models import Allows, Embedded, Fingerprint, whatever_it_costs
from indexer.models.openai_answers import Answer
from indexer.models.openai_client import Connection
from indexer.models.openai_failures import Failure, Verdict
from indexer.models.openai_known import Known, agreed_dimension, dimensions_to_send, known
from indexer.models.openai_pace import Pace, Ticket
from indexer.models.openai_packing import most_tokens, pack
from indexer.models.openai_queries import embed_now
from indexer.models.openai_requests import Asked
from indexer.models.openai_stream import Stream
from indexer.models.openai_tokens import OpenAITokenizer
from indexer.providers import OPENAI, OPENAI_URL, Providers, shown
from indexer.vectors import Vectors

PROVIDER = "openai"
SHORT = "length"
"""What a model is asked for of which it is not known how long its vectors are."""


class OpenAIModel:
    """A model behind the API; safe to call from several threads."""

    device = "api"
    numeric_path = "api"

    def __init__(self, fingerprint: Fingerprint, model: Known, providers: Providers) -> None:
        self.fingerprint = fingerprint
        self.tokenizer = OpenAITokenizer(fingerprint.name, providers.vocabularies)
        self.window = model.window
        self._dimensions = dimensions_to_send(fingerprint.dimension, model)
        self._settings = providers.openai
        self._server = shown(providers.openai.base_url)
        self._connection = Connection(providers.openai, fingerprint.name.removeprefix(OPENAI))
        self._pace = Pace(providers.openai.in_flight)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 for each text, (n, dimension) float32, for somebody who waits."""
        return self._embed_now([self.fingerprint.document_prompt + text for text in texts])

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        """The same for queries, with the query prompt."""
        return self._embed_now([self.fingerprint.query_prompt + text for text in texts])

    def embed_stream(self, texts: Sequence[str], allows: Allows = whatever_it_costs) -> Iterator[Embedded]:
        """The same for many texts, several requests at once; see `Model`.

        Raises ModelUnavailable where the API does not do its work; every answer that was good has come before.
        """
        if not texts:
            return
        self._connection.open()
        prompted = [self.fingerprint.document_prompt + text for text in texts]
        tokens = self._count(prompted)
        asked = Asked(prompted, tokens, self.fingerprint.dimension, self.fingerprint.name, self._server)
        packs = pack(tokens, most_tokens(self.tokenizer.exact))
        yield from Stream(asked, packs, self._ask, self._pace, self._settings, allows).answers()

    def warm(self) -> None:
        """Nothing: the first query costs no more than the next."""

    def _embed_now(self, texts: list[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.fingerprint.dimension), dtype=np.float32)
        packs = pack(self._count(texts), most_tokens(self.tokenizer.exact))
        return embed_now(texts, packs, self._ask_within, self.fingerprint.name, self._server)

    def _count(self, texts: list[str]) -> list[int]:
        return [self.tokenizer.count(text) for text in texts]

    def _ask_within(self, texts: Sequence[str], seconds: float) -> Answer | Failure:
        """For somebody who waits, and who goes before the rest."""
        return self._ask(texts, self._pace.send(sum(self._count(list(texts)))), seconds)

    def _ask(self, texts: Sequence[str], ticket: Ticket, seconds: float = math.inf) -> Answer | Failure:
        """Ask once, and let the pace know."""
        outcome: Answer | Failure | None = None
        try:
            timeout = min(seconds, self._settings.timeout_seconds)
            outcome = self._connection.ask(texts, self.fingerprint.dimension, self._dimensions, timeout)
            return outcome
        finally:
            late = outcome is None or (isinstance(outcome, Failure) and outcome.verdict is Verdict.LATER)
            self._pace.answered(ticket, outcome.headers if outcome else {}, time.monotonic(), not late)


def identify(settings: CollectionSettings, providers: Providers, published: Fingerprint | None) -> Fingerprint:
    """The fingerprint of a model by its name.

    A model of which nobody says how long its vectors are is asked, unless `published` is of it. Raises
    ModelUnavailable where that fails, and ConfigurationError for `dimensions` that cannot be had.
    """
    name = settings.model
    if not name.removeprefix(OPENAI).strip():
        raise ConfigurationError(f"model is {name!r}: name the model behind {OPENAI!r}.", param="model")
    space = settings.space or shown(providers.openai.base_url)
    dimension = agreed_dimension(name, known(name, providers.of(name)), settings.dimensions)
    if dimension is None and published is not None:
        same = (published.provider, published.name, published.space) == (PROVIDER, name, space)
        dimension = published.dimension if same else None
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


def load(fingerprint: Fingerprint, providers: Providers) -> OpenAIModel:
    """The model of exactly this fingerprint, unasked; raises ModelUnavailable where another server is configured."""
    server = shown(providers.openai.base_url)
    if "://" in fingerprint.space and fingerprint.space != server:
        raise ModelUnavailable(
            f"The vectors of {fingerprint.name!r} were made by {fingerprint.space}, and {server} is configured: set "
            f"{OPENAI_URL} to {fingerprint.space}; or, if both make the same vectors, name a `space` and index again.",
            param="model",
        )
    return OpenAIModel(fingerprint, known(fingerprint.name, providers.of(fingerprint.name)), providers)


def _told_dimension(name: str, providers: Providers) -> int:
    """How long the vectors of a model are, by one of them."""
    connection = Connection(providers.openai, name.removeprefix(OPENAI))

    def ask(texts: Sequence[str], seconds: float) -> Answer | Failure:
        return connection.ask(texts, None, None, min(seconds, providers.openai.timeout_seconds))

    return int(embed_now([SHORT], [[0]], ask, name, shown(providers.openai.base_url)).shape[1])
