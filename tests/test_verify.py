"""Does `parecido verify` find whatever is wrong with any file of a store, and name it?"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from damage import DAMAGES, NEW, OLD, Damaging, content_of, files_of, flipped, own_file, replaced
from service_support import PARECIDO, environment
from support import NAME, Place

from indexer import storage
from indexer.models.cache import FILE
from indexer.models.cache_check import NAMED, verify_cache
from indexer.prune import prune
from indexer.storage import CollectionFolder, Sealed
from indexer.verify import Verification, verify
from service.cli import main

pytest_plugins = ["damage_fixtures"]


def told(place: Place, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["verify", "--store", str(place.store), *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def wrong(found: Verification) -> dict[Path, tuple[int, ...]]:
    """The damaged files, with their generations."""
    assert len({damage.path for damage in found.damages}) == len(found.damages)
    return {damage.path: damage.generations for damage in found.damages}


def test_a_whole_store_is_read_to_the_last_byte_and_nothing_is_changed(place: Place, folder: CollectionFolder) -> None:
    before = content_of(place.store)
    found = verify(folder)
    files = {*files_of(folder, 1), *files_of(folder, 2)}
    assert (found.generations, found.damages) == ([1, 2], [])
    assert (found.files, found.bytes) == (len(files), sum(path.stat().st_size for path in files))
    assert "things: 2 generations, 13 files, " in told(place).stdout
    assert "embedding cache: 8 vectors, " in told(place).stdout
    answer = json.loads(told(place, "--json").stdout)
    assert answer["collections"] == [
        {"collection": NAME, "generations": [1, 2], "files": 13, "bytes": found.bytes, "damages": []}
    ]
    assert (answer["cache"]["vectors"], answer["cache"]["damages"]) == (8, [])
    assert json.loads(told(place, NAME, "--json").stdout)["cache"] is None
    assert content_of(place.store) == before


@pytest.mark.parametrize("damaging", DAMAGES.values(), ids=DAMAGES)
def test_each_kind_of_damage_to_each_file_is_found_and_named(
    place: Place, folder: CollectionFolder, tmp_path: Path, damaging: Damaging
) -> None:
    both, old = files_of(folder, 2), files_of(folder, 1)
    for path in [*both, old[0]]:
        if path == old[0] and damaging is DAMAGES["missing"]:
            continue  # as if it had been pruned
        damaging(path)
        after = content_of(place.store)
        users = tuple(number for number, files in ((1, old), (2, both)) if path in files)
        assert wrong(verify(folder)) == {path: users}
        result = told(place, "--json", code=1)
        (damage,) = json.loads(result.stdout)["collections"][0]["damages"]
        assert (damage["path"], damage["generations"]) == (str(path), list(users))
        which = f"generation{'s' if len(users) > 1 else ''} {', '.join(map(str, users))}"
        assert f"  {path} ({which}): " in told(place, code=1).stdout
        assert content_of(place.store) == after
        replaced(place.store, tmp_path / "before")


def test_every_byte_counts(place: Place, folder: CollectionFolder) -> None:
    for path in files_of(folder, 2):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 40)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
            assert list(wrong(verify(folder))) == [path], at
        path.write_bytes(whole)


def test_all_that_is_wrong_is_named_not_only_the_first(place: Place, folder: CollectionFolder) -> None:
    vectors, items = own_file(folder, 1, "vectors.f32"), own_file(folder, 2, "items.arrow")
    flipped(vectors)
    shutil.rmtree(items.parent)
    assert wrong(verify(folder)) == {vectors: (1, 2)} | {
        items.parent / name: (2,) for name in ("items.arrow", "ids.arrow", "passages.arrow", "vectors.f32", "ann.faiss")
    }
    assert "6 damaged" in told(place, code=1).stdout


@pytest.mark.parametrize("name", ["generations", "segments"])
def test_a_file_where_a_folder_should_be_is_named_and_other_collections_are_looked_at(
    place: Place, folder: CollectionFolder, name: str
) -> None:
    Place(place.store.parent, "other").run(OLD)
    shutil.rmtree(folder.path / name)
    (folder.path / name).write_text("not a folder")
    other, things = json.loads(told(place, "--json", code=1).stdout)["collections"]
    assert (other["collection"], other["damages"]) == ("other", [])
    assert things["damages"]
    assert all(damage["path"].startswith(str(folder.path / name)) for damage in things["damages"])


def test_what_may_not_be_read_is_named(place: Place, folder: CollectionFolder) -> None:
    vectors, manifest = own_file(folder, 2, "vectors.f32"), files_of(folder, 1)[0]
    vectors.chmod(0)
    manifest.chmod(0)
    command: list[str] = [PARECIDO, "verify", "--json", "--store", str(place.store)]
    if os.geteuid() == 0:  # who may read everything, unless told otherwise
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    found = {damage["path"]: damage for damage in json.loads(done.stdout)["collections"][0]["damages"]}
    assert found.keys() == {str(vectors), str(manifest)}
    assert all("permission is missing" in damage["reason"] for damage in found.values())


def test_a_manifest_under_the_number_of_another_is_named(folder: CollectionFolder) -> None:
    first, second = files_of(folder, 1)[0], files_of(folder, 2)[0]
    third = shutil.copy(second, second.with_name("000003.json"))
    shutil.copy(first, second)
    found = verify(folder)
    assert wrong(found) == {second: (2,), Path(third): (3,)}
    assert "is that of generation 1" in found.damages[0].reason


def test_a_generation_that_is_pruned_meanwhile_is_not_missed(
    place: Place, folder: CollectionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run(NEW, rebuild=True)
    shared, read = own_file(folder, 1, "ids.arrow"), storage.checksum

    def pruning(path: Path) -> Sealed:
        monkeypatch.undo()
        with storage.lock(folder):
            assert prune(folder, 1, timedelta()).removed == [1, 2]
        return read(path)

    monkeypatch.setattr(storage, "checksum", pruning)
    assert (verify(folder).damages, shared.exists()) == ([], False)
    assert told(place).exit_code == 0


def cached(place: Place, statement: str) -> None:
    with sqlite3.connect(place.store / FILE) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "UPDATE vectors SET vector = zeroblob(64) WHERE id = 2",
            "vector 2, of model 'stand-in', is not what was stored",
        ),
        (
            "UPDATE vectors SET vector = zeroblob(60) WHERE id = 2",
            "vector 2, of model 'stand-in', is not what was stored",
        ),
        ("DELETE FROM vectors WHERE id = 2", "vector 2 is missing"),
        ("DELETE FROM spaces", "the model of vector 1 is missing"),
        ("DELETE FROM entries WHERE id = 2", "1 vectors belong to no text"),
    ],
)
def test_a_damaged_vector_of_the_embedding_cache_is_named(place: Place, statement: str, reason: str) -> None:
    cached(place, statement)
    assert verify_cache(place.store / FILE).damages[0] == reason
    said = told(place, code=1).stdout
    assert f"{place.store / FILE}: {reason}" in said
    assert "`parecido cache --empty --all`" in said


def test_of_many_damaged_vectors_the_number_is_told(place: Place) -> None:
    place.run([{"id": f"{i}", "text": f"text {i}"} for i in range(50)])
    cached(place, "UPDATE vectors SET vector = zeroblob(64)")
    damages = verify_cache(place.store / FILE).damages
    assert (len(damages), damages[-1]) == (NAMED + 1, "38 more")


@pytest.mark.parametrize("content", [b"not a database " * 400, None])
def test_an_embedding_cache_that_cannot_be_read_is_named_and_left_alone(place: Place, content: bytes | None) -> None:
    path = place.store / FILE
    whole = path.read_bytes()
    damaged: Any = content or whole[:4096] + b"\xff" * (len(whole) - 4096)
    path.write_bytes(damaged)
    answer = json.loads(told(place, "--json", code=1).stdout)
    assert answer["cache"]["damages"]
    assert answer["collections"][0]["damages"] == []
    assert path.read_bytes() == damaged
    path.unlink()
    path.mkdir()
    assert "cannot be opened there" in json.loads(told(place, "--json", code=1).stdout)["cache"]["damages"][0]
