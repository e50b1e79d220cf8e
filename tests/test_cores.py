"""Does a process take the cores that it may have, and have its libraries take no more?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from service_support import until

from indexer import cores as module
from indexer.cores import THREADS, cores, limit_threads

WORKERS = """
import sys
from pathlib import Path
from indexer import cores
from service import listening, workers

cores._of_affinity = lambda: 6

def work():
    import faiss
    Path(sys.argv[1]).open("a").write(f"{faiss.omp_get_max_threads()}\\n")
    import signal
    signal.pause()

listening._answer = lambda *_: work()
import socket
from indexer.access import Access
from indexer.providers import Providers
listening.serve(Path("."), socket.create_server(("127.0.0.1", 0)), "there", Access(), Providers(), int(sys.argv[2]))
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with 8 cores, and where the time of a control group is told."""
    monkeypatch.setenv(THREADS, "")  # so that it is taken away again
    monkeypatch.delenv(THREADS)
    monkeypatch.setattr(module, "_of_affinity", lambda: 8)
    monkeypatch.setattr(module, "_CPU_QUOTA", tmp_path / "cpu.max")
    return tmp_path / "cpu.max"


def test_the_cores_are_those_of_the_affinity() -> None:
    one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    script = one + "from indexer.cores import cores; print(cores())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert 1 <= cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("told", "processes", "expected"),
    [
        (None, 1, 8),
        ("max 100000", 1, 8),
        ("400000 100000", 1, 4),
        ("150000 100000", 1, 2),
        ("20000 100000", 1, 1),
        ("1600000 100000", 1, 8),
        ("400000 100000", 2, 2),
        ("400000 100000", 3, 1),
        ("nonsense", 1, 8),
        (None, 1000, 1),
    ],
)
def test_a_control_group_and_other_processes_leave_fewer(
    machine: Path, told: str | None, processes: int, expected: int
) -> None:
    if told is not None:
        machine.write_text(told + "\n")
    assert cores(processes) == expected
    limit_threads(processes)
    assert os.environ.get(THREADS) == (None if expected == 8 else str(expected))


def test_what_the_user_has_said_stays(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS, "5")
    limit_threads(4)
    assert os.environ[THREADS] == "5"


@pytest.mark.parametrize(("count", "each"), [(2, 3), (3, 2), (7, 1)])
def test_workers_share_the_threads_of_the_machine(tmp_path: Path, count: int, each: int) -> None:
    told, environment = tmp_path / "told", {name: value for name, value in os.environ.items() if name != THREADS}
    serving = subprocess.Popen([sys.executable, "-c", WORKERS, str(told), str(count)], env=environment)
    try:
        until(lambda: told.exists() and len(told.read_text().split()) == count, "all workers")
        assert told.read_text().split() == [str(each)] * count
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.wait(30)
