"""Collections to roll back: what their sources have, and commands over their store."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner
from support import NAME, Place

from indexer.cli import main
from indexer.config import PassageSettings

LONG = "The cat and the dog eat what is there. " * 12
FIRST = [{"id": f"{i}", "text": f"{i} cats and a dog. {LONG if i % 3 == 0 else ''}".strip(), "n": i} for i in range(9)]
SECOND = [*FIRST[2:], {**FIRST[0], "n": 50}, {"id": "more", "text": "Soup for everybody.", "n": 7}]
THIRD = [{**row, "text": f"Spoilt. {row['text']}"} for row in SECOND[1:]]
SHORT = PassageSettings(tokens=12, overlap=3)


def command(place: Place, *arguments: str, code: int = 0) -> str:
    """Run a command over the store, see how it exits, and return all that it says."""
    config = place.source.parent / "parecido.toml"
    config.write_text(
        f'store = "store"\n[collections.{NAME}]\nsource = "{place.source.name}"\nmax_shrink = 1\n'
        "passages = {tokens = 12, overlap = 3}\n"
    )
    result = CliRunner().invoke(main, [*arguments, "--config", str(config)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result.output


def printed(place: Place, *arguments: str) -> Any:
    """What a command prints as JSON."""
    return json.loads(command(place, *arguments, "--json"))


def listing(place: Place) -> dict[str, tuple[int, int]]:
    """Every file of the store but the lock and the embedding cache, with its inode and its time."""
    files = [path for path in (place.store / "collections").rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}
