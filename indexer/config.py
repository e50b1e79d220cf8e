"""What did the user ask for?

Settings come from parecido.toml, the environment and the command line, in rising order of precedence; they are read
once, here, into frozen objects that are passed by hand from then on. Nothing else in the project reads the environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from indexer.access import API_KEYS, Access, read_access
from indexer.addresses import anchored, expand, masked, masked_within, unset_variable
from indexer.errors import ConfigurationError
from indexer.items import FieldType
from indexer.providers import OPENAI_KEY, LocalSettings, ModelSettings, Money, OpenAISettings, Providers, read_providers

CONFIG_FILE = "parecido.toml"
DEFAULT_STORE = Path("parecido-data")
DEFAULT_MODEL = "all-MiniLM-L6-v2"
MOST_DAYS = timedelta.max.days
MEMORY_BUDGET = 0.8
"""Most that an index takes of what its vectors take, unless the configuration has another share."""

COLLECTION_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

Format = Literal["jsonl", "csv", "tsv", "parquet", "folder", "sql"]


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


def _share_or_all(value: Any) -> Any:
    """A number between 0 and 1, from a command line too, or "exact"."""
    if value == "exact":
        return value
    with contextlib.suppress(TypeError, ValueError):
        if not isinstance(value, bool) and 0 < float(value) < 1:
            return float(value)
    raise PydanticCustomError("recall", 'It is a number between 0 and 1, or "exact" for all that is nearest')


Recall = Annotated[float | Literal["exact"], PlainValidator(_share_or_all)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PassageSettings(_Frozen):
    """How a text that does not fit the model's window becomes several passages."""

    tokens: int | None = Field(default=None, ge=8)
    """Longest passage in tokens; the model's own window where it is not given, and never more than that."""
    overlap: int | None = Field(default=None, ge=0)
    """Most tokens that a passage may share with the one before it; an eighth of `tokens` where it is not given."""


class CollectionSettings(_Frozen):
    """One collection: where its items come from, and what is made of them."""

    source: Names
    """Files, folders, globs or URLs; relative paths are taken from the folder of the configuration file."""
    format: Format | None = None
    """What the files are; told from their names, or from a URL's scheme, where it is not given."""
    query: str | None = None
    """The SQL that gives the rows, where the source is a database."""
    id: str | None = None
    """The field that holds the id: `id`, or `path` for a folder, where it is not given."""
    text: Names | None = None
    """The text fields, joined by a blank line, or one template such as "{title}\\n\\n{body}"; `text` by default."""
    metadata: Names | None = None
    """The fields kept as metadata; all others where it is not given."""
    types: Mapping[str, FieldType] = Field(default_factory=dict)
    """Declared types of metadata fields; the rest are told from the first value."""
    model: str = DEFAULT_MODEL
    """The packaged model's name, a sentence-transformers model by its hub name, a folder, or `openai:` and a name."""
    dimensions: int | None = Field(default=None, ge=1)
    """How long vectors an API is asked for; as long as the model makes them where it is not given."""
    space: str | None = Field(default=None, min_length=1, pattern=r"^[^/]*$")
    """Which servers of an API make vectors that may meet; those of one address where it is not given."""
    mode: Literal["normal", "batch"] = "normal"
    """Whether texts are embedded at once, or at half the price through the Batch API, within a day."""
    max_cost: Money | None = None
    """Most dollars that one run may pay."""
    query_prompt: str | None = None
    """Text put before every query; the model's own prompt where it is not given."""
    document_prompt: str | None = None
    """Text put before every passage; the model's own prompt where it is not given."""
    device: str | None = None
    """"cpu", "cuda", …; the best there is where it is not given."""
    store_text: bool = True
    """Whether the store keeps the texts; without them hits carry offsets only."""
    passages: PassageSettings = PassageSettings()
    recall: Recall = 0.95
    """How much of what is nearest a search shall find, on average: a number between 0 and 1, or "exact" for all."""
    memory_budget: float = Field(default=MEMORY_BUDGET, gt=0, le=8)
    """Most that an index may take, as a share of what its vectors take; the recall comes first."""
    query_log: Path | None = None
    """A file of queries that people ask, one a line, with which indexes are tuned beside items of the collection."""
    allow_unread_deletions: bool = False
    """Whether items may be deleted in a run in which some rows' ids could not be read."""
    max_shrink: float = Field(default=0.2, ge=0, le=1)
    """Largest share of the collection that one run may remove."""
    max_rejects: float = Field(default=0.5, ge=0, le=1)
    """Largest share of the source's rows that may be rejected for a run to publish."""
    keep_generations: int = Field(default=5, ge=1)
    """How many generations are kept whatever their age, the current one among them."""
    keep_days: float = Field(default=1.0, ge=0, le=MOST_DAYS)
    """How long older ones are kept, counted from when they were published."""

    @property
    def least_recall(self) -> float | None:
        """The recall that searches must have; None where they must find all."""
        return None if self.recall == "exact" else self.recall

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The settings without the passwords that a source may hold."""
        for name, value in super().__repr_args__():
            yield name, tuple(map(masked, value)) if name == "source" else value


class CacheSettings(_Frozen):
    """The embedding cache, which all collections of a store share."""

    path: Path | None = None
    """Where it is; `embeddings.sqlite` in the store where it is not given. It has to be on a local disk."""
    max_bytes: int = Field(default=10 << 30, ge=0)
    """Its size above which the vectors that were not used for longest go."""


class Settings(_Frozen):
    """Everything that was configured."""

    store: Path = DEFAULT_STORE
    cache: CacheSettings = CacheSettings()
    collections: Mapping[str, CollectionSettings] = Field(default_factory=dict)
    local: LocalSettings = LocalSettings()
    openai: OpenAISettings = OpenAISettings()
    models: Mapping[str, ModelSettings] = Field(default_factory=dict)
    """Models that Parecido does not know, or knows otherwise, by their names as collections have them."""
    providers: Providers = Providers()
    """All three, with what the environment says."""
    access: Access = Access()
    """Who may ask the service; from the environment alone."""


def load(path: Path | None, environment: Mapping[str, str], store: Path | None = None) -> Settings:
    """The settings of parecido.toml at `path` (none where it is None), the environment and an explicit store.

    Relative sources and a relative store in the file are taken from the file's folder; ${NAME} in a source is the
    value of an environment variable. Raises ConfigurationError for a file that cannot be read, is not TOML, or has a
    setting that is unknown or of the wrong type.
    """
    settings = Settings() if path is None else _read(path, environment)
    if override := store or environment.get("PARECIDO_STORE"):
        settings = settings.model_copy(update={"store": Path(override)})
    providers = read_providers(settings.local, settings.openai, settings.models, environment)
    return settings.model_copy(update={"access": read_access(environment), "providers": providers})


def check_collection_name(name: str) -> str:
    """The name itself; raises ConfigurationError unless it can name a collection."""
    if not COLLECTION_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot name a collection: use 1 to 64 lower-case letters, digits, '_' and '-', "
            "beginning with a letter or a digit.",
            param="collection",
        )
    return name


def collection_settings(values: Mapping[str, Any], where: str) -> CollectionSettings:
    """One collection's settings from plain values; `where` names them in the error."""
    try:
        return CollectionSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, where)) from error


def chosen(
    settings: Settings,
    names: tuple[str, ...],
    collection: str | None,
    options: Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
) -> dict[str, CollectionSettings]:
    """The collections that a command line asks to index, with its options in the place of what is configured.

    `names` are the sources of `collection` where that is given, and configured collections (all, if there are none)
    where it is not. Raises ConfigurationError where there is nothing to index, and where a source of theirs names an
    environment variable that is not set; that of a collection which is not asked for may be.
    """
    given = {key: value for key, value in options.items() if value not in (None, ())}
    if collection is not None:
        sources = tuple(expand(name, environment) for name in names)
        return {collection: _adjusted(settings.collections.get(collection), sources, given, collection)}
    if not settings.collections:
        raise ConfigurationError(
            "There is no collection to index: give files and --collection NAME, or write a parecido.toml with "
            "`parecido init`."
        )
    unknown = [name for name in names if name not in settings.collections]
    if unknown:
        raise ConfigurationError(
            f"parecido.toml has no collection {masked(unknown[0])!r}; it has {', '.join(settings.collections)}. To "
            "index files, say into which collection with --collection NAME.",
            param="collection",
        )
    wanted = names or tuple(settings.collections)
    return {name: _adjusted(settings.collections[name], (), given, name) for name in wanted}


def _adjusted(
    configured: CollectionSettings | None, sources: tuple[str, ...], given: dict[str, Any], name: str
) -> CollectionSettings:
    """The configured settings with what the command line says in their place."""
    values: dict[str, Any] = configured.model_dump() if configured else {}
    if sources:
        values["source"] = sources
    if "text" in given:  # a shell hands over \n as two characters
        given = {**given, "text": tuple(text.replace("\\n", "\n") for text in given["text"])}
    if "types" in given:
        given = {**given, "types": dict(_typed(pair) for pair in given["types"])}
    if "source" not in values:
        raise ConfigurationError(f"Collection {name!r} has no source: give its files, folders or globs.")
    adjusted = collection_settings({**values, **given}, f"Collection {name!r}")
    _check_expanded(adjusted, name)
    return adjusted


def _check_expanded(collection: CollectionSettings, name: str) -> None:
    for source in collection.source:
        if variable := unset_variable(source):
            raise ConfigurationError(
                f"Collection {name!r}: its source {masked(source)!r} names the environment variable {variable!r}, "
                "which is not set: export it, and run again.",
                param="source",
            )


def _typed(pair: str) -> tuple[str, str]:
    field, equals, kind = pair.rpartition("=")
    if not equals or kind not in set(FieldType):
        raise ConfigurationError(f"--type is FIELD=TYPE with one of {', '.join(FieldType)} (got {pair!r}).")
    return field, kind


def _read(path: Path, environment: Mapping[str, str]) -> Settings:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no {path}: write one with `parecido init`.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error
    _check_no_key(document, path)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, str(path))) from error
    base = path.resolve().parent
    collections = {check_collection_name(n): _anchored(c, base, environment) for n, c in settings.collections.items()}
    cache = settings.cache.model_copy(update={"path": settings.cache.path and base / settings.cache.path})
    kept = settings.local.models_cache
    local = settings.local.model_copy(update={"models_cache": kept and base / kept.expanduser()})
    update = {"store": base / settings.store, "cache": cache, "local": local, "collections": collections}
    return settings.model_copy(update=update)


def _check_no_key(document: Mapping[str, Any], path: Path) -> None:
    """Refuse what belongs into the environment, so that no key lies in a file."""
    openai = document.get("openai")
    inside = {f"openai.{name}" for name in openai if "key" in name} if isinstance(openai, Mapping) else set()
    if misplaced := (document.keys() & {"access", "api_keys", "providers"}) | inside:
        raise ConfigurationError(
            f"{path}: {min(misplaced)!r} is no setting of a file, so that no key lies in one: set "
            f"{OPENAI_KEY if inside else API_KEYS} in the environment."
        )


def _anchored(collection: CollectionSettings, base: Path, environment: Mapping[str, str]) -> CollectionSettings:
    update: dict[str, Any] = {"source": tuple(anchored(expand(s, environment), base) for s in collection.source)}
    if collection.query_log is not None:
        update["query_log"] = base / collection.query_log.expanduser()
    if (base / collection.model).is_dir():
        update["model"] = str(base / collection.model)
    return collection.model_copy(update=update)


def _explain(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    setting = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no setting {setting!r}; `parecido init` writes an example with all of them."
    return f"{where}: {setting}: {first['msg']} (got {masked_within(repr(first['input']))})."
