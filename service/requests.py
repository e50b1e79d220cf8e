"""What may a request say?

Fields and their limits; a field that is not here is an error that names it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from indexer.answers import Include
from indexer.compare import PAIRS, Side
from indexer.queries import MAX_LIMIT, MAX_PAGE, MAX_TEXT, Query

MAX_QUERIES = 100

_INCLUDED: Any = ("metadata",)
"""What a hit shows where nothing is said; a list would be copied for each request."""

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SearchRequest(_Request):
    """One query: exactly one of `text`, `id` and `vector`."""

    text: str | None = Field(None, description=f"Free text, at most {MAX_TEXT} characters.")
    id: str | None = Field(None, description="An item of the collection; it is itself left out of the hits.")
    vector: list[Number] | None = Field(None, description="A vector of the collection's model, of any length but zero.")
    limit: int = Field(10, ge=1, le=MAX_LIMIT, description="Most hits.")
    offset: int = Field(0, ge=0, description=f"Hits to pass over; offset + limit is at most {MAX_PAGE}.")
    min_similarity: Number | None = Field(None, ge=-1, le=1, description="Least similarity of a hit.")
    filter: dict[str, Any] | None = Field(
        None,
        description="Which items may be hits: field to value or to operators ($eq $ne $gt $gte $lt $lte $in $nin "
        "$exists $contains $prefix), joined with $and, $or, $not. `id` is the item's id; date-times are ISO 8601.",
        examples=[{"module": "textwrap", "lines": {"$lt": 20}}],
    )
    include: list[Include] = Field(_INCLUDED, description="What a hit shows besides its best passage.")
    model: str | None = Field(None, description="Refused unless it is the collection's model.")
    recall: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="How much of what is nearest shall be found on average, where the collection promises less.",
    )
    exact: bool = Field(False, description="Find all of what is nearest, however long it takes.")
    generation: int | None = Field(
        None, description="Refused unless it is the current one: for pages that belong together."
    )

    def query(self) -> Query:
        """The question it asks."""
        return Query(**self.__dict__)


class BatchRequest(_Request):
    """Several queries; each gets its own answer or its own error."""

    queries: list[Annotated[SearchRequest, SkipValidation]] = Field(min_length=1, max_length=MAX_QUERIES)


class SideRequest(_Request):
    """One of the two that are compared: exactly one of `id` and `text`."""

    id: str | None = Field(None, description="An item of the collection.")
    text: str | None = Field(None, description=f"Free text, at most {MAX_TEXT} characters.")

    def side(self) -> Side:
        """What it stands for."""
        return Side(id=self.id, text=self.text)


class CompareRequest(_Request):
    """Two items or texts."""

    a: SideRequest
    b: SideRequest
    pairs: int = Field(PAIRS, ge=1, le=100, description="Most pairs of passages in the answer.")
    model: str | None = Field(None, description="Refused unless it is the collection's model.")
