"""Which status does an error have over HTTP, and how does it look?

Every answer that is not a success is the envelope {"error": {"message", "type", "param", "code"}}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from indexer import errors
from indexer.errors import InvalidRequest, ParecidoError
from service.bodies import MAX_BODY

STATUSES: Mapping[type[ParecidoError], int] = {
    errors.CallerError: 400,
    errors.ConfigurationError: 500,
    errors.InvalidRequest: 422,
    errors.InvalidFilter: 422,
    errors.DimensionMismatch: 422,
    errors.ModelMismatch: 409,
    errors.InputTooLong: 413,
    errors.Unauthorized: 401,
    errors.CollectionNotFound: 404,
    errors.ItemNotFound: 404,
    errors.GenerationNotFound: 409,
    errors.CollectionLocked: 409,
    errors.OnHold: 409,
    errors.ProviderError: 502,
    errors.ModelUnavailable: 503,
    errors.NotReady: 503,
    errors.DataError: 500,
    errors.SourceError: 500,
    errors.SchemaConflict: 500,
    errors.BrakeRefused: 500,
    errors.StorageError: 503,
    errors.CorruptGeneration: 503,
    errors.ParecidoError: 500,
}

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "input_too_long"}


def unforeseen() -> Response:
    """The answer where the service itself has failed."""
    message = "The service failed to answer; its log says why."
    body = {"message": message, "type": "server_error", "param": None, "code": "internal_error"}
    return envelope(500, body)


def ours(error: ParecidoError) -> Response:
    """The answer that an error of the library is."""
    return envelope(STATUSES[type(error)], error.to_json())


def of_http(request: Request, error: HTTPException) -> Response:
    """The answer where there is no such route, or a body is too large."""
    code = _CODES.get(error.status_code, "invalid_request")
    message = str(error.detail)
    if error.status_code == 413:
        message = f"The body is over {MAX_BODY} bytes: send less at once."
    elif error.status_code in (404, 405):
        message = f"There is no {request.method} {request.url.path}: see /docs for the routes."
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return envelope(error.status_code, body, error.headers)


def validation_error(problems: Sequence[Any]) -> InvalidRequest:
    """The first thing that pydantic found wrong with a request, as a sentence."""
    first = problems[0]
    param = ".".join(str(part) for part in first["loc"] if part != "body")
    if first["type"] == "extra_forbidden":
        return InvalidRequest(f"There is no field {param!r}: see /docs for those there are.", param=param)
    if first["type"] == "missing":
        return InvalidRequest(
            f"The request lacks {param or 'a JSON body'!r}: see /docs for an example.", param=param or None
        )
    if first["type"] == "json_invalid":
        return InvalidRequest(f"The body is not JSON: {first['ctx']['error']}.")
    if not param:
        return InvalidRequest("The body is not a JSON object sent with `content-type: application/json`.")
    return InvalidRequest(f"{param}: {first['msg']}.", param=param)


def envelope(status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is an error."""
    return Response(orjson.dumps({"error": error}), status, dict(headers or {}), "application/json")
