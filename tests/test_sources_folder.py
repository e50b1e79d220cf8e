"""Are the text files of a folder read each as one row, with what their front matter says?"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from indexer.config import CollectionSettings
from indexer.errors import SourceError
from indexer.items import Place, Rejected
from indexer.sources import Row, folder, open_source


def write(folder: Path, **files: str | bytes) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)


def read(*sources: Path, id: str | None = None) -> list[Row | Rejected]:
    return list(open_source(CollectionSettings(source=tuple(map(str, sources)), id=id)).rows())


def only(source: Path, id: str | None = None) -> Row | Rejected:
    (row,) = read(source, id=id)
    return row


def paths(*sources: Path) -> list[str]:
    return [row.fields["path"] for row in read(*sources) if isinstance(row, Row)]


def test_each_text_file_is_a_row_with_its_relative_path(tmp_path: Path) -> None:
    write(tmp_path, **{"b/c.MD": "\ufeffone\r\n", "a.txt": "---\nx: 1\n---\n", "b/d.markdown": "", "b/e.rst": "no"})
    assert read(tmp_path) == [
        Row({"path": "a.txt", "text": "---\nx: 1\n---\n"}, Place(str(tmp_path / "a.txt"), 1)),
        Row({"path": "b/c.MD", "text": "one\r\n"}, Place(str(tmp_path / "b/c.MD"), 1)),
        Row({"path": "b/d.markdown", "text": ""}, Place(str(tmp_path / "b/d.markdown"), 1)),
    ]


def test_files_come_sorted_by_their_whole_path(tmp_path: Path) -> None:
    names = ["a.md", "a/z.md", "a-b/x.md", "a0.md", "a/b.md", "a/b/c.md", "é.md", "Z.md", "a/b-c/d.md"]
    write(tmp_path, **dict.fromkeys(names, "x"))
    assert paths(tmp_path) == sorted(names)


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, **{".git/a.md": "x", ".b.txt": "x", "c/.d/e.md": "x", "f.md": "x"})
    assert paths(tmp_path) == ["f.md"]


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    write(tmp_path, **{"in/a.md": "x", "out/b.md": "linked"})
    (tmp_path / "in/b.md").symlink_to(tmp_path / "out/b.md")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in/loop.md").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in/self").symlink_to(tmp_path / "in/self")
    assert paths(tmp_path / "in") == ["a.md", "b.md"]
    (tmp_path / "root").symlink_to(tmp_path / "in", target_is_directory=True)
    assert paths(tmp_path / "root") == ["a.md", "b.md"]


def test_a_pipe_named_like_a_text_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.md")
    assert paths(tmp_path) == []


def test_a_link_that_leads_nowhere_is_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "a.md").symlink_to(tmp_path / "gone")
    with pytest.raises(SourceError, match=r"a\.md' cannot be read to its end"):
        read(tmp_path)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, **{"a.md": "x", "b/c.md": "x"})
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    rows = open_source(CollectionSettings(source=(str(tmp_path),))).rows()
    assert isinstance(next(rows), Row)
    with pytest.raises(SourceError, match="b' cannot be read to its end: at its list of files: Permission denied"):
        next(rows)


def test_a_single_file_is_named_relative_to_its_folder_and_a_match_to_the_fixed_part_of_its_glob(
    tmp_path: Path,
) -> None:
    write(tmp_path, **{"docs/a.md": "x", "docs/b/a.md": "x"})
    assert paths(tmp_path / "docs/b/a.md") == ["a.md"]
    assert paths(tmp_path / "docs/**/*.md") == ["a.md", "b/a.md"]
    assert paths(tmp_path / "*/b/*.md") == ["docs/b/a.md"]


def test_front_matter_becomes_fields_and_leaves_the_text(tmp_path: Path) -> None:
    front = "title: Café\ntags: [a, b]\ndraft: no\nday: 2024-02-29\nat: 2024-02-29T12:00:00+02:00\nn: {m: 1}\nnone:\n"
    write(tmp_path, **{"a.md": f"---\r\n{front}---  \n\n# Body\n---\n"})
    row = only(tmp_path)
    assert isinstance(row, Row)
    assert row.fields == {
        "path": "a.md",
        "text": "\n# Body\n---\n",
        "title": "Café",
        "tags": ["a", "b"],
        "draft": False,
        "day": date(2024, 2, 29),
        "at": datetime(2024, 2, 29, 10, tzinfo=UTC),
        "n": {"m": 1},
        "none": None,
    }


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("---\n---\nx", "x"),
        ("---\n# only a comment\n---\nx", "x"),
        ("---\na rule, then text", "---\na rule, then text"),
        ("\n---\na: 1\n---\nx", "\n---\na: 1\n---\nx"),
        ("----\na: 1\n---\nx", "----\na: 1\n---\nx"),
        ("", ""),
    ],
)
def test_without_front_matter_there_are_no_further_fields(tmp_path: Path, text: str, body: str) -> None:
    write(tmp_path, **{"a.md": text})
    assert only(tmp_path) == Row({"path": "a.md", "text": body}, Place(str(tmp_path / "a.md"), 1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("---\na: 1\nb: [\n---\n", "the front matter is not YAML: did not find expected node content, line 4"),
        ("---\nwords\n---\n", "the front matter is text ('words'), not a mapping"),
        ("---\n- a\n---\n", "the front matter is a list, not a mapping"),
        ("---\npath: a\n---\n", "the front matter sets 'path', which is the file's own: rename it"),
        ("---\ntext: a\n---\n", "the front matter sets 'text', which is the file's own: rename it"),
        ("---\non: push\n---\n", "the front matter has a name that is a boolean (true): put it in quotes"),
        ("---\nday: 2024-02-30\n---\n", "the front matter is not YAML: day is out of range for month"),
        ("---\na: !!python/name:os.system\n---\n", "the front matter is not YAML: could not determine a constructor"),
        ("---\na: " + "[" * 100_000 + "\n---\n", "the front matter is not YAML: more than 100 lists and mappings"),
        ("---\n" + "? " * 100_000 + "\n---\n", "the front matter is not YAML: more than 100 lists and mappings"),
        ("---\na: \0\n---\n", "the front matter is not YAML: unacceptable character"),
        (b"caf\xe9", "the file is not UTF-8: byte 0xe9"),
    ],
)
def test_a_file_that_is_no_row_is_rejected_under_its_path(tmp_path: Path, data: str | bytes, reason: str) -> None:
    write(tmp_path, **{"b/a.md": data, "c.md": "good"})
    bad, good = read(tmp_path)
    assert isinstance(bad, Rejected)
    assert bad.reason.startswith(reason)
    assert bad == Rejected(Place(str(tmp_path / "b/a.md"), 1), bad.reason, "b/a.md")
    assert isinstance(good, Row)


def test_a_path_is_not_taken_for_the_id_where_another_field_is(tmp_path: Path) -> None:
    write(tmp_path, **{"a.md": b"\xff"})
    row = only(tmp_path, id="slug")
    assert isinstance(row, Rejected)
    assert row.id is None


def test_a_file_beyond_the_limit_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_ROW_BYTES", 10)
    write(tmp_path, **{"a.txt": "x" * 10, "b.txt": "x" * 11})
    good, bad = read(tmp_path)
    assert isinstance(good, Row)
    assert bad == Rejected(Place(str(tmp_path / "b.txt"), 1), "the file is longer than 10 bytes", "b.txt")


def test_a_file_name_that_is_not_utf8_gives_a_place_that_can_be_written(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.txt", "wb") as file:
        file.write(b"\xff")
    assert only(tmp_path) == Rejected(Place(f"{tmp_path}/\\xff.txt", 1), "the file is not UTF-8: byte 0xff", None)
