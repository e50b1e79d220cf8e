"""A process that stands for another host: it forks runs of the indexer that share a folder, but no kernel, with others.

Its name is the argument: of the host and of its kernel; `flock` does nothing here, as on a folder where it is not
shared. One JSON object a line comes in, see `run`; several go out for each: `pid` when the run begins, `stopped` where
it is about to stop itself, and in the end `error`, what it raised, `published`, the number of the generation that it
published, and `signal`, what ended it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from support import NAME, Silent, StandIn, settings_for

from indexer import models
from indexer.build import build
from indexer.storage import leases, locks


class Watched(StandIn):
    """Embeds when it may."""

    order: dict[str, Any]

    def embed_documents(self, texts: Any) -> Any:
        """Stop here, or wait for a file to be there, where that was ordered."""
        if self.order.get("stop") == "embed":
            stop(self.order["stop"])
        while "until" in self.order and not Path(self.order["until"]).exists():
            time.sleep(0.02)
        return super().embed_documents(texts)


def say(**what: Any) -> None:
    os.write(sys.stdout.fileno(), json.dumps(what).encode() + b"\n")


def stop(where: str) -> None:
    """All threads of this process stand still until somebody has it go on."""
    say(stopped=where)
    os.kill(os.getpid(), signal.SIGSTOP)


def run(order: dict[str, Any]) -> None:
    """One run with `store`, `source`, `wait`; `stop`, where to stop; `until`, a file to wait for while embedding."""
    link = os.link

    def linking(source: Any, target: Any) -> None:
        if order.get("stop") == "link" and Path(target).suffix == ".json":
            stop(order["stop"])
        link(source, target)

    os.link = linking
    settings = settings_for(Path(order["source"]))
    try:
        report = build(Path(order["store"]), NAME, settings, Silent(), wait=order["wait"])
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}", published=None)
    else:
        say(error=None, published=report.generation if report.published else None)


def main(name: str) -> None:
    """Follow orders until there are no more."""
    fcntl.flock = lambda descriptor, operation: None
    locks.boot_id = lambda: name
    socket.gethostname = lambda: name
    model = Watched()
    models.identify = lambda *_: model.fingerprint
    models.load = lambda *_: model
    locks.POLL_SECONDS = 0.05
    for line in sys.stdin:
        model.order = json.loads(line)
        leases.HEARTBEAT_SECONDS, leases.LEASE_SECONDS = model.order["beat"], model.order["lease"]
        child = os.fork()
        if child == 0:
            say(pid=os.getpid())
            run(model.order)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            say(signal=os.WTERMSIG(status))


if __name__ == "__main__":
    main(sys.argv[1])
