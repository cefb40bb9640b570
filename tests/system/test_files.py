"""Files that appear whole, and names and paths that every file system and library takes."""

import os
from pathlib import Path

import pytest

from nstjax.errors import UserError
from nstjax.system import files


def test_a_short_name_is_the_joined_parts():
    assert files.join_names(["a/b", "photo[1]", "ö\udce9\n"], "-") == "a_b-photo[1]-ö\udce9\n"


LONG = {
    "one long part": ["content", "x" * 300],
    "two of many bytes": ["ö" * 120, "漢" * 120],
    "undecodable bytes": ["\udce9" * 200],
    "many parts": ["x" * 40] * 9,
    "more parts than bytes": ["x"] * 300,
}


@pytest.mark.parametrize("case", LONG)
def test_a_long_name_is_cut_between_letters_and_stays_unique(tmp_path, case):
    parts = LONG[case]
    name, other = files.join_names(parts, ","), files.join_names([*parts[:-1], parts[-1] + "y"], ",")
    assert name != other and files.join_names(parts, ",") == name
    (tmp_path / f"{name}-1000").mkdir()  # a letter that was cut could not be encoded
    assert len(os.fsencode(name)) <= files.NAME_BYTES
    assert all(any(part.startswith(piece) for part in parts) for piece in name.split(",")[:-1])
    assert case == "more parts than bytes" or name.count(",") == len(parts)


def test_only_the_longest_parts_are_cut():
    name = files.join_names(["content=" + "a" * 300, "style=short", "learning_rate=0.02"], ",")
    assert name.startswith("content=aaaa") and ",style=short,learning_rate=0.02," in name


def test_a_path_that_no_file_system_takes_is_named(tmp_path):
    files.check_length(tmp_path / ("x" * 255))
    with pytest.raises(UserError, match=r"the path .*xxx/y is too long: a name in it has 256 bytes, and 255 are possi"):
        files.check_length(tmp_path / ("x" * 256) / "y")
    with pytest.raises(UserError, match=r"the path y/y.* is too long: with its files it has \d+ bytes, and 4095 are"):
        files.check_length("y/" * 2020, deepest=99)


def test_a_plain_path_leads_to_the_folder_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with files.plain_path(tmp_path / "a b.c") as path:
        assert path == tmp_path / "a b.c"
    folder = tmp_path / "photo[1]\udce9"
    folder.mkdir()
    with files.plain_path(folder) as path:
        (path / "x").touch()
        assert str(path).isascii() and "[" not in str(path)
    assert [Path(file).name for file in folder.iterdir()] == ["x"] and not list((tmp_path / "temporary").iterdir())


def test_a_file_is_written_although_another_process_removes_its_temporary_file(tmp_path, monkeypatch):
    """A run that is resumed takes the temporary files of a report for those of a killed process."""
    fsync, calls = os.fsync, []

    def remove_once(file):
        calls.append(file)
        if len(calls) == 1:
            files.remove_leftovers(tmp_path)
        fsync(file)

    monkeypatch.setattr(os, "fsync", remove_once)
    files.write_whole(tmp_path / "page.html", b"whole")
    assert len(calls) == 2 and [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_bytes() == b"whole"
    with pytest.raises(FileNotFoundError):
        files.write_whole(tmp_path / "none" / "page.html", b"whole")


def test_a_temporary_file_may_get_its_name_before_it_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter([folder / ".0123456789abcdef.part"]))
    files.remove_leftovers(tmp_path)
