"""Chroma as it comes: `chroma run`, its defaults, cosine. See `_bare` for the commands.

It is filled through its Python client, which writes the folder that the server then opens. Metadata is what Chroma can
hold: numbers, texts and truth values as they are, anything else as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import _bare

QUERY = "/api/v2/tenants/default_tenant/databases/default_database/collections/{}/query"


def fill(data: _bare.Data, folder: Path) -> dict[str, Any]:
    """One collection; says where it is asked."""
    import chromadb

    client = chromadb.PersistentClient(str(folder), chromadb.Settings(anonymized_telemetry=False))
    with data.filling():
        collection = client.create_collection(
            "asked", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        for rows, vectors in data.batches(client.get_max_batch_size()):
            collection.add(
                ids=[row["id"] for row in rows],
                embeddings=vectors,
                documents=[row["text"] for row in rows],
                metadatas=[{name: held(value) for name, value in row["metadata"].items()} for row in rows],
            )
    return {"about": f"Chroma {chromadb.__version__}", "path": QUERY.format(collection.id)}


def held(value: Any) -> Any:
    """A value of metadata as Chroma can hold it."""
    return value if isinstance(value, str | int | float) else json.dumps(value)


def serve(folder: Path, port: int) -> None:
    """Become Chroma's server."""
    command = Path(sys.executable).with_name("chroma")
    os.execv(command, [str(command), "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)])


if __name__ == "__main__":
    _bare.main(fill, serve)
