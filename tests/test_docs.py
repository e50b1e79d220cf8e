"""Do the documents tell the truth about paths, commands and routes?"""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest
from starlette.datastructures import State

from service.cli import main
from service.described import described

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"`((?:indexer|service|tests|benchmarks|tools|\.ci)/[\w./-]*)`", text)
    named += re.findall(r"\]\(([^)#:]+)\)", text)
    assert named or document == "CHANGELOG.md"
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_architecture_names_every_module_of_the_indexer() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    modules = {p.stem for p in (ROOT / "indexer").iterdir() if p.stem[0] not in "_."}
    assert sorted(module for module in modules if not re.search(rf"\b{module}\b", text)) == []


def test_the_walls_are_drawn_as_they_are_checked() -> None:
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in checked if one.get("containers") == ["indexer"])
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("imports go down only:\n\n")[2]
    drawn = re.findall(r"\w+", text.partition("\n\n")[0])
    places = [[drawn.index(name) for name in re.findall(r"\w+", layer)] for layer in layers]
    assert all(max(upper) < min(lower) for upper, lower in itertools.pairwise(places))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 1050


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    commands = set(re.findall(r"(?:^ {4}|`|bin/)parecido (\w+)", text, re.MULTILINE))
    assert commands - set(main.commands) == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = set(re.findall(r"(?:^ {4}|`)make (\w+)", text, re.MULTILINE))
    assert named - set(targets) == set()


def test_every_route_that_the_readme_names_exists(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {re.sub(r"\{\w+\}", "{}", path) for path in re.findall(r"`(?:GET |POST )?(/[\w/{}.-]+)`", text)}
    paths = {re.sub(r"\{\w+\}", "{}", path) for path in described(State()).openapi()["paths"]} | {"/docs"}
    assert len(named) >= 6
    assert named - paths == set()


def test_every_pinned_dependency_of_the_project_is_in_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[>=<\[]", line)[0].lower().replace("_", "-") for line in wanted} - {"parecido"}
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert names - {name.lower().replace("_", "-") for name in pinned} == set()
