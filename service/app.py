"""What is the service made of?"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from pydantic import SecretStr

from indexer.providers import Providers
from indexer.queries import MAX_LIMIT, MAX_PAGE, MAX_TEXT
from service import errors
from service.answering import Answering
from service.bodies import MAX_BODY
from service.direct import Direct
from service.keys import ApiKeys
from service.middleware import RequestId
from service.requests import MAX_QUERIES
from service.routes import DIRECT, health, router
from service.served import Collections

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
"""FastAPI looks into the environment for OpenTelemetry at each request, which takes a tenth of all but the search."""


def create_app(store: Path, api_keys: Sequence[SecretStr] = (), providers: Providers = Providers()) -> FastAPI:
    """The service over one store, for whoever sends one of the keys, or for all where there are none.

    It opens the collections when it starts and not before.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.collections.start()
        yield
        app.state.collections.stop()

    app: FastAPI = FastAPIOffline(
        title="Parecido",
        version=version("parecido"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_UNTRACED,
    )
    app.state.collections = Collections(store, providers)
    app.state.answering = Answering()
    app.include_router(health)
    app.include_router(router)
    errors.install(app)
    app.add_middleware(Direct, endpoints=DIRECT)
    if api_keys:
        app.add_middleware(ApiKeys, keys=api_keys)
    app.add_middleware(RequestId)  # the outermost, so that a refusal has an id too
    return app
