"""txtai's own API over an index with content, asked by text. See `_bare` for the commands.

The known vectors go in by an external transform, as embedding the texts again would take as long as all else together;
the index that is saved names the model, whose folder is in MODEL, so that queries are embedded by txtai as it does by
default. Everything else is its default.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _bare


def fill(data: _bare.Data, folder: Path) -> dict[str, Any]:
    """The index, saved, and a configuration of the API that loads it."""
    import txtai

    at = 0

    def known(texts: Sequence[str]) -> Any:
        """The vectors of the next rows, which come in their order."""
        nonlocal at
        at += len(texts)
        return data.vectors[at - len(texts) : at]

    def documents() -> Iterator[tuple[str, dict[str, Any]]]:
        for row in data.rows:
            yield row["id"], {**row["metadata"], "text": row["text"]}

    embeddings = txtai.Embeddings(method="external", transform=known, content=True)
    with data.filling():
        embeddings.index(documents())
    for name in ("method", "transform"):
        embeddings.config.pop(name)
    embeddings.config["path"] = os.environ["MODEL"]
    embeddings.save(str(folder / "index"))
    (folder / "config.yml").write_text(f"path: {folder / 'index'}\nembeddings:\n", encoding="utf-8")
    return {"about": f"txtai {version('txtai')}"}


def serve(folder: Path, port: int) -> None:
    """Become txtai's server."""
    environment = {**os.environ, "CONFIG": str(folder / "config.yml")}
    command = [sys.executable, "-m", "uvicorn", "txtai.api:app", "--port", str(port), "--log-level", "warning"]
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    _bare.main(fill, serve)
