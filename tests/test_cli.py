"""Does the command line index, search, compare and show what is there, as its help says?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from service_items import ITEMS, LONG_ID
from service_support import FEW, Run, environment, process, publish, write_rows

from indexer.config import CacheSettings, CollectionSettings, PassageSettings, load
from indexer.providers import ModelSettings, OpenAISettings

pytest_plugins = ["service_fixtures"]


def names(run: Run, *options: str) -> list[str]:
    """The collections that `status` shows."""
    return [one["name"] for one in json.loads(run("status", "--json", *options).stdout)["collections"]]


def test_files_are_indexed_and_searched_without_any_configuration(here: Path) -> None:
    indexed = process(here, "index", "few.jsonl", "--collection", "few", "--json")
    assert indexed.returncode == 0, indexed.stderr
    report = json.loads(indexed.stdout)
    assert set(report) >= {
        "collection",
        "generation",
        "published",
        "reason",
        "items",
        "passages",
        "seconds",
        "peak_rss_bytes",
        "rejects_file",
    }
    assert (report["collection"], report["generation"], report["published"]) == ("few", 1, True)
    items = {"added": 2, "changed": 0, "unchanged": 0, "deleted": 0, "rejected": 0}
    assert {key: report["items"][key] for key in items} == items
    assert report["passages"] == {"total": 2, "embedded": 2, "cached": 0, "tokens": 5, "characters": 19}
    assert report["seconds"]["total"] > 0
    assert report["peak_rss_bytes"] > 1_000_000
    assert report["rejects_file"] is None
    assert (here / "parecido-data" / "collections" / "few").is_dir()
    found = process(here, "search", "few", "a loaf", "--limit", "1", "--json")
    assert [hit["id"] for hit in json.loads(found.stdout)["hits"]] == ["a"]


def test_a_second_run_says_that_nothing_changed(run: Run) -> None:
    run("index", "few.jsonl", "--collection", "few")
    report = json.loads(run("index", "few.jsonl", "--collection", "few", "--json").stdout)
    assert (report["generation"], report["published"], report["reason"]) == (1, False, "nothing changed")
    assert (report["items"]["unchanged"], report["passages"]["embedded"]) == (2, 0)


CONFIG = """
store = "kept/here"
[collections.one]
source = "few.jsonl"
[collections.two]
source = "few.jsonl"
metadata = []
"""


def test_the_configured_collections_are_indexed_all_or_by_name(run: Run, here: Path) -> None:
    (here / "parecido.toml").write_text(CONFIG, encoding="utf-8")
    run("index", "two")
    assert names(run) == ["two"]
    said = run("index").stdout
    assert "one: generation 1 published" in said
    assert "two: generation 1 still current" in said
    assert names(run) == ["one", "two"]
    assert (here / "kept" / "here" / "collections").is_dir()
    assert "parecido.toml has no collection 'three'; it has one, two" in run("index", "three", code=2).stderr


def test_an_option_comes_before_the_environment_and_that_before_the_file(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "elsewhere").mkdir()
    config = here / "elsewhere" / "my.toml"
    config.write_text(CONFIG, encoding="utf-8")
    assert json.loads(run("status", "--json").stdout)["store"] == "parecido-data"
    shown = json.loads(run("status", "--json", "--config", str(config)).stdout)["store"]
    assert shown == str(here / "elsewhere" / "kept" / "here")
    monkeypatch.setenv("PARECIDO_STORE", "from-environment")
    assert json.loads(run("status", "--json", "--config", str(config)).stdout)["store"] == "from-environment"
    option = ("--config", str(config), "--store", "from-option")
    assert json.loads(run("status", "--json", *option).stdout)["store"] == "from-option"


def test_init_writes_a_file_that_loads_and_indexes_and_is_never_overwritten(run: Run, here: Path) -> None:
    assert "Wrote parecido.toml" in run("init").stdout
    written = (here / "parecido.toml").read_text(encoding="utf-8")
    assert list(load(here / "parecido.toml", {}).collections) == ["articles"]
    (here / "articles").mkdir()
    write_rows(here / "articles" / "few.jsonl", FEW)
    assert "articles: generation 1 published" in run("index").stdout
    (here / "parecido.toml").write_text(written + "# mine\n", encoding="utf-8")
    assert "exists: remove it first" in run("init", code=2).stderr
    assert (here / "parecido.toml").read_text(encoding="utf-8").endswith("# mine\n")


def test_every_setting_of_the_example_can_be_uncommented(run: Run, here: Path) -> None:
    run("init", "example.toml")
    lines = (here / "example.toml").read_text(encoding="utf-8").splitlines()
    settings = [line.removeprefix("# ") for line in lines if " = " in line or line.removeprefix("# ").startswith("[")]
    alone = [line for line in settings if not line.startswith(('text = "text"', 'text = ["'))]
    (here / "all.toml").write_text("\n".join(alone), encoding="utf-8")
    (articles,) = load(here / "all.toml", {}).collections.values()
    assert articles.text == ("{title}\n\n{body}",)
    assert articles.passages.tokens == 254
    named = {line.partition(" = ")[0] for line in settings}
    shared = [CacheSettings, OpenAISettings, ModelSettings, PassageSettings, CollectionSettings]
    assert {name for one in shared for name in one.model_fields} - {"api_key", "passages"} <= named


def timeless(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "took_ms": None}


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (["how to bake bread"], {"text": "how to bake bread"}),
        (["--id", "é", "--limit", "3", "--offset", "2"], {"id": "é", "limit": 3, "offset": 2}),
        (["space", "--filter", '{"kind": "space"}'], {"text": "space", "filter": {"kind": "space"}}),
        (["space", "--min-similarity", "0.2"], {"text": "space", "min_similarity": 0.2}),
        (["sea", "--include", "text", "--include", "vector"], {"text": "sea", "include": ["text", "vector"]}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_search_with_json_is_the_answer_of_the_service(
    run: Run, api: httpx.Client, served_store: Path, options: list[str], body: dict[str, Any]
) -> None:
    printed = json.loads(run("search", "notes", *options, "--json", "--store", str(served_store)).stdout)
    assert printed["hits"]
    assert timeless(printed) == timeless(api.post("/v1/collections/notes/search", json=body).json())


def test_compare_with_json_is_the_answer_of_the_service(run: Run, api: httpx.Client, served_store: Path) -> None:
    common = ("--json", "--store", str(served_store))
    for arguments, body in [
        (("bread", LONG_ID), {"a": {"id": "bread"}, "b": {"id": LONG_ID}}),
        (("cake", "pie", "--text", "--pairs", "1"), {"a": {"text": "cake"}, "b": {"text": "pie"}, "pairs": 1}),
    ]:
        printed = json.loads(run("compare", "notes", *arguments, *common).stdout)
        assert timeless(printed) == timeless(api.post("/v1/collections/notes/compare", json=body).json())


def test_a_person_reads_one_hit_a_line_and_passages_side_by_side(run: Run, served_store: Path) -> None:
    store = ("--store", str(served_store))
    (first, *others) = run("search", "notes", ITEMS[0]["text"], "--limit", "4", *store).stdout.splitlines()
    assert re.fullmatch(rf"1\.0000  bread +{re.escape(ITEMS[0]['text'])}", first)
    assert len(others) == 3
    assert run("search", "notes", "falling shares", "--limit", "1", *store).stdout.count("\n") == 1
    assert run("search", "notes", "x", "--min-similarity", "1", *store).stdout == "Nothing found.\n"
    said = run("compare", "notes", "bread", "bread", *store).stdout.splitlines()
    assert said[0] == "1.0000"
    assert said[2:] == [f"1.0000  a  {ITEMS[0]['text']}", f"        b  {ITEMS[0]['text']}"]
    assert "notes: generation 1, 30 items" in run("status", *store).stdout


def test_the_history_lists_the_newest_generation_first(run: Run, here: Path) -> None:
    for number in (1, 2):
        publish(here / "store", "few", FEW[:number])
    said = run("generations", "few", "--store", "store").stdout.splitlines()
    assert [line.split(",")[0] for line in said] == ["generation 2", "generation 1"]
    assert [g["items"] for g in json.loads(run("generations", "few", "--json", "--store", "store").stdout)] == [2, 1]


@pytest.mark.parametrize("arguments", [["--help"], ["index", "--help"], ["serve", "--help"], ["status"], ["cache"]])
def test_help_and_status_answer_without_loading_anything_heavy(
    here: Path, served_store: Path, arguments: list[str]
) -> None:
    heavy = {"torch", "sentence_transformers", "transformers", "openai", "fastapi", "starlette", "uvicorn"}
    heavy |= {"numpy", "pyarrow", "faiss"} if "--help" in arguments else {"pyarrow.compute"}
    code = (
        "import sys\nfrom service.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        f"assert not {heavy!r} & set(sys.modules), {heavy!r} & set(sys.modules)\n"
    )
    variables = environment(PARECIDO_STORE=str(served_store))
    done = subprocess.run([sys.executable, "-c", code], cwd=here, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
