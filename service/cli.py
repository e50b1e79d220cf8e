"""Which commands are there? Those of the indexer, and `serve` and `demo`."""

from __future__ import annotations

from indexer.cli import main

__all__ = ["main"]
