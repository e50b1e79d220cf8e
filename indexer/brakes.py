"""May a run go on, or did its source go wrong?

A source can be readable to its end and still be wrong: a table that was emptied, an export of half the rows, a renamed
field. The brakes look at what a run would do before anything is paid; each is a pure function that returns why the run
must stop, or None.
"""

from __future__ import annotations

from collections.abc import Sequence


def too_much_shrinks(going: int, published: int, allowed: float, examples: Sequence[str]) -> str | None:
    """Why a run that would remove `going` of `published` items must stop, with some of their ids."""
    # The quotient, and not the product: it is exact where the share is one that can be written, such as 0.29.
    if published == 0 or going / published <= allowed:
        return None
    some = ", ".join(map(repr, examples)) + (", …" if going > len(examples) else "")
    share = f"{going / published:.1%}, and max_shrink is {_percent(allowed)}"
    return f"the run would remove {going:,} of {published:,} items ({share}): {some}"


def too_much_rejected(rejected: int, rows: int, allowed: float) -> str | None:
    """Why a run over a source with `rejected` bad rows of `rows` must stop."""
    if rows == 0 or rejected / rows <= allowed:
        return None
    share = f"{rejected / rows:.1%}, and max_rejects is {_percent(allowed)}"
    return f"{rejected:,} of the source's {rows:,} rows were rejected ({share})"


def _percent(share: float) -> str:
    return f"{100 * share:g}%"
