"""Sweeps of which something was deleted, damaged or never written: what is whole goes on."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import fill_workspace, smooth_picture
from quick_run import StopAt, read_losses

import nstjax
from nstjax import images
from nstjax.cli import main
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.sweep_folder import SweepFolder
from nstjax.sweeps import groups as sweep_groups

SWEEP = ["sweep", "content.png", "style.png", "--experiment", "quick.py", "--weights", "vgg.safetensors"]
COMMON = {"experiment": "quick.py", "weights": "vgg.safetensors", "steps": 8, "log_every": 2}
COMMON |= {"group_size": 2, "snapshots": (3,)}
VARY = {"style": [1.0, 10.0, 100.0]}


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Return a folder with two sweeps, made once for all tests of this file.

    One is finished. The other was stopped in its first group, of two members, before its second.
    """
    folder = tmp_path_factory.mktemp("sweeps")
    fill_workspace(folder)
    with contextlib.chdir(folder):
        nstjax.sweep("content.png", "style.png", vary=VARY, out="whole", **COMMON)
        result = nstjax.sweep("content.png", "style.png", vary=VARY, out="out", listener=StopAt(3), **COMMON)
    assert result.members[0].steps == 3 and result.members[2] is None
    return folder


@pytest.fixture
def stopped(sweeps, tmp_path, monkeypatch):
    """Return the folder of the sweep that was stopped, in a copy."""
    shutil.copytree(sweeps, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Path("out")


def read_results(folder):
    members = sorted(Path(folder, "members").iterdir())
    return {path.name: images.read(path / "output.png").rgb.tobytes() for path in members}


def run(capsys, *arguments):
    """Run a command; return its exit code and the lines on stderr."""
    capsys.readouterr()
    code = main([*arguments])
    return code, capsys.readouterr().err.splitlines()


LOST = {
    "a member": lambda out: shutil.rmtree(out / "members/style=1"),
    "the second of a group": lambda out: shutil.rmtree(out / "members/style=10"),
    "a member's record": lambda out: (out / "members/style=1/config.json").unlink(),
    "a group's file": lambda out: (out / "groups/0000-2/group.json").unlink(),
    "half of a group's file": lambda out: cut(out / "groups/0000-2/group.json"),
    "a group's file, for another": lambda out: edit(out / "groups/0000-2/group.json", {"members": [1, 0]}),
    "a group": lambda out: shutil.rmtree(out / "groups/0002-2"),
}


def cut(path):
    path.write_bytes(path.read_bytes()[:20])


def edit(path, changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("case", LOST)
def test_a_sweep_ends_with_the_same_pictures_whatever_was_lost(stopped, capsys, case):
    LOST[case](stopped)
    for command in ("status", "report"):
        assert run(capsys, command, "out") == (0, [])
    code, lines = run(capsys, "resume", "out", "--quiet")
    assert code == 0 and read_results("out") == read_results("whole"), lines
    rewritten = "member" in case or "second" in case
    assert any("is written again: its record was not there" in line for line in lines) == rewritten, lines
    assert read_losses("out/members/style=100") == read_losses("whole/members/style=100")


def test_a_damaged_member_is_named_and_the_sweep_goes_on_without_it(stopped, capsys):
    cut(stopped / "members/style=10/config.json")
    capsys.readouterr()
    assert main(["status", "out"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"style=10 +out/members/style=10/config.json is not the record of a run", lines[1])
    assert lines[3] == "0 of 3 members are finished"
    code, (warning,) = run(capsys, "report", "out")
    assert code == 0 and "out/members/style=10 is left out: out/members/style=10/config.json is not" in warning
    code, (error,) = run(capsys, "resume", "out", "--quiet")
    assert code == 2 and error.endswith("or remove out/members/style=10, and the sweep goes on without what is in it")
    shutil.rmtree("out/members/style=10")
    assert run(capsys, "resume", "out", "--quiet")[0] == 0
    assert read_results("out") == read_results("whole")


def test_a_lost_member_with_pictures_of_its_own_is_left_out(workspace, capsys):
    images.save("other.png", smooth_picture(36, 28, seed=7))
    styles = ["style.png", "other.png"]
    for name, listener in (("whole", None), ("out", StopAt(3))):
        nstjax.sweep("content.png", styles, vary={}, out=name, listener=listener, **COMMON)
    shutil.rmtree("out/members/style=style")
    code, lines = run(capsys, "resume", "out", "--quiet")
    assert code == 0 and "style=style is left out: its folder is not there, nor are its pictures" in lines[0]
    assert not Path("out/members/style=style").exists()
    pictures = [images.read(f"{folder}/members/style=other/output.png").rgb for folder in ("out", "whole")]
    np.testing.assert_allclose(*pictures, atol=1 / 255)


def test_what_cannot_go_on_is_one_line(stopped, capsys):
    shutil.copytree(stopped, "no-groups")
    shutil.rmtree("no-groups/groups")
    assert run(capsys, "resume", "no-groups", "--quiet")[1] == [
        "nstjax: no group, with the state of its members, is left in no-groups: begin the sweep again with another"
        " --out"
    ]
    code, (error,) = run(capsys, "resume", "no-groups/members/style=1", "--quiet")
    assert code == 2 and "put it back, or resume the sweep, which begins this member again" in error
    cut(stopped / "groups/0000-2/group.json")
    shutil.rmtree(stopped / "members/style=1")
    code, (error,) = run(capsys, "resume", "out", "--quiet")
    assert code == 2 and "group.json is lost or damaged, and so is the record of a member: remove out/groups" in error
    shutil.rmtree(stopped / "members")
    for command in ("report", "resume"):
        code, (error,) = run(capsys, command, "out")
        assert code == 2 and "no member" in error


@pytest.mark.parametrize("text", ["[" * 200_000, "{", '{"schema": 1, "sha256": "x", "axes": 3, "paired": 0}'])
def test_a_damaged_plan_is_one_line(stopped, capsys, text):
    Path("out/sweep.json").write_text(text)
    for command in ("status", "report", "resume"):
        code, (error,) = run(capsys, command, "out")
        assert code == 2 and "out/sweep.json" in error


@pytest.mark.parametrize("written", [0, 1, 3])
def test_a_sweep_that_was_killed_as_it_began_begins_again(workspace, capsys, monkeypatch, written):
    """It is killed after some of its members are written, and another may begin in its folder."""
    calls, create = [], RunFolder.create

    def create_some(*arguments, **options):
        if len(calls) == written:
            raise KeyboardInterrupt
        calls.append(create(*arguments, **options))

    arguments = [*SWEEP, "--steps", "3", "--out", "out", "--quiet", "--style-weight"]
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "create", create_some)
        patch.setattr(SweepFolder, "create", create_some)
        assert main([*arguments, "1", "10", "100", "--group-size", "2"]) == 130
    if written:
        for command in ("status", "report", "resume"):
            code, (error,) = run(capsys, command, "out")
            assert code == 2 and "the sweep in out was stopped as it began: give its command again" in error
    assert main([*arguments, "1", "7"]) == 0
    assert sorted(path.name for path in Path("out/members").iterdir()) == ["style=1", "style=7"]
    assert [path.name for path in Path("out/groups").iterdir()] == ["0000-2"]


def test_a_sweep_that_was_killed_as_it_removed_the_beginning_of_another_begins_again(workspace, monkeypatch):
    for folder in ("members/style=1/inputs", "groups/0000-1"):
        Path("out", folder).mkdir(parents=True)
    rmtree, calls = shutil.rmtree, []

    def remove_one(path, **options):
        if calls:
            raise KeyboardInterrupt
        calls.append(rmtree(path, **options))

    arguments = [*SWEEP, "--steps", "3", "--out", "out", "--quiet", "--style-weight", "1", "10"]
    with monkeypatch.context() as patch:
        patch.setattr("nstjax.storage.sweep_folder.shutil.rmtree", remove_one)
        assert main(arguments) == 130
    assert main(arguments) == 0


def test_leftovers_of_a_killed_sweep_are_removed(stopped):
    for folder in (".", "groups/0000-2", "members/style=1", "members/style=1/inputs"):
        (stopped / folder / ".0123456789abcdef.part").write_bytes(b"half of a fi")
    assert main(["resume", "out", "--quiet"]) == 0
    assert {path.name for path in stopped.rglob(".*")} == {".lock"}


def test_a_split_that_was_killed_goes_on_with_the_whole_group(stopped):
    """The parts are written, the group is not yet removed."""
    folder = SweepFolder("out")
    records = {number: member.read_record() for number, member in folder.started_members().items()}
    whole = folder.read_groups(records)
    for part in (sweep_groups.Group((number,), 1, 1, "part") for number in whole[0].members):
        folder.write_group(part)
    assert folder.read_groups(records) == whole
    (folder.group_folder(whole[0]).path / "group.json").unlink()
    assert [group.members for group in folder.read_groups(records)] == [(0,), (1,), (2,)]
