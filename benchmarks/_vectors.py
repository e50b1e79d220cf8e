"""Which vectors do benchmarks of indexes use?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from indexer.vectors import Vectors

BLOCK = 50_000


def made_up(count: int, dimension: int, seed: int = 0) -> Iterator[Vectors]:
    """Vectors of length 1 in clusters, block by block."""
    rng = np.random.default_rng(seed)
    clusters = max(50, int(count**0.5))
    base = rng.standard_normal((64, dimension)).astype(np.float32)
    centres = rng.standard_normal((clusters, 64)).astype(np.float32) @ base
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    sizes = 1 / np.arange(1, clusters + 1) ** 0.7
    directions = rng.standard_normal((32, 24, dimension)).astype(np.float32) / np.sqrt(dimension)
    for start in range(0, count, BLOCK):
        which = rng.choice(clusters, min(BLOCK, count - start), p=sizes / sizes.sum())
        rows = centres[which]
        along = rng.standard_normal((len(which), 24)).astype(np.float32) / np.sqrt(24)
        for group in range(32):
            there = which % 32 == group
            rows[there] += 0.9 * along[there] @ directions[group]
        rows += 0.9 * rng.standard_normal(rows.shape).astype(np.float32) / np.sqrt(dimension)
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def from_file(path: Path, count: int) -> Iterator[Vectors]:
    """The first vectors of a file, block by block."""
    every = np.load(path, mmap_mode="r")
    for start in range(0, min(count, len(every)), BLOCK):
        rows = np.array(every[start : min(start + BLOCK, count)], dtype=np.float32)
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)
