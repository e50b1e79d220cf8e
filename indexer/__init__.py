"""The library and the batch job: from a source of items to a published generation, and the search over it."""
