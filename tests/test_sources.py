"""Does `source` name what the user means, and is it read as a stream and to its end?"""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from indexer.config import CollectionSettings, Format
from indexer.errors import ConfigurationError, SourceError
from indexer.items import Rejected
from indexer.sources import Row, Source, open_source
from indexer.sources.delimited import Delimited
from indexer.sources.folder import Folder
from indexer.sources.jsonl import JsonLines
from indexer.sources.parquet import Parquet

ONE_ROW = b'{"id": "1", "text": "one"}\n'


def opened(*sources: Path | str, format: Format | None = None) -> Source:
    return open_source(CollectionSettings(source=tuple(map(str, sources)), format=format))


def write(path: Path, data: bytes = ONE_ROW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def files_of(source: Source) -> tuple[Path, ...]:
    assert isinstance(source, JsonLines | Delimited | Parquet)
    return source.files


@pytest.mark.parametrize(
    ("name", "kind", "textual"),
    [
        ("a.jsonl", JsonLines, False),
        ("a.NDJSON", JsonLines, False),
        ("a.jsonl.gz", JsonLines, False),
        ("a.csv", Delimited, True),
        ("a.csv.gz", Delimited, True),
        ("a.tsv", Delimited, True),
        ("a.tsv.gz", Delimited, True),
        ("a.parquet", Parquet, False),
        ("a.md", Folder, False),
        ("a.markdown", Folder, False),
        ("a.txt", Folder, False),
    ],
)
def test_the_name_tells_the_format(tmp_path: Path, name: str, kind: type, textual: bool) -> None:
    source = opened(write(tmp_path / name))
    assert type(source) is kind
    assert source.textual is textual
    assert source.default_id == ("path" if kind is Folder else "id")


def test_a_folder_is_read_as_text_files(tmp_path: Path) -> None:
    assert type(opened(tmp_path)) is Folder


@pytest.mark.parametrize("name", ["a.json", "a", "a.xml", "a.parquet.gz", "a.zip"])
def test_a_name_that_tells_no_format_asks_for_one(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    with pytest.raises(ConfigurationError, match="does not tell a format: set `format` to jsonl") as error:
        opened(path)
    assert repr(str(path)) in error.value.message
    assert error.value.param == "format"


def test_a_told_format_goes_before_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / "export.json")
    assert [row.fields for row in opened(path, format="jsonl").rows() if isinstance(row, Row)] == [
        {"id": "1", "text": "one"}
    ]


def test_files_of_two_formats_are_refused_with_both_named(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    write(tmp_path / "b.csv")
    with pytest.raises(ConfigurationError, match=r"b\.csv' is csv and '.*a\.jsonl' is jsonl"):
        opened(tmp_path / "*")


def test_a_folder_among_told_formats_asks_for_a_glob(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is a folder, .*name the parquet files in it by a glob"):
        opened(tmp_path, format="parquet")


@pytest.mark.parametrize("pattern", ["absent.jsonl", "absent/a.jsonl", "absent/*.jsonl", "*.jsonl", "**/*.jsonl", ""])
def test_a_source_that_is_not_there_is_an_error(tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as error:
        opened(pattern)
    assert repr(pattern) in error.value.message


def test_one_missing_source_of_two_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    with pytest.raises(SourceError, match=r"No file matches .*b\*"):
        opened(tmp_path / "a.jsonl", tmp_path / "b*")


def test_no_source_at_all_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="names no file"):
        opened()


def test_sources_keep_their_order_and_what_a_glob_finds_is_sorted(tmp_path: Path) -> None:
    names = ["z.jsonl", "b/2.jsonl", "b/10.jsonl", "b/c/d/1.jsonl", "b.jsonl"]
    for name in names:
        write(tmp_path / name)
    source = opened(tmp_path / "z.jsonl", tmp_path / "**" / "*.jsonl")
    assert [path.relative_to(tmp_path).as_posix() for path in files_of(source)] == [
        "z.jsonl",
        "b.jsonl",
        "b/10.jsonl",
        "b/2.jsonl",
        "b/c/d/1.jsonl",
    ]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.jsonl")
    monkeypatch.chdir(tmp_path)
    assert files_of(opened("a.jsonl", "./a.jsonl", "*.jsonl", tmp_path / "a.jsonl")) == (Path("a.jsonl"),)


def test_a_glob_passes_over_hidden_files_unless_it_begins_with_a_dot(tmp_path: Path) -> None:
    for name in ["a.jsonl", ".b.jsonl", ".c/d.jsonl"]:
        write(tmp_path / name)
    assert [path.name for path in files_of(opened(tmp_path / "**/*.jsonl"))] == ["a.jsonl"]
    assert [path.name for path in files_of(opened(tmp_path / ".*.jsonl"))] == [".b.jsonl"]


def test_brackets_in_a_name_that_exists_are_no_glob(tmp_path: Path) -> None:
    for name in ["[old]/data[1].jsonl", "[old]/data1.jsonl", "o/data1.jsonl"]:
        write(tmp_path / name)
    assert [path.name for path in files_of(opened(tmp_path / "[old]" / "data[1].jsonl"))] == ["data[1].jsonl"]
    found = files_of(opened(tmp_path / "[old]" / "*[0-9].jsonl"))
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["[old]/data1.jsonl"]


def test_folders_in_the_middle_of_a_glob_may_be_patterns(tmp_path: Path) -> None:
    for name in ["x1/docs/a.csv", "x2/docs/b.csv", "x2/docs/sub/c.csv", "y/docs/d.csv", "x3"]:
        write(tmp_path / name)
    assert [path.name for path in files_of(opened(tmp_path / "x*/docs/*.csv"))] == ["a.csv", "b.csv"]
    assert [path.name for path in files_of(opened(tmp_path / "x*/**/*.csv"))] == ["a.csv", "b.csv", "c.csv"]
    assert [path.name for path in files_of(opened(tmp_path / "x2/docs/**", format="csv"))] == ["b.csv", "c.csv"]


def test_a_loop_of_links_does_not_hang_a_glob(tmp_path: Path) -> None:
    write(tmp_path / "a/b/c.jsonl")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a", target_is_directory=True)
    assert [path.name for path in files_of(opened(tmp_path / "**/*.jsonl"))] == ["c.jsonl"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "a.txt"])
def test_a_file_that_vanishes_before_it_is_read_is_an_error(tmp_path: Path, name: str) -> None:
    source = opened(write(tmp_path / name))
    os.remove(tmp_path / name)
    with pytest.raises(SourceError, match=rf"{name}' cannot be read to its end: .*No such file"):
        list(source.rows())


def test_one_unreadable_file_of_a_glob_is_an_error_after_the_rows_before_it(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "nowhere")
    rows = opened(tmp_path / "*.jsonl").rows()
    assert isinstance(next(rows), Row)
    with pytest.raises(SourceError, match=r"b\.jsonl' cannot be read to its end: at line 1: No such file"):
        next(rows)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.tsv.gz"])
@pytest.mark.parametrize("keep", [0, 5, 2000, -1])
def test_a_cut_gzip_file_is_an_error_and_never_a_shorter_source(tmp_path: Path, name: str, keep: int) -> None:
    if name.startswith("a.jsonl"):
        data = b"".join(b'{"id": "%d", "text": "%s"}\n' % (i, os.urandom(9).hex().encode()) for i in range(1000))
    else:
        data = b"id\ttext\n" + b"".join(b"%d\t%s\n" % (i, os.urandom(9).hex().encode()) for i in range(1000))
    write(tmp_path / name, gzip.compress(data)[:keep])
    source = opened(tmp_path / name)
    with pytest.raises(SourceError, match=rf"{name}' cannot be read to its end: at line \d+: .*Nothing is published"):
        list(source.rows())


def test_a_damaged_gzip_file_is_an_error(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(ONE_ROW * 1000 + os.urandom(5000).hex().encode()))
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    with pytest.raises(SourceError, match="cannot be read to its end"):
        list(opened(write(tmp_path / "a.jsonl.gz", bytes(data))).rows())


def test_what_is_named_gz_and_is_not_gzip_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="Not a gzipped file"):
        list(opened(write(tmp_path / "a.jsonl.gz")).rows())


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_a_source_takes_far_less_memory_than_its_size(tmp_path: Path, name: str) -> None:
    text = "x" * 1000
    row = f'{{"id": "1", "text": "{text}"}}\n' if "json" in name else f"1,{text}\n"
    with gzip.open(tmp_path / name, "wt", compresslevel=1) as file:
        file.write("" if "json" in name else "id,text\n")
        for _ in range(30):
            file.write(row * 1000)
    source = opened(tmp_path / name)
    tracemalloc.start()
    try:
        count = sum(isinstance(row, Row) for row in source.rows())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert peak < 2**20 < 30_000 * len(text) / 20


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", ONE_ROW + b"broken\n" + ONE_ROW * 100_000)
    source = opened(tmp_path / "a.jsonl", write(tmp_path / "b.jsonl"))
    os.remove(tmp_path / "b.jsonl")
    rows = source.rows()
    assert isinstance(next(rows), Row)
    assert isinstance(next(rows), Rejected)
    assert isinstance(next(rows), Row)


def test_a_source_can_be_read_more_than_once(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.jsonl", ONE_ROW * 3))
    assert list(source.rows()) == list(source.rows())
