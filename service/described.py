"""What do programs and people read of the routes, and who answers those that are asked seldom?

FastAPI: it makes /docs and /openapi.json of the functions here, and answers whatever `service.direct` passes on. To
import it and to describe everything takes about as long as all else that the service needs, so that a process answers
before this module is there, see `service.later`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Path, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from pydantic import ConfigDict, with_config
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import State
from starlette.exceptions import HTTPException

from indexer.answers import BatchAnswer, CollectionAnswer, CompareAnswer, ErrorAnswer, ItemAnswer, SearchAnswer
from indexer.errors import ParecidoError
from indexer.queries import MAX_LIMIT, MAX_PAGE, MAX_TEXT
from service import errors, examples, routes
from service.bodies import MAX_BODY
from service.requests import MAX_QUERIES, BatchRequest, CompareRequest, SearchRequest
from service.routes import CollectionList, Health, Readiness

DESCRIPTION = f"""\
Nearest-neighbour search and comparison over the collections that `parecido index` has published.

Similarity is the cosine of two texts' embeddings: higher is more alike. Every answer names the generation and the model
that gave it. Every error is `{{"error": {{"message", "type", "param", "code"}}}}`; every answer has an `x-request-id`.

At most: {MAX_LIMIT:,} hits an answer, {MAX_PAGE:,} for offset and limit together, {MAX_QUERIES} queries a batch,
{MAX_TEXT:,} characters a text, {MAX_BODY >> 20} MiB a body.

A service with API keys wants one of them with every request, as `Authorization: Bearer KEY`; only `/healthz`, `/readyz`
and this page are open to all.
"""


_UNTRACED: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI would look into the environment for OpenTelemetry at each request."""


class AnyId(Convertor[str]):
    """The rest of a path, whatever is in it; starlette's own `path` stops at a line break."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        """The id that a path names."""
        return value

    def to_string(self, value: str) -> str:
        """The path that names an id."""
        return value


register_url_convertor("id", AnyId())

KEY = HTTPBearer(scheme_name="API key", description="Where the service has API keys: one of them.", auto_error=False)
"""For /docs, where a person enters a key; whether it is one is asked before any route, see `service.keys`."""

with_config(ConfigDict(use_attribute_docstrings=True))(CollectionAnswer)
"""What stands under each of its fields, and of those inside them, is how these are described."""

health = APIRouter(tags=["service"])
router = APIRouter(dependencies=[Security(KEY)])

Name = Annotated[str, Path(description="The collection's name.", examples=["python"])]
ItemId = Annotated[str, Path(description="The item's id, slashes included.", examples=["textwrap.dedent"])]

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        401: "The service has API keys, and the request none of them.",
        404: "There is no such collection or item.",
        409: "The request names another model or generation than the current one.",
        413: "A text or the body is over its maximum.",
        422: "The request is wrong; the message says what and what to do.",
        503: "The collection is not open yet, or cannot be opened.",
    }.items()
}


def described(state: State) -> FastAPI:
    """All routes, over what is served and who answers, which `state` has."""
    app: FastAPI = FastAPIOffline(
        title="Parecido",
        version=version("parecido"),
        description=DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_UNTRACED,
    )
    app.state = state
    app.include_router(health)
    app.include_router(router)

    @app.exception_handler(ParecidoError)
    async def known(request: Request, error: ParecidoError) -> Response:
        return errors.ours(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return errors.ours(errors.validation_error(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return errors.of_http(request, error)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        return errors.unforeseen()

    return app


@health.get("/healthz", response_model=Health, summary="Is the process alive?")
async def healthz(request: Request) -> Response:
    """Whether the process is alive; it always is when it answers."""
    return await routes.healthz(request)


@health.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}}, summary="Can it answer?")
async def readyz(request: Request) -> Response:
    """Whether all collections were looked at and at least one is open; one that cannot be opened is named."""
    return await routes.readyz(request)


@router.get(
    "/v1/collections",
    response_model=CollectionList,
    responses={401: _ERRORS[401]},
    summary="Which collections are there?",
    tags=["collections"],
)
def list_collections(request: Request) -> Response:
    """Every collection that is served."""
    return routes.list_collections(request)


@router.get(
    "/v1/collections/{collection}",
    response_model=CollectionAnswer,
    responses=_ERRORS,
    summary="What does a collection hold?",
    tags=["collections"],
)
def get_collection(request: Request, collection: Name) -> Response:
    """One collection: counts, model, generation, age, and the fields that a filter can use."""
    return routes.get_collection(request, collection)


@router.get(
    "/v1/collections/{collection}/items/{id:id}",
    response_model=ItemAnswer,
    responses=_ERRORS,
    summary="What does an item hold?",
    tags=["collections"],
)
def get_item(request: Request, collection: Name, id: ItemId) -> Response:
    """One item as it was indexed: text, metadata, passages."""
    return routes.get_item(request, collection, id)


@router.post(
    "/v1/collections/{collection}/search",
    response_model=SearchAnswer,
    responses=_ERRORS,
    summary="What is like this?",
    tags=["search"],
)
async def search(
    request: Request,
    collection: Name,
    body: Annotated[SearchRequest, Body(openapi_examples=examples.SEARCH)],
) -> Response:
    """The items nearest to a text, an item or a vector, best first."""
    return await routes.search(request, collection, body)


@router.post(
    "/v1/collections/{collection}/search/batch",
    response_model=BatchAnswer,
    responses=_ERRORS,
    summary="What is like each of these?",
    tags=["search"],
)
async def search_batch(
    request: Request,
    collection: Name,
    body: Annotated[BatchRequest, Body(openapi_examples=examples.BATCH)],
) -> Response:
    """Up to 100 queries at once, all on one generation; each gets its own answer or its own error."""
    return await routes.search_batch(request, collection, body)


@router.post(
    "/v1/collections/{collection}/compare",
    response_model=CompareAnswer,
    responses=_ERRORS,
    summary="How alike are these two?",
    tags=["search"],
)
async def compare(
    request: Request,
    collection: Name,
    body: Annotated[CompareRequest, Body(openapi_examples=examples.COMPARE)],
) -> Response:
    """How alike two items or texts are, and which of their passages match best."""
    return await routes.compare(request, collection, body)
