"""Who makes vectors, and what may it be asked?

The key of an API comes from the environment alone, is masked wherever it might be shown, and no message quotes it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from indexer.errors import ConfigurationError

OPENAI = "openai:"
"""What the name of a model behind OpenAI's API begins with."""
OPENAI_KEY = "OPENAI_API_KEY"
OPENAI_URL = "OPENAI_BASE_URL"

Money = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Price = Annotated[Money, Field(le=1_000_000)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(_Frozen):
    """What is to be known of a model that Parecido does not know, or knows otherwise."""

    window: int | None = Field(default=None, ge=16)
    """The most tokens that it reads at once."""
    dimension: int | None = Field(default=None, ge=1)
    """The length of its vectors where it is not asked for shorter ones."""
    price_per_million: Price | None = None
    """Dollars for a million tokens."""
    batch_price_per_million: Price | None = None
    """The same through the Batch API; half of the other where it is not given."""

    @model_validator(mode="after")
    def _a_batch_is_priced_beside_the_rest(self) -> ModelSettings:
        if self.batch_price_per_million is not None and self.price_per_million is None:
            raise ValueError("give price_per_million beside batch_price_per_million")
        return self


class OpenAISettings(_Frozen):
    """How the models behind OpenAI's API, or behind a server that speaks it, are asked."""

    base_url: str = "https://api.openai.com/v1"
    """Where the API is; OPENAI_BASE_URL goes before it."""
    in_flight: int = Field(default=8, ge=1, le=256)
    """Most requests at once."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """How long one request may take."""
    give_up_seconds: float = Field(default=600.0, gt=0)
    """How long a run goes on trying while no request succeeds."""
    max_cost_month: Money | None = None
    """Most dollars in a calendar month (UTC), of all collections of the store together."""
    api_key: SecretStr | None = Field(default=None, exclude=True)
    """From the environment alone."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The settings without the password that an address may hold."""
        for name, value in super().__repr_args__():
            yield name, shown(value) if name == "base_url" else value


class LocalSettings(_Frozen):
    """How the models of this machine compute."""

    backend: Literal["auto", "torch", "openvino"] = "auto"
    """What computes; "auto" takes a GPU with torch, else OpenVINO where it is installed and the model converts."""
    models_cache: Path | None = None
    """Where converted models are kept; by default a folder `parecido` among the user's caches."""
    processes: int = Field(default=1, ge=1, exclude=True)
    """How many processes share the cores, as those of `parecido serve --workers` do."""


class Providers(_Frozen):
    """All that is to be known of those who make vectors, here or elsewhere."""

    local: LocalSettings = LocalSettings()
    openai: OpenAISettings = OpenAISettings()
    models: Mapping[str, ModelSettings] = Field(default_factory=dict)
    """By the name of the model as collections have it."""
    vocabularies: Path | None = None
    """The folder in which tiktoken keeps the vocabularies of tokens."""

    def of(self, model: str) -> ModelSettings:
        """What is set for a model."""
        return self.models.get(model, ModelSettings())


def read_providers(
    local: LocalSettings, openai: OpenAISettings, models: Mapping[str, ModelSettings], environment: Mapping[str, str]
) -> Providers:
    """What the file says, with what the environment says in its place; raises ConfigurationError for a bad address."""
    url = environment.get(OPENAI_URL) or openai.base_url
    key = environment.get(OPENAI_KEY, "").strip()
    folder = environment.get("TIKTOKEN_CACHE_DIR") or environment.get("DATA_GYM_CACHE_DIR")
    return Providers(
        local=local.model_copy(update={"models_cache": local.models_cache or _models_cache(environment)}),
        openai=openai.model_copy(update={"base_url": _checked(url), "api_key": SecretStr(key) if key else None}),
        models=models,
        vocabularies=Path(folder) if folder else Path(tempfile.gettempdir()) / "data-gym-cache",
    )


def _models_cache(environment: Mapping[str, str]) -> Path | None:
    """A folder of ours among the user's caches (XDG Base Directory Specification); None where there is no home."""
    if Path(xdg := environment.get("XDG_CACHE_HOME", "")).is_absolute():
        return Path(xdg) / "parecido"
    try:
        return Path(environment.get("HOME") or Path.home()) / ".cache" / "parecido"
    except RuntimeError:  # nobody knows it
        return None


def shown(url: str) -> str:
    """An address of an API as it may be shown and compared: without user, password and a last slash."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound, got = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1), repr(shown(url))
    except ValueError:
        sound, got = False, "what is no address"
    if not sound:
        raise ConfigurationError(
            f"{OPENAI_URL} is the address of an API, such as https://api.openai.com/v1 (got {got}).", param="base_url"
        )
    return url
