"""What turns text into vectors, and when may two vectors meet?

A model embeds documents and queries, which are two acts: a model may want another prompt for each. Its fingerprint is
the identity of the space its vectors live in; vectors of different fingerprints never meet. `identify` reads it from
the model's files alone, so that a run with nothing to embed loads no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from indexer.config import CollectionSettings
from indexer.vectors import Vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of a vector space: two are the same space when every field is equal."""

    provider: str
    """Who makes the vectors, `sentence-transformers`."""
    name: str
    """The model's name or folder, as configured."""
    revision: str
    """SHA-256 over the model's files: weights, tokenizer, pooling."""
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

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in a manifest."""
        return asdict(self)


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
        """Its own tokenizer, without truncation and padding."""

    @property
    def window(self) -> int:
        """The most tokens it reads, special tokens and prompt included."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 for each text, (n, dimension) float32; raises ModelUnavailable where it fails."""

    def embed_query(self, texts: Sequence[str]) -> Vectors:
        """The same for queries."""


def identify(settings: CollectionSettings) -> Fingerprint:
    """The fingerprint of the configured model, from its files; raises ModelUnavailable where they are not there."""
    from indexer.models import sentence_transformers

    return sentence_transformers.identify(settings.model, settings.query_prompt, settings.document_prompt)


def load(fingerprint: Fingerprint, device: str | None = None) -> Model:
    """The model that makes vectors of exactly this fingerprint.

    Raises ModelUnavailable where it is not there, does not load, or is another one by now.
    """
    from indexer.models import sentence_transformers

    return sentence_transformers.load(fingerprint, device)
