"""Folders for new runs, and the files of others in the folders of runs."""

from pathlib import Path

import pytest
from quick_run import QUICK

from nstjax.cli import main
from nstjax.errors import UserError
from nstjax.storage import contents
from nstjax.storage.new_folder import check_empty, create_numbered_folder
from nstjax.storage.run_folder import RunFolder


def test_files_of_the_system_do_not_block_a_folder(tmp_path):
    for name in (".DS_Store", "._x", "Thumbs.db", "desktop.ini", ".directory", f".{'0' * 16}.part"):
        (tmp_path / name).touch()
    (tmp_path / "lost+found").mkdir()
    check_empty(tmp_path)
    (tmp_path / ".gitignore").touch()
    with pytest.raises(UserError, match=r"is not empty \(\.gitignore is in it\): choose another --out"):
        check_empty(tmp_path)


def test_inputs_of_the_users_block_a_folder_and_those_of_a_killed_run_do_not(tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "content.npy").touch()
    with pytest.raises(UserError, match="inputs is in it"):
        check_empty(tmp_path)
    (tmp_path / ".lock").touch()
    check_empty(tmp_path)
    (tmp_path / "inputs" / "holiday.png").touch()
    with pytest.raises(UserError, match="inputs is in it"):
        check_empty(tmp_path)


def test_an_empty_numbered_folder_is_removed_and_a_folder_of_the_users_stays(tmp_path):
    with create_numbered_folder(tmp_path / "runs", ["a", "b"]) as path:
        assert path == tmp_path / "runs" / "a-b-1" and path.is_dir()
    assert not (tmp_path / "runs").exists()
    (tmp_path / "runs").mkdir()
    with create_numbered_folder(tmp_path / "runs", ["a", "b"]):
        pass
    assert [*tmp_path.iterdir()] == [tmp_path / "runs"] and not [*(tmp_path / "runs").iterdir()]


def test_only_snapshots_are_counted(tmp_path):
    names = ["000010.png", "1234567.png", "000002.png"]
    others = ["000002 - Copy.png", "2.png", "0000002.png", "٠٠٠٠٠٣.png", "000003.jpg", "._000004.png", "x.png"]
    for name in names + others:
        (tmp_path / name).touch()
    assert [*contents.list_snapshots(tmp_path).items()] == [
        (2, tmp_path / "000002.png"),
        (10, tmp_path / "000010.png"),
        (1234567, tmp_path / "1234567.png"),
    ]


def test_a_run_in_a_folder_with_files_of_others_leaves_them_alone(workspace, capsys):
    assert main([*QUICK, "--out", "out", "--snapshots", "2,5", "--steps", "6", "--checkpoint-every", "2"]) == 0
    others = ["snapshots/000002 - Copy.png", "snapshots/.x.part", ".y.part", "checkpoints/6/.DS_Store", "inputs/a.txt"]
    for name in (*others, "checkpoints/.git", "checkpoints/.4.part/x"):
        Path("out", name).parent.mkdir(exist_ok=True)
        Path("out", name).write_text("mine")
    capsys.readouterr()
    assert main(["report", "out"]) == main(["resume", "out", "--steps", "7", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert {Path("out", name).read_text() for name in (*others, "checkpoints/.git")} == {"mine"}
    assert not Path("out/checkpoints/.4.part").exists()


def test_a_run_that_is_given_up_removes_only_what_it_has_written(workspace, monkeypatch):
    def give_up(*arguments, **options):
        Path("out/inputs/mine.txt").write_text("mine")
        raise UserError("too large")

    monkeypatch.setattr("nstjax.runs.compiling.compile", give_up)
    assert main([*QUICK, "--out", "out"]) == 2
    assert [*Path("out").rglob("*")] == [Path("out/inputs"), Path("out/inputs/mine.txt")]
    assert RunFolder("out").read_sources() == ()
