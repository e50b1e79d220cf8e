"""Does the service stay on loopback unless it is told who may ask, and does it end when and as it is asked to?"""

from __future__ import annotations

import ipaddress
import json
import signal
import socket
import threading
from pathlib import Path

import httpx2 as httpx
import pytest
from service_support import Service, process, publish, until

from indexer.access import Access
from indexer.errors import ConfigurationError
from service.listening import listen
from service.served import Collections

pytest_plugins = ["service_fixtures"]

KEY = "a-key-of-the-tests"
EVERYWHERE = ["0.0.0.0", "::", "::ffff:127.0.0.1", "192.0.2.7", "2001:db8::7"]


@pytest.mark.parametrize("host", EVERYWHERE)
@pytest.mark.parametrize("command", ["serve", "demo"])
def test_beyond_loopback_a_service_without_keys_does_not_listen(here: Path, host: str, command: str) -> None:
    done = process(here, command, "--host", host, "--port", "0")
    assert done.returncode == 2
    assert f"On {host} others than this machine's own users may reach" in done.stderr
    for way in ("PARECIDO_API_KEYS", "--allow-anyone", "PARECIDO_ALLOW_ANYONE=1"):
        assert way in done.stderr
    assert done.stdout == ""


def test_a_name_is_judged_by_the_address_that_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, **rest: object) -> list[object]:
        address = "127.0.0.1" if host == "near.example" else "192.0.2.7"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ConfigurationError, match=r"On far\.example others"):
        listen("far.example", 0, Access())
    with listen("near.example", 0, Access()) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_on_loopback_no_key_is_wanted(host: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    with listen(host, 0, Access()) as listener:
        assert ipaddress.ip_address(listener.getsockname()[0]).is_loopback


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ((), {"PARECIDO_API_KEYS": KEY}),
        (("--allow-anyone",), {}),
        ((), {"PARECIDO_ALLOW_ANYONE": "1"}),
        ((), {"PARECIDO_ALLOW_ANYONE": "1", "PARECIDO_API_KEYS": KEY}),
    ],
)
def test_beyond_loopback_it_listens_with_keys_or_when_told_that_anyone_may_ask(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    service = Service(tmp_path / "store", tmp_path / "log", "--host", "0.0.0.0", *arguments, **variables)
    try:
        address = service.address().replace("0.0.0.0", "127.0.0.1")
        until(lambda: answers(address), "/healthz")
        wanted = 401 if "PARECIDO_API_KEYS" in variables else 200
        assert httpx.get(f"{address}/v1/collections").status_code == wanted
        service.stop()
    finally:
        service.process.kill()


def test_no_part_of_an_answer_waits_for_the_caller_to_acknowledge_another() -> None:
    """An answer of several writes takes milliseconds then, not the 40 that a delayed acknowledgement takes."""
    with listen("127.0.0.1", 0, Access()) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # what asyncio looks at before it sets TCP_NODELAY


def test_a_wrong_key_in_the_environment_is_a_sentence_and_2(here: Path) -> None:
    done = process(here, "serve", "--host", "0.0.0.0", PARECIDO_API_KEYS="tiny")
    assert done.returncode == 2
    assert "at least 16 are needed" in done.stderr
    assert "tiny" not in done.stderr


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_once_the_request_under_way_is_answered(tmp_path: Path, by: signal.Signals) -> None:
    store = tmp_path / "store"
    publish(store, "notes", [{"id": "bread", "text": "bake bread"}])
    service = Service(store, tmp_path / "log")
    try:
        service.wait_until_ready()
        body = json.dumps({"text": "a loaf"}).encode()
        with begun(service.address(), len(body)) as request:
            service.process.send_signal(by)
            until(lambda: not answers(service.address()), "the end of listening")
            request.sendall(body)
            answer = read_all(request)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert json.loads(answer.split(b"\r\n\r\n")[1])["hits"][0]["id"] == "bread"
        service.wait_for_end()
    finally:
        service.process.kill()


def test_a_signal_ends_it_before_it_has_begun_to_listen(tmp_path: Path) -> None:
    service = Service(tmp_path / "store", tmp_path / "log")
    try:
        service.address()
        service.stop()
    finally:
        service.process.kill()


def test_a_look_at_the_store_that_takes_long_does_not_hold_the_end_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, done = threading.Event(), threading.Event()

    def look(collections: Collections) -> None:
        looking.set()
        done.wait()

    monkeypatch.setattr(Collections, "refresh", look)
    collections = Collections(tmp_path)
    collections.start()
    looking.wait()
    stopping = threading.Thread(target=collections.stop, daemon=True)
    stopping.start()
    stopping.join(timeout=60)
    ended = not stopping.is_alive()
    done.set()
    assert ended


def begun(address: str, length: int) -> socket.socket:
    """A search whose head has been read and whose body the service waits for."""
    host, port = address.removeprefix("http://").split(":")
    opened = socket.create_connection((host, int(port)))
    opened.sendall(
        b"POST /v1/collections/notes/search HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % length
    )
    assert opened.recv(1024).startswith(b"HTTP/1.1 100 ")
    return opened


def read_all(opened: socket.socket) -> bytes:
    """What comes until the other side closes."""
    parts = iter(lambda: opened.recv(65536), b"")
    return b"".join(parts)


def answers(address: str) -> bool:
    """Whether a new connection is taken."""
    try:
        return httpx.get(f"{address}/healthz").status_code == 200
    except httpx.TransportError:
        return False
