"""How does what was freed go back to the system?

The allocators of C and of Arrow keep it for whatever is needed next, in holes between what is still held. Before
something of another kind takes memory, they are asked to let go of it.
"""

from __future__ import annotations

import ctypes

import pyarrow as pa


def give_back() -> None:
    """Have what is freed and not used go back, where the C library can (glibc's `malloc_trim`)."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
