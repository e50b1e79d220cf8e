"""A peer that compares with every vector, in the form of those of `benchmarks/peer_servers`.

It runs as `serve_pgvector.py` in a folder beside a copy of their `_bare.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import _bare  # type: ignore[import-not-found]
import numpy as np


def fill(data: Any, folder: Path) -> dict[str, Any]:
    """Keep everything as it comes, batch by batch."""
    with data.filling():
        batches = list(data.batches(7))
        np.save(folder / "kept.npy", np.concatenate([vectors for _, vectors in batches]))
        (folder / "kept.json").write_text(json.dumps([row for rows, _ in batches for row in rows]))
    return {"about": "Brute Force 1.0"}


def serve(folder: Path, port: int) -> None:
    """Answer exactly."""
    vectors, rows = np.load(folder / "kept.npy"), json.loads((folder / "kept.json").read_text())
    shares = np.array([row["metadata"]["share"] for row in rows])

    async def search(body: dict[str, Any]) -> list[dict[str, Any]]:
        scores = np.where(shares < body.get("share", 100), vectors @ np.array(body["vector"]), -2)
        best = [int(row) for row in np.argsort(-scores)[: body["limit"]] if scores[row] > -2]
        return [{**rows[row], "similarity": float(scores[row])} for row in best]

    _bare.answer_searches(search, port)


if __name__ == "__main__":
    _bare.main(fill, serve)
