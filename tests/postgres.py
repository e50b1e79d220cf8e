"""A real PostgreSQL server on a free port of the loopback, with a password, for as long as it is needed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

PASSWORD = "s3cret/p@ss:word"  # what has to be percent-encoded in a URL
QUOTED = "s3cret%2Fp%40ss%3Aword"


class Postgres:
    """A running server, and what it is asked for besides the sources under test."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def url(self) -> str:
        """Where a source finds it."""
        return f"postgresql://postgres:{QUOTED}@127.0.0.1:{self.port}/postgres"

    @property
    def shown(self) -> str:
        """The URL as it may be shown."""
        return f"postgresql://postgres:***@127.0.0.1:{self.port}/postgres"

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Carry out statements; returns the rows of the last."""
        address = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(address, password=PASSWORD, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def end_readers(self) -> int:
        """End every other connection; returns how many there were."""
        ended = self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return len(ended)


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """The server, with its data in a folder of its own that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="parecido-postgres-"))
    user = None
    if os.geteuid() == 0:  # PostgreSQL does not run as root; another user may not come through to the installed files
        user = "nobody"
        shutil.chown(folder, user)
    try:
        server = Postgres(_free_port())
        process = subprocess.Popen(
            _prepare(folder, user, server.port), user=user, cwd=folder, stderr=subprocess.DEVNULL
        )
        try:
            _wait(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: the data is not kept
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def _prepare(folder: Path, user: str | None, port: int) -> list[str]:
    """Make a database in the folder; returns the command that serves it."""
    spec = importlib.util.find_spec("pgserver")
    if spec is None or spec.origin is None:
        pytest.skip("there is no PostgreSQL server for this Python and this machine: pgserver is not installed")
    package = Path(spec.origin).parent
    if user:
        libraries = package.with_name("pgserver.libs")
        shutil.copytree(libraries, folder / libraries.name)
        package = shutil.copytree(package, folder / package.name)
    programs = package / "pginstall" / "bin"
    data, password = folder / "data", folder / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    if user:
        shutil.chown(password, user)
    own = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-sync"]
    made = subprocess.run([programs / "initdb", "-D", data, *own], user=user, cwd=folder, capture_output=True)
    assert made.returncode == 0, made.stderr.decode()
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", "", "-c", "fsync=off"]
    return [str(programs / "postgres"), "-D", str(data), *options]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _wait(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers, which it does not while it starts."""
    while process.poll() is None:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("PostgreSQL did not start")
