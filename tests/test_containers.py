"""Do the Dockerfile, docker-compose.yml and the command line agree, and do the containers keep to what is promised?"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from indexer.access import read_access
from indexer.config import load
from service.cli import main

ROOT = Path(__file__).parents[1]


@cache
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return found


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


@cache
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each with the rest of its line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def last_stage() -> list[tuple[str, str]]:
    """What is in the image that runs."""
    start = max(index for index, (name, _) in enumerate(instructions()) if name == "FROM")
    return instructions()[start:]


def only(name: str) -> str:
    """The one instruction of that name in the last stage."""
    (rest,) = [rest for found, rest in last_stage() if found == name]
    return rest


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(only("ENV")))


def parsed(command: list[str]) -> dict[str, Any]:
    """What the command line makes of a container's command."""
    program, name, *arguments = command
    assert program == "parecido"
    return main.commands[name].make_context(name, list(arguments), parent=click.Context(main)).params


def mounts(service: str) -> dict[str, tuple[str, str]]:
    """Source and mode of each mount, by its place in the container."""
    parts = [(*volume.split(":"), "rw")[:3] for volume in services()[service]["volumes"]]
    return {place: (source, mode) for source, place, mode in parts}


def test_both_services_are_one_image_that_is_built_here() -> None:
    assert set(services()) == {"service", "indexer"}
    assert {(one["image"], one["build"]) for one in services().values()} == {("parecido", ".")}


def test_the_image_is_slim_python_of_a_supported_version_by_its_plain_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bases = {rest.split()[0] for name, rest in instructions() if name == "FROM"}
    assert len(bases) == 1
    version = re.fullmatch(r"python:3\.(\d+)-slim", bases.pop())
    assert version is not None
    assert int(version[1]) >= int(project["requires-python"].removeprefix(">=3."))


def test_nothing_runs_as_root_or_may_become_it() -> None:
    user, group = only("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert any(name == "RUN" and f"useradd --uid {user} " in rest for name, rest in last_stage())
    for one in services().values():
        assert "user" not in one
        assert "privileged" not in one
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]


def test_the_port_is_published_on_loopback_only() -> None:
    (published,) = services()["service"]["ports"]
    assert "ports" not in services()["indexer"]
    address, outside, inside = published.split(":")
    assert (address, outside) == ("127.0.0.1", "8000")
    assert {str(one.get("network_mode", "")) for one in services().values()} == {""}
    for command in (services()["service"]["command"], json.loads(only("CMD"))):
        assert parsed(command)["port"] == int(inside)
        assert parsed(command)["host"] == "0.0.0.0"
    assert only("EXPOSE") == inside
    assert f"http://127.0.0.1:{inside}/readyz" in only("HEALTHCHECK")


def test_that_anyone_may_ask_is_said_where_the_port_is_published_and_not_in_the_image() -> None:
    environment = services()["service"]["environment"]
    assert read_access({key: value for key, value in environment.items() if value is not None}).allow_anyone
    assert environment["PARECIDO_API_KEYS"] is None, "it is taken from the shell"
    assert not any("PARECIDO_ALLOW_ANYONE" in rest or "--allow-anyone" in rest for _, rest in instructions())


def test_the_indexer_keeps_a_schedule_and_both_log_for_programs() -> None:
    index = parsed(services()["indexer"]["command"])
    assert index["schedule"] == "0 3 * * *"
    assert index["log_format"] == "json"
    assert parsed(services()["service"]["command"])["log_format"] == "json"


def test_both_share_one_store_that_only_the_indexer_writes_and_the_user_owns() -> None:
    store = image_environment()["PARECIDO_STORE"]
    (volume,) = compose()["volumes"]
    assert mounts("indexer")[store] == (volume, "rw")
    assert mounts("service") == {store: (volume, "ro")}
    assert any(name == "RUN" and f"-o parecido -g parecido {store}" in rest for name, rest in last_stage())


def test_the_indexer_finds_its_settings_and_the_documents_read_only() -> None:
    folder, mode = mounts("indexer")[only("WORKDIR")]
    assert mode == "ro"
    settings = load(ROOT / folder / "parecido.toml", image_environment())
    assert str(settings.store) == image_environment()["PARECIDO_STORE"]
    (collection,) = settings.collections.values()
    (source,) = collection.source
    assert mounts("indexer")[source] == ("./documents", "ro")


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")]
    paths = {path.rstrip("/") for sources in copied for path in sources}
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert kept[1] == "*"
    assert {line.removeprefix("!") for line in kept if line.startswith("!")} == paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    assert packages <= paths


def test_the_health_check_asks_python_which_is_there_and_passes_proxies_by() -> None:
    command = only("HEALTHCHECK").split("CMD ")[1]
    program, option, code = json.loads(command)
    assert (program, option) == ("python", "-c")
    assert "ProxyHandler({})" in code
    with pytest.raises(OSError, match="refused"):
        exec(code.replace(":8000", ":1"), {})
