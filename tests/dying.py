"""A death that a test survives: quicker than killing a process, and as thorough as far as the disk goes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from killed_child import CALLS

from indexer.storage import OutputFile


class Died(BaseException):
    """The process is no more; no code of the product catches this."""


@contextlib.contextmanager
def dying(step: int) -> Iterator[None]:
    """Let the process seem to die before its step-th act on the disk: from then on none of them takes place."""
    done = 0

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **named: Any) -> Any:
            nonlocal done
            done += 1
            if done >= step:
                raise Died
            return act(*args, **named)

        return counting

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(OutputFile, "write", counted(OutputFile.write))
        with contextlib.suppress(Died):
            yield
