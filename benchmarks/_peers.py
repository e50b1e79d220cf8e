"""How is each server asked, and with which ids does it answer?

A form makes whole HTTP requests and reads the bodies of answers. All servers are asked for the ten nearest with their
texts and metadata, and a filter is always `share` under some number of a hundred.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

import orjson

from benchmarks._exact import LIMIT
from benchmarks.load import post
from benchmarks.stores import COLLECTION

Query = list[float] | str
"""A vector or a text."""
OURS = f"/v1/collections/{COLLECTION}/search"


@dataclass(frozen=True)
class Form:
    """How a server is spoken to."""

    request: Callable[[str, Query, int | None], bytes]
    """Of a path, a query, and the number that `share` must be under."""
    ids: Callable[[bytes], list[str]]
    """Of the body of an answer, nearest first."""


@dataclass(frozen=True)
class Peer:
    """A server that is measured beside the service."""

    name: str
    title: str
    asked_by: Literal["vector", "text"]
    form: Form
    path: str
    """Where it is asked, unless filling says otherwise."""
    ready: str
    """A path that answers 200 as soon as it can be asked."""


def ours(path: str, query: Query, share: int | None) -> bytes:
    """A search of Parecido's."""
    kind = "text" if isinstance(query, str) else "vector"
    return post(path, {kind: query, "limit": LIMIT, **({"filter": {"share": {"$lt": share}}} if share else {})})


def chroma(path: str, query: Query, share: int | None) -> bytes:
    """A query of Chroma's."""
    body = {"query_embeddings": [query], "n_results": LIMIT, "include": ["metadatas", "documents", "distances"]}
    return post(path, {**body, **({"where": {"share": {"$lt": share}}} if share else {})})


def txtai(path: str, query: Query, share: int | None) -> bytes:
    """A search of txtai's, in its SQL; `data` is all that was stored of a row."""
    condition = f" and share < {share}" if share else ""
    sql = f"select id, text, score, data from txtai where similar(:asked){condition}"
    parameters = {"query": sql, "limit": LIMIT, "parameters": orjson.dumps({"asked": query}).decode()}
    return get(f"{path}?{urlencode(parameters)}")


def bare(path: str, query: Query, share: int | None) -> bytes:
    """What the bare endpoints of `peer_servers` take."""
    return post(path, {"vector": query, "limit": LIMIT, **({"share": share} if share else {})})


def get(path: str) -> bytes:
    """A whole request without a body."""
    return f"GET {path} HTTP/1.1\r\nhost: here\r\n\r\n".encode()


def _of_hits(body: bytes) -> list[str]:
    return [hit["id"] for hit in orjson.loads(body)["hits"]]


def _of_chroma(body: bytes) -> list[str]:
    (ids,) = orjson.loads(body)["ids"]
    return list(ids)


def _of_txtai(body: bytes) -> list[str]:
    return [hit["id"] for hit in orjson.loads(body)]


PARECIDO = Form(ours, _of_hits)
BARE = Form(bare, _of_hits)
PEERS = {
    peer.name: peer
    for peer in (
        Peer("chroma", "Chroma", "vector", Form(chroma, _of_chroma), "", "/api/v2/heartbeat"),
        Peer("txtai", "txtai", "text", Form(txtai, _of_txtai), "/search", "/count"),
        Peer("pgvector", "pgvector", "vector", BARE, "/search", "/"),
        Peer("milvus", "milvus-lite", "vector", BARE, "/search", "/"),
    )
}
