"""How is a table shown to a person?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def table(rows: Sequence[Sequence[str]], names: int) -> Iterator[str]:
    """One row a line: the first `names` columns to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = list(zip(row, widths, strict=True))
        aligned = [cell.ljust(width) for cell, width in cells[:names]]
        aligned += [cell.rjust(width) for cell, width in cells[names:]]
        yield "  ".join(aligned).rstrip()
