"""Folders of runs and of sweeps: the library does what the command line does, under the same names."""

from pathlib import Path

import pytest
from quick_run import QUICK

import nstjax
from nstjax.cli import main
from nstjax.errors import UserError
from nstjax.sweeps.sweep import SweepResult


def test_a_sweep_is_resumed_read_and_reported_by_the_names_of_the_commands(workspace):
    sweep = ["sweep", *QUICK[1:], "--style-weight", "1", "10", "--steps", "2", "--out", "out", "--quiet"]
    assert main(sweep) == 0
    progress = nstjax.status("out")
    assert isinstance(progress, dict) and [*progress] == ["style=1", "style=10"]
    assert all(member.ended and member.step == 2 for member in progress.values())
    Path("out/report.html").unlink()
    assert nstjax.report("out") == Path("out/report.html") and Path("out/report.html").exists()
    result = nstjax.resume("out", steps=3)
    assert isinstance(result, SweepResult) and result.finished
    assert [member.step for member in nstjax.status("out").values()] == [3, 3]


def test_a_run_is_resumed_read_and_reported_by_the_names_of_the_commands(workspace):
    assert main([*QUICK, "--steps", "2", "--out", "out", "--quiet"]) == 0
    assert nstjax.status("out").step == 2
    Path("out/report.html").unlink()
    assert nstjax.report("out") == Path("out/report.html") and Path("out/report.html").exists()
    assert nstjax.resume("out", steps=3).steps == 3
    with pytest.raises(UserError, match="part divides the members of a sweep, but out holds no sweep"):
        nstjax.resume("out", part="1/2")


def test_a_folder_with_nothing_is_one_line(workspace):
    for function in (nstjax.status, nstjax.report, nstjax.resume):
        with pytest.raises(UserError, match="no run in nowhere"):
            function("nowhere")
