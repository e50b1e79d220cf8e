"""milvus-lite, which works inside the process, behind a bare endpoint. See `_bare` for the commands and the endpoint.

HNSW with M 16, efConstruction 200, ef 64, and cosine; `share` is a field, all metadata one of JSON. Searches wait for
it in threads, so that the endpoint goes on.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _bare

NAME = "asked"
BATCH = 5_000


def fill(data: _bare.Data, folder: Path) -> dict[str, Any]:
    """One collection, its index, all of it written."""
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(str(folder / "milvus.db"))
    schema = client.create_schema()
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=1024)
    schema.add_field("text", DataType.VARCHAR, max_length=65535)
    schema.add_field("share", DataType.INT64)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=data.vectors.shape[1])
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
    with data.filling():
        client.create_collection(NAME, schema=schema, index_params=index)
        for rows, vectors in data.batches(BATCH):
            client.insert(
                NAME,
                [
                    {**row, "share": row["metadata"]["share"], "vector": vector}
                    for row, vector in zip(rows, vectors.tolist(), strict=True)
                ],
            )
        client.flush(NAME)
        client.load_collection(NAME)
    client.close()
    return {"about": f"milvus-lite {version('milvus-lite')}"}


def serve(folder: Path, port: int) -> None:
    """Answer from the file."""
    from pymilvus import MilvusClient

    client = MilvusClient(str(folder / "milvus.db"))
    client.load_collection(NAME)

    def ask(body: dict[str, Any]) -> list[dict[str, Any]]:
        (hits,) = client.search(
            NAME,
            [body["vector"]],
            filter=f"share < {body['share']}" if "share" in body else "",
            limit=body["limit"],
            output_fields=["text", "metadata"],
            search_params={"params": {"ef": 64}},
        )
        return [
            {
                "id": hit["id"],
                "similarity": hit["distance"],
                **{name: hit["entity"][name] for name in ("text", "metadata")},
            }
            for hit in hits
        ]

    async def search(body: dict[str, Any]) -> list[dict[str, Any]]:
        return await asyncio.to_thread(ask, body)

    _bare.answer_searches(search, port)


if __name__ == "__main__":
    _bare.main(fill, serve)
