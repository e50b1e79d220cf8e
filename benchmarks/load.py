"""How many requests a second does a server answer, and how long does one wait?

A closed loop: each connection sends its next request when it has the whole answer to the last; what counts are the
answers that come once every connection has had one, so that a slow server loses nothing at the start. One thread
watches all connections with epoll and does as little for each as it can, some twenty microseconds, so that it can ask
for more than any Python server gives; it runs in a process of its own, so that it does not share a lock with what it
measures.

    python -m benchmarks.load HOST PORT CONNECTIONS SECONDS < REQUESTS

REQUESTS is what `packed` makes; the answer is one line of JSON, an `Outcome`.
"""

from __future__ import annotations

import json
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import orjson

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_GOOD = b"HTTP/1.1 200"
PATIENCE = 60
"""Seconds without any answer after which a server is given up."""


@dataclass(frozen=True)
class Outcome:
    """What a load came to."""

    answers: int
    """With status 200."""
    failures: int
    """With another status."""
    seconds: float
    p50: float
    """Milliseconds from the first byte sent to the last one received."""
    p99: float
    first_failure: str = ""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


@dataclass(frozen=True)
class Median:
    """What several rounds came to: their medians, and the least and the greatest rate."""

    rate: float
    lowest: float
    highest: float
    p50: float
    p99: float
    failures: int


def median(rounds: Sequence[Outcome]) -> Median:
    """The medians of several rounds."""
    rates = [each.rate for each in rounds]
    return Median(
        statistics.median(rates),
        min(rates),
        max(rates),
        statistics.median(each.p50 for each in rounds),
        statistics.median(each.p99 for each in rounds),
        sum(each.failures for each in rounds),
    )


def post(path: str, body: object, headers: str = "") -> bytes:
    """A whole request with a JSON body."""
    sent = orjson.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: {len(sent)}\r\n"
    return (head + headers + "\r\n").encode() + sent


def packed(requests: Sequence[bytes]) -> bytes:
    """Requests as the process reads them: each with its length before it."""
    return b"".join(len(each).to_bytes(4, "little") + each for each in requests)


def load(host: str, port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Outcome:
    """Ask those requests, round and round, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load", host, str(port), str(connections), str(seconds)]
    done = subprocess.run(command, input=packed(requests), stdout=subprocess.PIPE, check=True)
    return Outcome(**json.loads(done.stdout))


def ask(host: str, port: int, request: bytes) -> bytes:
    """The body of the answer to one request; raises ConnectionError with what came where it is no 200."""
    with socket.create_connection((host, port), PATIENCE) as opened:
        opened.sendall(request)
        received, wanted = b"", 0
        while not wanted or len(received) < wanted:
            part = opened.recv(1 << 18)
            if not part:
                raise ConnectionError(f"The server closed a connection after {received[:400]!r}.")
            received += part
            wanted = wanted or _whole_length(received)
    if not received.startswith(_GOOD):
        raise ConnectionError(f"The server answered {received.decode()[:400]!r}.")
    return received.partition(_END)[2]


@dataclass
class _Connection:
    """One client: what it waits for, and since when."""

    socket: socket.socket
    received: bytes = b""
    wanted: int = 0
    """Length of the whole answer; 0 before its head is there."""
    began: float = 0.0
    due: bool = False
    """Whether it still waits."""
    served: bool = False
    """Whether it has had an answer."""


@dataclass
class _Counts:
    times: list[float] = field(default_factory=list)
    failures: int = 0
    first_failure: str = ""


class _Loop:
    """All clients of one load."""

    def __init__(self, host: str, port: int, requests: Sequence[bytes], connections: int) -> None:
        self._requests = requests
        self._next = 0
        self._over = False
        self._counts = _Counts()
        self._epoll = select.epoll()
        self._clients: dict[int, _Connection] = {}
        for _ in range(connections):
            opened = socket.create_connection((host, port))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[opened.fileno()] = _Connection(opened)
            self._epoll.register(opened.fileno(), select.EPOLLIN)

    def run(self, seconds: float) -> Outcome:
        """Ask for some time once all have had an answer; what is under way then is awaited, and not counted."""
        for client in self._clients.values():
            self._ask(client)
        self._read_while(lambda: not all(client.served for client in self._clients.values()))
        self._counts.times.clear()
        began = time.perf_counter()
        end = began + seconds
        while (now := time.perf_counter()) < end:
            for number, _ in self._epoll.poll(max(0.0, end - now)):
                self._read(self._clients[number])
        outcome = self._outcome(time.perf_counter() - began)
        self._finish()
        return outcome

    def _finish(self) -> None:
        """Ask no more, and take the answers that are due: the server shall have nothing to do when others are asked."""
        self._over = True
        self._read_while(lambda: any(client.due for client in self._clients.values()))

    def _read_while(self, wanted: Callable[[], bool]) -> None:
        while wanted():
            ready = self._epoll.poll(PATIENCE)
            if not ready:
                raise TimeoutError(f"The server did not answer for {PATIENCE} seconds.")
            for number, _ in ready:
                self._read(self._clients[number])

    def _ask(self, client: _Connection) -> None:
        request = self._requests[self._next % len(self._requests)]
        self._next += 1
        client.received, client.wanted, client.began, client.due = b"", 0, time.perf_counter(), True
        client.socket.sendall(request)

    def _read(self, client: _Connection) -> None:
        part = client.socket.recv(1 << 18)
        if not part:
            raise ConnectionError("The server closed a connection.")
        client.received = client.received + part if client.received else part
        if not client.wanted:
            client.wanted = _whole_length(client.received)
        if client.wanted and len(client.received) >= client.wanted:
            taken = time.perf_counter() - client.began
            if client.received.startswith(_GOOD):
                self._counts.times.append(taken)
            else:
                self._counts.failures += 1
                self._counts.first_failure = self._counts.first_failure or client.received.decode()[:400]
            client.due, client.served = False, True
            if not self._over:
                self._ask(client)

    def _outcome(self, seconds: float) -> Outcome:
        times = sorted(self._counts.times) or [0.0]
        p50, p99 = (times[int(share * (len(times) - 1))] * 1000 for share in (0.5, 0.99))
        counts = self._counts
        return Outcome(len(counts.times), counts.failures, seconds, p50, p99, counts.first_failure)


def _whole_length(received: bytes) -> int:
    """How long the answer is, head and body, once its head is there; 0 before."""
    end = received.find(_END)
    if end < 0:
        return 0
    head = received[:end].lower() + b"\r\n"
    at = head.index(_LENGTH) + len(_LENGTH)
    return end + len(_END) + int(head[at : head.index(b"\r", at)])


def main() -> None:
    """Read the requests, ask them, and say what came of it."""
    host, port, connections, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    raw, requests, at = sys.stdin.buffer.read(), [], 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 4], "little")
        requests.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    print(json.dumps(asdict(_Loop(host, port, requests, connections).run(seconds))))


if __name__ == "__main__":
    main()
