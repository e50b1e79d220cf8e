"""What is known of the models behind OpenAI's API, and how long vectors are they asked for?

Known by heart, or from the configuration, which goes before. What always holds: `dimensions` is sent only where
another length is wanted than the model's own, and that is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from indexer.errors import ConfigurationError
from indexer.models.openai_tokens import WINDOW
from indexer.providers import OPENAI, ModelSettings

WINDOW_UNKNOWN = 512
"""Tokens that a model of which nothing is known is taken to read at once."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model."""

    dimension: int | None
    """The length of its vectors where it is not asked for shorter ones; None where nobody said."""
    shortens: bool
    """Whether it may be asked for shorter ones."""
    window: int
    """The most tokens that it reads at once."""


_NOTHING = Known(None, True, WINDOW_UNKNOWN)
_BY_HEART: Mapping[str, Known] = {
    "text-embedding-3-small": Known(1536, True, WINDOW),
    "text-embedding-3-large": Known(3072, True, WINDOW),
    "text-embedding-ada-002": Known(1536, False, WINDOW),
}


def known(name: str, configured: ModelSettings) -> Known:
    """What is known of the model of that configured name."""
    model = _BY_HEART.get(name.removeprefix(OPENAI), _NOTHING)
    return Known(configured.dimension or model.dimension, model.shortens, configured.window or model.window)


def agreed_dimension(name: str, model: Known, wanted: int | None) -> int | None:
    """How long its vectors will be; None where only the API can tell.

    Raises ConfigurationError where as many `dimensions` as are wanted cannot be had.
    """
    if wanted is None or wanted == model.dimension:
        return model.dimension
    if model.dimension is None:
        raise ConfigurationError(
            f"How long the vectors of {name!r} are by themselves is not known, so that shorter ones cannot be asked "
            f'for: set dimension under [models."{name}"] of parecido.toml.',
            param="dimensions",
        )
    if wanted > model.dimension:
        raise ConfigurationError(
            f"dimensions is {wanted}, but the vectors of {name!r} have {model.dimension}: set that or less.",
            param="dimensions",
        )
    if not model.shortens:
        raise ConfigurationError(
            f"{name!r} makes vectors of {model.dimension} dimensions and no others: leave `dimensions` out.",
            param="dimensions",
        )
    return wanted


def dimensions_to_send(dimension: int, model: Known) -> int | None:
    """What the API is asked for so that vectors get that length; None where they have it by themselves."""
    return None if model.dimension is None or dimension == model.dimension else dimension
