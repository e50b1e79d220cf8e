"""What turns text into vectors, and when may two vectors meet?

A model embeds documents and queries, which are two acts: a model may want another prompt for each. Its fingerprint is
the identity of the space its vectors live in; vectors of different fingerprints never meet. `identify` reads it from
the model's files alone, so that a run with nothing to embed loads no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError
from indexer.providers import OPENAI, Providers
from indexer.vectors import Vectors

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter


QUERIES = "queries"
"""The space of a log's queries, which a model of this machine has embedded as queries."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of a vector space: two are the same space when every field is equal."""

    provider: str
    """Who makes the vectors, `sentence-transformers` or `openai`."""
    name: str
    """The model's name or folder, as configured."""
    revision: str
    """SHA-256 over the model's files: weights, tokenizer, pooling; empty for a model behind an API."""
    dimension: int
    """The length of a vector."""
    query_prompt: str
    """Text put before every query."""
    document_prompt: str
    """Text put before every passage."""
    pooling: str
    """How token vectors become one: `mean`, `cls`, …"""
    normalised: bool
    """Whether vectors have length 1; always true today."""
    space: str = ""
    """Of a model behind an API: the API's address, or what the configuration calls the space. Of one of this machine:
    `queries`, where the embedding cache has those of a log; else nothing."""

    @property
    def of_queries(self) -> bool:
        """Whether it is the space of a log's queries, in which no document is."""
        return self.space == QUERIES and self.provider != "openai"

    def to_json(self) -> dict[str, Any]:
        """Plain values; a space that is empty is left out, as it is where there was no such field yet."""
        values = asdict(self)
        if not self.space:
            del values["space"]
        return values


@dataclass(frozen=True, slots=True)
class Embedded:
    """An answer of a model about some of the texts that it was asked for."""

    rows: Sequence[int]
    """Which texts, as numbers into those asked for."""
    vectors: Vectors | None
    """One of length 1 for each, (rows, dimension) float32; None where the model refuses them."""
    refusal: str = ""
    """Why it refuses them."""
    reserved: int = 0
    """Tokens of the request, as counted before it was made."""
    billed: int = 0
    """Tokens that are paid for; 0 where nothing is."""
    estimated: bool = False
    """Whether these were counted here, because the API did not say."""


class Tokenizer(Protocol):
    """What a model makes of a text before it reads it."""

    @property
    def exact(self) -> bool:
        """Whether it counts; else it tells about how many there are, and every figure made of that is estimated."""

    @property
    def special(self) -> int:
        """Tokens that the model puts around each text."""

    def count(self, text: str) -> int:
        """The tokens of a text, special ones left out."""

    def fits(self, text: str, tokens: int) -> int | None:
        """The tokens of a text that surely has no more than so many; else None, and the text is split."""

    def pieces(self, text: str) -> list[tuple[int, str]]:
        """Its tokens, ids and pieces; raises ModelUnavailable where it only estimates."""

    def splitter(self, tokens: int, overlap: int) -> TextSplitter:
        """What splits texts into pieces of at most so many tokens."""


Allows = Callable[[int], bool]
"""Says whether a request of so many tokens may be made."""


def whatever_it_costs(tokens: int) -> bool:
    """Allow every request."""
    return True


class Model(Protocol):
    """A loaded embedding model; safe to call from several threads."""

    @property
    def fingerprint(self) -> Fingerprint:
        """The identity of its vectors."""

    @property
    def device(self) -> str:
        """Where it computes: `cpu`, `cuda:0`, …"""

    @property
    def numeric_path(self) -> str:
        """What its figures depend on beside its files: library, precision, kind of device; `torch float32 cpu`."""

    @property
    def tokenizer(self) -> Tokenizer:
        """How it counts tokens."""

    @property
    def window(self) -> int:
        """The most tokens it reads, special tokens and prompt included."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 for each text, (n, dimension) float32.

        Raises ModelUnavailable where it fails, and InvalidRequest for a text that an API refuses.
        """

    def embed_stream(self, texts: Sequence[str], allows: Allows = whatever_it_costs) -> Iterator[Embedded]:
        """The same for many texts: answers as they come, each text in one of them.

        More is begun only when the next answer is asked for, so that an answer can be kept first; what is under way
        meanwhile is bounded. Once `allows` says no, what is under way still comes, and then the stream ends.
        """

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        """The same for queries."""

    def warm(self) -> None:
        """Do what the first query would have to wait for."""


def identify(
    settings: CollectionSettings, providers: Providers = Providers(), published: Fingerprint | None = None
) -> Fingerprint:
    """The fingerprint of the configured model, from its files; raises ModelUnavailable where they are not there.

    A model behind an API that nothing is known of is asked how long its vectors are, unless `published`, the
    fingerprint of what is current, tells.
    """
    if settings.model.startswith(OPENAI):
        from indexer.models import openai

        return openai.identify(settings, providers, published)
    for setting in ("dimensions", "space"):
        if getattr(settings, setting) is not None:
            raise ConfigurationError(
                f"{setting} is for models behind an API, whose names begin with {OPENAI!r}, and model is "
                f"{settings.model!r}: leave it out.",
                param=setting,
            )
    from indexer.models import sentence_transformers

    return sentence_transformers.identify(settings.model, settings.query_prompt, settings.document_prompt)


def load(fingerprint: Fingerprint, device: str | None = None, providers: Providers = Providers()) -> Model:
    """The model that makes vectors of exactly this fingerprint.

    Raises ModelUnavailable where it is not there, does not load, or is another one by now.
    """
    if fingerprint.provider == "openai":
        from indexer.models import openai

        return openai.load(fingerprint, providers)
    from indexer.models import local

    return local.load(fingerprint, device, providers.local)
