"""What can go wrong, and whose fault is it?

    ParecidoError
    ├── CallerError                 what was asked cannot be done as asked
    │   ├── ConfigurationError      a setting, an option or parecido.toml
    │   ├── InvalidRequest          a query
    │   │   ├── InvalidFilter
    │   │   ├── DimensionMismatch
    │   │   ├── ModelMismatch
    │   │   └── InputTooLong
    │   ├── Unauthorized            a request without a key that the service knows
    │   ├── CollectionNotFound
    │   ├── ItemNotFound
    │   ├── GenerationNotFound
    │   ├── CollectionLocked        another run holds the collection
    │   └── OnHold                  a rollback holds the collection until `parecido resume`
    ├── ProviderError               a model, or whoever serves it
    │   ├── ModelUnavailable
    │   └── NotReady                the service has not opened it yet
    └── DataError                   bytes that somebody else wrote
        ├── SourceError             a source that could not be read to its end
        ├── SchemaConflict          a declared type that the published collection contradicts
        ├── BrakeRefused            a run that would remove or reject too much
        ├── StorageError            a disk that refuses: full, read-only, gone
        └── CorruptGeneration       a published file that is missing or not what was published

Every message is a full sentence that names the thing and the next step. `code` is stable: programs match on it,
people read the message. `param` names the request field or setting at fault, where there is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class ParecidoError(Exception):
    """The root of every error that Parecido raises on purpose."""

    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def to_json(self) -> dict[str, str | None]:
        """What a program is told: the value of "error" in the envelope of every answer that is one."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


class CallerError(ParecidoError):
    """The caller asked for something that cannot be done as asked."""

    code = "invalid_request"
    type = "invalid_request_error"


class ConfigurationError(CallerError):
    """A setting, an option or a line of parecido.toml is wrong."""

    code = "invalid_configuration"


class InvalidRequest(CallerError):
    """A query that does not say what to do, or says it twice."""


class InvalidFilter(InvalidRequest):
    """A filter names an unknown field or operator, or compares with a value of the wrong type."""

    code = "invalid_filter"


class DimensionMismatch(InvalidRequest):
    """A query vector has another length than the collection's vectors."""

    code = "dimension_mismatch"


class ModelMismatch(InvalidRequest):
    """A query names another model than the one that made the generation's vectors."""

    code = "model_mismatch"


class InputTooLong(InvalidRequest):
    """A text, a list of queries or a body is over its stated maximum."""

    code = "input_too_long"


class Unauthorized(CallerError):
    """A request to a service with API keys came without one of them."""

    code = "unauthorized"
    type = "authentication_error"


class CollectionNotFound(CallerError):
    """No collection of that name has a published generation."""

    code = "collection_not_found"


class ItemNotFound(CallerError):
    """The generation holds no item with that id."""

    code = "item_not_found"


class GenerationNotFound(CallerError):
    """The generation that was asked for is not there, or not the one being served."""

    code = "generation_not_found"


class CollectionLocked(CallerError):
    """Another run of the indexer holds the collection."""

    code = "locked"


class OnHold(CallerError):
    """A rollback holds the collection, so that no run brings back what was rolled back."""

    code = "on_hold"


class ProviderError(ParecidoError):
    """A model, or whoever serves it, failed."""

    code = "provider_error"
    type = "provider_error"


class ModelUnavailable(ProviderError):
    """A model cannot be found, loaded or trusted to be the one that is named."""

    code = "model_unavailable"


class NotReady(ProviderError):
    """The service is still opening the collection or its model, or could not."""

    code = "not_ready"
    type = "server_error"


class DataError(ParecidoError):
    """Bytes that somebody else wrote are not what they should be."""

    code = "data_error"
    type = "data_error"


class SourceError(DataError):
    """A source could not be read to its end; nothing is published from it."""

    code = "source_error"


class SchemaConflict(DataError):
    """A declared field type contradicts the published collection."""

    code = "schema_conflict"


class BrakeRefused(DataError):
    """A run would remove more of the collection, or reject more of the source, than its brakes allow."""

    code = "brake"


class StorageError(DataError):
    """The disk refused to read or to write."""

    code = "storage_error"


class CorruptGeneration(DataError):
    """A published file is missing, damaged, or of a format that this version does not read."""

    code = "corrupt_generation"

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path
        """The file at fault, where it is known."""
