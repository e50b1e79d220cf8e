"""What becomes of a command that is asked to end?

A run ends as it does for an error: what has to be put away is put away, one line says so, and the exit code is 128 and
the signal's number, as shells have it. A schedule passes the signal on to the run that is under way, and ends with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import FrameType

log = logging.getLogger("parecido")

SIGNALS = (signal.SIGTERM, signal.SIGINT)

SECONDS_TO_IMPORT = 0.1
"""How long a module that is being loaded is left alone before the process is asked to end again."""

_COULD_NOT_START = 127


class Stopped(SystemExit):
    """The process was asked to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.name = signal.Signals(signum).name


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Whatever runs inside is ended in good order by SIGTERM and SIGINT."""

    def stop(signum: int, frame: FrameType | None) -> None:
        if _importing(frame):
            threading.Timer(SECONDS_TO_IMPORT, os.kill, (os.getpid(), signum)).start()
        else:
            raise Stopped(signum)

    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if earlier[number] is not signal.SIG_IGN:  # whoever started us in the background wanted it so
            signal.signal(number, stop)
    try:
        yield
    except Stopped as stopped:
        log.error("stopped by %s: what is published stays as it was", stopped.name, extra={"event": "stopped"})
        raise
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded; one that is written in C makes another error of whatever is raised then."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class Watch:
    """Waits for time to pass, for a process to end, or to be told to end; a clock for `indexer.schedule.keep`.

    Signals only leave a note and a byte in a pipe, so that none is lost and none comes between anything.
    """

    def __enter__(self) -> Watch:
        self._asked = False
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._earlier = {number: signal.signal(number, self._note) for number in (*SIGNALS, signal.SIGCHLD)}
        self._earlier_wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.set_wakeup_fd(self._earlier_wakeup)
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        os.close(self._reading)
        os.close(self._writing)

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> bool:
        """Let so many seconds pass, or fewer where something happens; whether the end was asked for."""
        if not self._asked:
            self._sleep(seconds)
        return self._asked

    def run(self, command: Sequence[str]) -> int:
        """Run a process to its end; returns its exit code, negative for a signal. The end, if asked for, is passed on.

        It is in a session of its own, so that a Ctrl-C reaches it once, from here.
        """
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - our own command
        except OSError as error:
            log.error("the run could not be started: %s", error.strerror or error)
            return _COULD_NOT_START
        passed_on = False
        while (code := child.poll()) is None:
            if self._asked and not passed_on:
                child.send_signal(signal.SIGTERM)
                passed_on = True
            self._sleep(None)
        return code

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._asked = self._asked or signum in SIGNALS

    def _sleep(self, seconds: float | None) -> None:
        select.select([self._reading], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 4096)
