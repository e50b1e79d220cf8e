"""What can be asked over HTTP?

Each route takes the served collection once, calls one verb of the indexer, and answers what it returns.
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Path, Request, Response, Security
from fastapi.security import HTTPBearer
from pydantic import TypeAdapter, ValidationError
from starlette.convertors import Convertor, register_url_convertor
from typing_extensions import TypedDict

from indexer import queries
from indexer.answers import (
    BatchAnswer,
    CollectionAnswer,
    CompareAnswer,
    ErrorAnswer,
    ItemAnswer,
    SearchAnswer,
)
from indexer.describe import describe
from indexer.errors import ParecidoError
from indexer.queries import Query
from service import examples
from service.answering import Answering
from service.direct import Endpoint
from service.errors import validation_error
from service.requests import BatchRequest, CompareRequest, SearchRequest
from service.served import Collections, Served


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

health = APIRouter(tags=["service"])
router = APIRouter(dependencies=[Security(KEY)])

_SEARCH = TypeAdapter(SearchRequest)

Name = Annotated[str, Path(description="The collection's name.", examples=["python"])]

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


class Health(TypedDict):
    """The process is alive."""

    status: str


class Readiness(TypedDict):
    """Whether anything can be answered, and what is wrong."""

    ready: bool
    reason: str | None
    collections: dict[str, int]
    """Generation served, by collection."""
    problems: dict[str, str]
    """What is wrong, by collection."""


class CollectionList(TypedDict):
    """The collections that are served, and what is wrong with the others."""

    collections: list[CollectionAnswer]
    problems: dict[str, str]


def _served(request: Request, collection: str) -> Served:
    return _collections(request).get(collection)


def _collections(request: Request) -> Collections:
    collections: Collections = request.app.state.collections
    return collections


def _answering(request: Request) -> Answering:
    answering: Answering = request.app.state.answering
    return answering


def _answer(body: Any, status: int = 200) -> Response:
    return _json(orjson.dumps(body), status)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


@health.get("/healthz", response_model=Health, summary="Is the process alive?")
async def healthz() -> Response:
    """Whether the process is alive; it always is when it answers."""
    return _answer(Health(status="ok"))


@health.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}}, summary="Can it answer?")
async def readyz(request: Request) -> Response:
    """Whether all collections were looked at and at least one is open; one that cannot be opened is named."""
    collections = _collections(request)
    reason = collections.why_not_ready()
    body = Readiness(
        ready=reason is None,
        reason=reason,
        collections={s.snapshot.generation.collection: s.snapshot.generation.number for s in collections.all()},
        problems=collections.problems(),
    )
    return _answer(body, 200 if reason is None else 503)


@router.get(
    "/v1/collections",
    response_model=CollectionList,
    responses={401: _ERRORS[401]},
    summary="Which collections are there?",
    tags=["collections"],
)
def list_collections(request: Request) -> Response:
    """Every collection that is served."""
    collections = _collections(request)
    found = [describe(served.snapshot.generation) for served in collections.all()]
    return _answer(CollectionList(collections=found, problems=collections.problems()))


@router.get(
    "/v1/collections/{collection}",
    response_model=CollectionAnswer,
    responses=_ERRORS,
    summary="What does a collection hold?",
    tags=["collections"],
)
def get_collection(request: Request, collection: Name) -> Response:
    """One collection: counts, model, generation, age, and the fields that a filter can use."""
    return _answer(describe(_served(request, collection).snapshot.generation))


@router.get(
    "/v1/collections/{collection}/items/{id:id}",
    response_model=ItemAnswer,
    responses=_ERRORS,
    summary="What does an item hold?",
    tags=["collections"],
)
def get_item(
    request: Request,
    collection: Name,
    id: Annotated[str, Path(description="The item's id, slashes included.", examples=["textwrap.dedent"])],
) -> Response:
    """One item as it was indexed: text, metadata, passages."""
    return _answer(queries.item(_served(request, collection).snapshot, id))


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
    served = _served(request, collection)
    return _json(await _answering(request).search(served, body.query(), request.receive))


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
    served = _served(request, collection)
    asked = [_query(one) for one in body.queries]
    return _json(await _answering(request).batch(served, asked, request.receive))


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
    served = _served(request, collection)
    left, right = body.a.side(), body.b.side()
    return _json(await _answering(request).compare(served, left, right, body.pairs, body.model))


DIRECT: dict[str, Endpoint] = {"search": search, "search/batch": search_batch, "compare": compare}
"""What `service.direct` answers, by the end of its path."""


def _query(one: object) -> Query | ParecidoError:
    """A query of a batch, or what is wrong with it."""
    try:
        return _SEARCH.validate_python(one).query()
    except ValidationError as error:
        return validation_error(error.errors())
