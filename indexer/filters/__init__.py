"""Which items does a filter let through?

    spelling ──parse──► Filter (a small typed tree) ──evaluate──► one boolean an item

A spelling is checked against the collection's schema before anything is evaluated, so that a tree never holds an
unknown field or a value that its field cannot be compared with. Every spelling is parsed to the same tree, hence has
one meaning:

- a comparison is false for an item that lacks the field;
- `ne`, `nin` and `not` are plain negations, so they match an item that lacks the field;
- an empty list is present, and has no element;
- numbers are compared exactly, whatever mix of integers and floats meets.
"""

from indexer.filters.conditions import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES
from indexer.filters.evaluate import Column, Mask, evaluate
from indexer.filters.native import parse
from indexer.filters.tree import And, Compare, Contains, Exists, Filter, Not, OneOf, Or, Order, Prefix

__all__ = [
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_VALUES",
    "And",
    "Column",
    "Compare",
    "Contains",
    "Exists",
    "Filter",
    "Mask",
    "Not",
    "OneOf",
    "Or",
    "Order",
    "Prefix",
    "evaluate",
    "parse",
]
