"""What can be asked over HTTP?

Each endpoint takes the served collection once, calls one verb of the indexer, and answers what it returns. Those that
are asked often, `DIRECT` and `PLAIN`, are answered by `service.direct`; `service.described` has the paths of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from indexer import queries
from indexer.answers import CollectionAnswer
from indexer.describe import describe
from indexer.errors import ParecidoError
from indexer.queries import Query
from service.answering import Answering
from service.direct import Endpoint
from service.errors import validation_error
from service.requests import BatchRequest, CompareRequest, SearchRequest
from service.served import Collections, Served

_SEARCH = TypeAdapter(SearchRequest)


@dataclass(frozen=True, slots=True)
class Parts:
    """What endpoints find as the state of the app that was asked, where that need not be Starlette's, which is slow."""

    collections: Collections
    answering: Answering


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
    return _Json(orjson.dumps(body), status)


class _Json(Response):
    """An answer in JSON whose headers are written as they are sent, in a third of Starlette's time."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self.body, self.status_code, self.background = body, status, None
        self.raw_headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]


async def healthz(request: Request) -> Response:
    """Whether the process is alive; it always is when it answers."""
    return _answer(Health(status="ok"))


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


def list_collections(request: Request) -> Response:
    """Every collection that is served."""
    collections = _collections(request)
    found = [describe(served.snapshot.generation) for served in collections.all()]
    return _answer(CollectionList(collections=found, problems=collections.problems()))


def get_collection(request: Request, collection: str) -> Response:
    """One collection: counts, model, generation, age, and the fields that a filter can use."""
    return _answer(describe(_served(request, collection).snapshot.generation))


def get_item(
    request: Request,
    collection: str,
    id: str,
) -> Response:
    """One item as it was indexed: text, metadata, passages."""
    return _answer(queries.item(_served(request, collection).snapshot, id))


async def search(
    request: Request,
    collection: str,
    body: SearchRequest,
) -> Response:
    """The items nearest to a text, an item or a vector, best first."""
    served = _served(request, collection)
    return _Json(await _answering(request).search(served, body.query(), request.receive))


async def search_batch(
    request: Request,
    collection: str,
    body: BatchRequest,
) -> Response:
    """Up to 100 queries at once, all on one generation; each gets its own answer or its own error."""
    served = _served(request, collection)
    asked = [_query(one) for one in body.queries]
    return _Json(await _answering(request).batch(served, asked, request.receive))


async def compare(
    request: Request,
    collection: str,
    body: CompareRequest,
) -> Response:
    """How alike two items or texts are, and which of their passages match best."""
    served = _served(request, collection)
    left, right = body.a.side(), body.b.side()
    return _Json(await _answering(request).compare(served, left, right, body.pairs, body.model))


DIRECT: dict[str, Endpoint] = {"search": search, "search/batch": search_batch, "compare": compare}
"""What `service.direct` answers, by the end of its path."""
PLAIN: dict[str, Endpoint] = {"/healthz": healthz, "/readyz": readyz}
"""What it answers that asks for nothing but the path."""


def _query(one: object) -> Query | ParecidoError:
    """A query of a batch, or what is wrong with it."""
    try:
        return _SEARCH.validate_python(one).query()
    except ValidationError as error:
        return validation_error(error.errors())
