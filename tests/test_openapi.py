"""Does the file openapi.json say what the service does?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.datastructures import State

from service import examples
from service.described import described
from service.requests import BatchRequest, CompareRequest, SearchRequest

ROOT = Path(__file__).parents[1]
EXAMPLES = [
    (SearchRequest, examples.SEARCH),
    (BatchRequest, examples.BATCH),
    (CompareRequest, examples.COMPARE),
]


def in_file() -> dict[str, Any]:
    return json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))


def test_the_file_is_what_the_service_answers() -> None:
    assert in_file() == described(State()).openapi(), "run `make openapi`"


def test_the_tool_prints_the_file_to_the_byte() -> None:
    tool = ROOT / "tools" / "write_openapi.py"
    printed = subprocess.run([sys.executable, str(tool)], capture_output=True, cwd=ROOT, check=True).stdout
    assert printed == (ROOT / "openapi.json").read_bytes()


def test_every_route_is_described_with_its_errors() -> None:
    paths = in_file()["paths"]
    assert set(paths) == {
        "/healthz",
        "/readyz",
        "/v1/collections",
        "/v1/collections/{collection}",
        "/v1/collections/{collection}/items/{id}",
        "/v1/collections/{collection}/search",
        "/v1/collections/{collection}/search/batch",
        "/v1/collections/{collection}/compare",
    }
    for path, methods in paths.items():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["description"]
            assert "200" in operation["responses"]
            if "{collection}" in path:
                assert {"404", "409", "413", "422", "503"} <= set(operation["responses"])


@pytest.mark.parametrize("shape", ["CollectionAnswer", "ModelAnswer", "RecallAnswer", "MeasuredAnswer", "IndexAnswer"])
def test_every_field_of_what_a_collection_holds_is_described(shape: str) -> None:
    fields = in_file()["components"]["schemas"][shape]["properties"]
    assert {name for name, field in fields.items() if not field.get("description")} == set()


@pytest.mark.parametrize(
    ("model", "value"),
    [(model, example["value"]) for model, found in EXAMPLES for example in found.values()],
    ids=[f"{model.__name__} {name}" for model, found in EXAMPLES for name in found],
)
def test_every_example_is_a_valid_request(model: type[BaseModel], value: dict[str, Any]) -> None:
    assert model.model_validate(value).model_fields_set == set(value)
    for query in value.get("queries", []):
        SearchRequest.model_validate(query)


def test_every_example_is_in_the_file() -> None:
    text = (ROOT / "openapi.json").read_text(encoding="utf-8")
    for _, found in EXAMPLES:
        for example in found.values():
            assert json.dumps(example["summary"]) in text
