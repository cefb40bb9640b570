"""Two processes that share a sweep: each computes its members, and the death of one does not stop the other."""

import contextlib
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import fill_workspace
from quick_run import start_two_processes
from test_devices import CALM, SWEEP, WEIGHTS

import nstjax
from nstjax import images
from nstjax.cli import main


@pytest.fixture(scope="module")
def singles(tmp_path_factory):
    """Return {weight: the picture of the single run}, made once for both tests."""
    folder = tmp_path_factory.mktemp("singles")
    fill_workspace(folder)
    with contextlib.chdir(folder):
        common = {"experiment": "quick.py", "weights": "vgg.safetensors", **CALM}
        return {
            weight: nstjax.stylize("content.png", "style.png", loss_weights={"style": float(weight)}, **common).picture
            for weight in WEIGHTS
        }


def assert_complete(folder, singles):
    for weight, picture in singles.items():
        member = images.read(Path(folder, "members", f"style={weight}", "output.png")).rgb
        np.testing.assert_allclose(member, picture, atol=1.01 / 255)
    for name in ("grid.png", "table.csv", "report.html"):
        assert Path(folder, name).exists()


def test_each_process_computes_its_members_and_the_last_one_writes_the_report(workspace, singles):
    processes = start_two_processes("sweep", *SWEEP, "--style-weight", *WEIGHTS, "--out", "out")
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    # Members 0, 2 and 4, and members 1 and 3. A group has at least as many places as there are devices.
    assert "3 members, 3 at a time, on 4 devices" in outputs[0][1] and "2 members, 2 at a time" in outputs[1][1]
    assert sum("page: out/report.html" in stdout for stdout, _ in outputs) >= 1
    assert_complete("out", singles)


def test_one_process_is_killed_the_other_finishes_and_a_resume_does_the_rest(workspace, singles, capsys):
    steps = ["--checkpoint-every", "2", "--group-size", "4"]
    first, second = start_two_processes("sweep", *SWEEP, *steps, "--style-weight", *WEIGHTS, "--out", "out")
    for _ in range(1200):
        if list(Path("out/groups").glob("0000*/checkpoints/[0-9]*")) or first.poll() is not None:
            break
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, stderr = second.communicate(timeout=300)
    assert second.returncode == 0, stderr
    assert not Path("out/report.html").exists() or first.returncode == 0
    assert main(["status", "out"]) == 0
    assert "members are finished" in capsys.readouterr().out
    assert main(["resume", "out"]) == 0  # one process, one device
    assert_complete("out", singles)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--part", "3/2", "--out", "out"], "part must be I/N with I from 1 to N"),
        (["--part", "1/2"], "add --out DIR"),
        (["--part", "3/3", "--out", "out"], "part 3/3 of a sweep of 2 is empty"),
        (["--part", "1/2", "--distributed", "--out", "out"], "not allowed with argument"),
    ],
)
def test_parts_that_cannot_be_are_refused(workspace, capsys, options, message):
    assert main(["sweep", *SWEEP, "--style-weight", "1", "2", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not Path("out").exists()
