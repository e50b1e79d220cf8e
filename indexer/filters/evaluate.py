"""Which rows of these columns does a filter let through?

Columns are compared by Arrow, never row by row in Python. Arrow leaves a null where a field is missing; every leaf
turns it into False before anything is combined, so that negation is plain negation.

A column has its field's Arrow type: string, int64, float64, bool, timestamp[us, UTC], or list of string. It may be
older than the schema: all null, of whatever type, where the segment did not know the field, and int64 where the field
has since widened to floats. So the column's own type decides how it is compared.

Arrow's functions are imported by whoever calls them: that takes longer than anything else a process needs to answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from indexer.filters.tree import And, Compare, Contains, Exists, Filter, Not, OneOf, Or, Order, Prefix
from indexer.items import Scalar

Column: TypeAlias = pa.Array | pa.ChunkedArray
Mask: TypeAlias = npt.NDArray[np.bool_]

_INT64 = np.iinfo(np.int64)
_COMPARISONS = {Order.GT: "greater", Order.GTE: "greater_equal", Order.LT: "less", Order.LTE: "less_equal"}


def evaluate(filter: Filter, column: Callable[[str], Column], count: int) -> Mask:
    """A new mask of shape (count,), True where the item in that row matches.

    `column` gives the `count` values of a field by its name, `id` the items' ids; it is called once for each condition.
    """
    match filter:
        case And(parts):
            mask = np.ones(count, dtype=np.bool_)
            for part in parts:
                mask &= evaluate(part, column, count)
            return mask
        case Or(parts):
            mask = np.zeros(count, dtype=np.bool_)
            for part in parts:
                mask |= evaluate(part, column, count)
            return mask
        case Not(part):
            return ~evaluate(part, column, count)
        case _:
            return _condition(filter, column(filter.field))


def _condition(condition: Compare | OneOf | Exists | Contains | Prefix, values: Column) -> Mask:
    import pyarrow.compute as pc

    if values.null_count == len(values):
        return np.zeros(len(values), dtype=np.bool_)
    match condition:
        case Exists():
            return _mask(pc.is_valid(values))
        case Compare(_, order, value):
            return _compare(values, order, value)
        case OneOf(_, alternatives) if pa.types.is_list(values.type):
            return _any_element(values, alternatives)
        case OneOf(_, alternatives):
            return _one_of(values, alternatives)
        case Contains(_, text):
            return _mask(pc.match_substring(values, pattern=text))
        case Prefix(_, text):
            return _mask(pc.starts_with(values, pattern=text))


def _compare(values: Column, order: Order, value: Scalar) -> Mask:
    import pyarrow.compute as pc

    if isinstance(value, int | float):
        order, value = _on_grid(order, value, values.type)
    return _mask(pc.call_function(_COMPARISONS[order], [values, pa.scalar(value, values.type)]))


def _one_of(values: Column, alternatives: Iterable[Scalar]) -> Mask:
    import pyarrow.compute as pc

    known = _representable(alternatives, values.type)
    if len(known) == 1:
        return _mask(pc.equal(values, pa.scalar(known[0], values.type)))
    return _mask(pc.is_in(values, value_set=pa.array(known, values.type)))


def _any_element(lists: Column, alternatives: tuple[Scalar, ...]) -> Mask:
    """True for a list that has one of the alternatives: between its offsets the running count of hits rises."""
    chunks = lists.chunks if isinstance(lists, pa.ChunkedArray) else [lists]
    masks = [np.zeros(0, dtype=np.bool_)]
    for chunk in chunks:
        # Not list_parent_indices: it also counts what a null list hides, which list_flatten leaves out.
        offsets = chunk.offsets.to_numpy()
        elements = chunk.values[offsets[0] : offsets[-1]]
        hits = np.concatenate(([0], np.cumsum(_one_of(elements, alternatives))))
        bounds = hits[offsets - offsets[0]]
        masks.append((bounds[1:] > bounds[:-1]) & _mask(chunk.is_valid()))
    return np.concatenate(masks)


def _representable(alternatives: Iterable[Scalar], type_: pa.DataType) -> list[Scalar]:
    """The alternatives that a column of that type can hold; no value of it equals the others."""
    if not (pa.types.is_integer(type_) or pa.types.is_floating(type_)):
        return list(alternatives)
    known: list[Scalar] = []
    for value in alternatives:
        if isinstance(value, int | float) and (near := _largest_not_above(value, type_)) == value:
            # Arrow's is_in, unlike its equal, tells -0.0 from 0.0.
            known += [-0.0, 0.0] if near == 0 and isinstance(near, float) else [near]
    return known


def _on_grid(order: Order, value: int | float, type_: pa.DataType) -> tuple[Order, int | float]:
    """The comparison with a number that the column can hold which has the same answer for every number it can hold.

    With f the largest of these that is not above v: where f is v nothing changes, else x < v is x <= f, and x >= v is
    x > f.
    """
    near = _largest_not_above(value, type_)
    if near is None:
        return {Order.GT: Order.GTE, Order.LTE: Order.LT}.get(order, order), int(_INT64.min)
    if near != value:
        order = {Order.LT: Order.LTE, Order.GTE: Order.GT}.get(order, order)
    return order, near


def _largest_not_above(value: int | float, type_: pa.DataType) -> int | float | None:
    """The largest int64 or float64 that is at most value; None if it is below every int64.

    Python compares integers with floats exactly; Arrow would cast one to the other, and lose digits beyond 2**53.
    """
    if pa.types.is_integer(type_):
        near = min(math.floor(value), int(_INT64.max))
        return near if near >= _INT64.min else None
    try:
        rounded = float(value)
    except OverflowError:
        rounded = math.inf if value > 0 else -math.inf
    return rounded if rounded <= value else math.nextafter(rounded, -math.inf)


def _mask(answer: Column) -> Mask:
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(answer, False).to_numpy(zero_copy_only=False), dtype=np.bool_)
