"""How do several processes answer on one address?

The one that was started listens and forks the others before it has loaded anything; they take connections from its
socket, map the same files, follow new generations each by itself, and say in the log which of them says so. The one
that was started starts another in the place of one that ends, and ends them all when it is told to. Should it be killed
itself, they end too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable

from indexer import logs

log = logging.getLogger("parecido")

SECONDS_TO_END = 9.0
"""How long workers may take to end before they are killed; Docker kills after 10 seconds."""
SECONDS_TO_LIVE = 1.0
"""One that ends sooner is not replaced before that time is over, lest processes be started without pause."""

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def keep(count: int, work: Callable[[], None], stop_listening: Callable[[], None]) -> None:
    """Have so many processes do the work until a signal says to end; return once all have ended.

    `work` is called in a new process and ends it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    life = os.pipe()
    began = {_start(work, life): time.monotonic() for _ in range(count)}
    while signal.sigwait(_SIGNALS) == signal.SIGCHLD:
        for pid, ending in _ended(set(began)):
            lived = time.monotonic() - began.pop(pid)
            told = {"event": "worker_ended", "worker": pid, "ending": ending}
            log.error("worker %d ended with %s: starting another", pid, ending, extra=told)
            time.sleep(max(0.0, SECONDS_TO_LIVE - lived))
            began[_start(work, life)] = time.monotonic()
    stop_listening()
    _end(set(began))


def _start(work: Callable[[], None], life: tuple[int, int]) -> int:
    """A new process; what the caller gets is its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        logs.name_worker()
        os.close(life[1])
        threading.Thread(target=_end_with_parent, args=(life[0],), name="parecido-parent", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        work()
    except KeyboardInterrupt:  # told to end before there was anything to close
        code = 0
    except BaseException:
        log.exception("a worker failed")
    finally:
        logging.shutdown()
        os._exit(code)


def _end_with_parent(life: int) -> None:
    """Wait for the end of the process that started this one, which alone could write here, and end in good order."""
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _ended(pids: set[int]) -> list[tuple[int, str]]:
    """Those that have ended, and with what."""
    ended = []
    for pid in pids:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            ended.append((pid, f"exit code {code}" if code >= 0 else signal.Signals(-code).name))
    return ended


def _end(pids: set[int]) -> None:
    """Tell them to end, and kill those that do not."""
    deadline = time.monotonic() + SECONDS_TO_END
    _tell(pids, signal.SIGTERM)
    while pids and time.monotonic() < deadline:
        pids = pids - {pid for pid, _ in _ended(pids)}
        time.sleep(0.02)
    if pids:
        log.error("killing %d workers that did not end in time", len(pids), extra={"event": "workers_killed"})
        _tell(pids, signal.SIGKILL)


def _tell(pids: set[int], what: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)
