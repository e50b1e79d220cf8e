"""Which of the values that libraries make of columns do items know?"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from indexer.items import as_utc


def plain(value: Any) -> Any:
    """A value as items know it: times in UTC, decimals as floats, UUIDs as text; others as they are."""
    if isinstance(value, date):
        return as_utc(value)
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, UUID) else value
