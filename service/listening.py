"""Where does the service listen, for whom, and how does it end?

Beyond loopback it wants API keys, or to be told that anyone may ask. SIGTERM ends it as Ctrl-C does: no new connection
is taken, requests under way are answered, and the exit status is 0.
"""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import logging
import os
import signal
import socket
from functools import partial
from pathlib import Path
from typing import NoReturn

from indexer.access import ALLOW_ANYONE, API_KEYS, Access
from indexer.cores import limit_threads
from indexer.errors import ConfigurationError
from indexer.providers import Providers
from service import workers

log = logging.getLogger("parecido")

BACKLOG = 2048
"""Connections that may wait to be taken."""
SECONDS_TO_ANSWER = 7
"""How long requests under way may take once it shall end; Docker kills after 10 seconds."""


def listen(host: str, port: int, access: Access) -> socket.socket:
    """A socket bound to an address, which takes connections once `serve` has it; raises ConfigurationError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        _check_reach(host, str(address[0]), access)
        # Named, or asyncio would not know that small parts of an answer need not wait for each other (TCP_NODELAY).
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Choose another with --host and --port."
        ) from error
    return listener


def url(host: str, listener: socket.socket) -> str:
    """The address of a bound socket, for people."""
    return f"http://{host if ':' not in host else f'[{host}]'}:{listener.getsockname()[1]}"


def serve(
    store: Path, listener: socket.socket, address: str, access: Access, providers: Providers, count: int = 1
) -> None:
    """Answer with so many processes until a signal says to end; then end the process."""
    limit_threads(count)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when all is closed
        told = {"event": "listening", "store": str(store), "address": address, "api_keys": len(access.api_keys)}
        whom = _whom(access)
        log.info("serving store %s on %s, docs on %s/docs, for %s", store, address, address, whom, extra=told)
        local = providers.local.model_copy(update={"processes": count})
        work = partial(_answer, store, listener, access, providers.model_copy(update={"local": local}))
        if count == 1:
            work()
        else:
            listener.listen(BACKLOG)
            workers.keep(count, work, listener.close)
    _end()


def _answer(store: Path, listener: socket.socket, access: Access, providers: Providers) -> None:
    """Answer until a signal says to end; then end the process."""
    with contextlib.suppress(KeyboardInterrupt):
        gc.disable()  # what is loaded now stays, and to look for what does not takes a tenth of the time
        from service.served import Collections

        collections = Collections(store, providers)
        collections.start()  # files are opened while the rest is loaded
        import uvicorn

        from service.app import App

        config = uvicorn.Config(
            App(collections, access.api_keys),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing here asks from where a request comes, and to read them takes its time
            backlog=BACKLOG,
            timeout_graceful_shutdown=SECONDS_TO_ANSWER,
        )
        config.load()
        gc.freeze()  # what is collected later need not look at it
        gc.enable()
        uvicorn.Server(config).run(sockets=[listener])
    _end()


def _end() -> NoReturn:
    logging.shutdown()
    os._exit(0)  # threads may still verify or search, and they only read; the interpreter's own end would wait for them


def _check_reach(host: str, address: str, access: Access) -> None:
    """Raises ConfigurationError where others than this machine's own users could ask, and nobody said who may."""
    if access.api_keys or access.allow_anyone or ipaddress.ip_address(address).is_loopback:
        return
    raise ConfigurationError(
        f"On {host} others than this machine's own users may reach the service, and anyone who does could read every "
        f"collection. Set {API_KEYS} to the keys that it shall ask for, or accept this with --allow-anyone or "
        f"{ALLOW_ANYONE}=1."
    )


def _whom(access: Access) -> str:
    count = len(access.api_keys)
    return f"those who send an API key ({count} known)" if count else "anyone who reaches it: there are no API keys"
