"""What is known of the models behind OpenAI's API, and what does the configuration say of others?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from indexer.config import CollectionSettings
from indexer.errors import ConfigurationError
from indexer.models.openai_tokens import window
from indexer.providers import ModelSettings

UNKNOWN_WINDOW = 512
"""Tokens that a model of which nothing is known is given at once; many of those on one's own machine read no more."""


class _Vectors(NamedTuple):
    dimension: int
    shorter: bool
    """Whether it makes shorter ones when asked."""


_KNOWN = {
    "openai:text-embedding-3-small": _Vectors(1536, True),
    "openai:text-embedding-3-large": _Vectors(3072, True),
    "openai:text-embedding-ada-002": _Vectors(1536, False),
}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model."""

    dimension: int | None
    """The length of its vectors where it is not asked for shorter ones; None where only the API can tell."""
    shorter: bool
    """Whether it may be asked for shorter ones."""
    window: int


def known(name: str, settings: ModelSettings) -> Known:
    """What is known of the model of that configured name; the configuration goes first."""
    own = _KNOWN.get(name)
    return Known(
        dimension=settings.dimension or (own.dimension if own else None),
        shorter=own.shorter if own else True,
        window=settings.window or window(name) or UNKNOWN_WINDOW,
    )


def asked_dimension(settings: CollectionSettings, model: Known) -> int | None:
    """How long its vectors shall be; None where that is as long as it makes them, and only the API can tell.

    Raises ConfigurationError for a length that it cannot be asked for.
    """
    wanted, own, name = settings.dimensions, model.dimension, settings.model
    if wanted is None or wanted == own:
        return own
    if own is None:
        raise ConfigurationError(
            f"dimensions is {wanted}, but how long the vectors of {name!r} are by themselves is not known: set "
            f'dimension in [models."{name}"].',
            param="dimensions",
        )
    if not model.shorter or wanted > own:
        why = f"makes vectors of {own} dimensions only" if not model.shorter else f"makes at most {own} dimensions"
        raise ConfigurationError(f"dimensions is {wanted}, but model {name!r} {why}.", param="dimensions")
    return wanted
