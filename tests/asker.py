"""Somebody who asks a service all the time, while a test changes what it serves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import httpx2 as httpx
from service_support import Service, until

SECONDS_BETWEEN_QUESTIONS = 0.005
"""So that who asks leaves the machine to who answers."""

Ask = Callable[[httpx.Client], int]
"""Asks once and returns which generation answered; fails where the answer is not as it must be."""


class Asker:
    """Keeps which generations answered, in order, and what went wrong, which ends it."""

    def __init__(self, service: Service, ask: Ask) -> None:
        self._service, self._ask = service, ask
        self._seen: list[int] = []
        self._wrong: list[BaseException] = []
        self._stop = threading.Event()

    def wait_for(self, number: int, times: int) -> None:
        """Return when that generation has answered more often."""
        until(lambda: bool(self._wrong) or self._seen.count(number) > times, f"answers from generation {number}")
        assert self._wrong == []

    @contextlib.contextmanager
    def asking(self) -> Iterator[Asker]:
        """Ask while this lasts; nothing goes wrong, and no generation answers after a newer one."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
        assert self._wrong == []
        assert self._seen == sorted(self._seen)

    def _run(self) -> None:
        try:
            with self._service.client() as client:
                while not self._stop.wait(SECONDS_BETWEEN_QUESTIONS):
                    self._seen.append(self._ask(client))
        except BaseException as error:
            self._wrong.append(error)
