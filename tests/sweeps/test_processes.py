"""Two processes that share a sweep: each does its part, and one that dies takes no other with it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_devices import CALM, SWEEP, WEIGHTS

import nstjax
from nstjax import images
from nstjax.cli import main


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def two_processes(*arguments, devices=4):
    """The command line in two processes that meet on the loopback address."""
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    meeting = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", "2", "--process-index"]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "nstjax", *arguments, *meeting, str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for index in range(2)
    ]


@pytest.fixture
def singles(place):
    """{weight: the picture of the single run}"""
    pictures = ("content.png", "style.png")
    common = {"experiment": "quick.py", "weights": "vgg.safetensors", **CALM}
    return {it: nstjax.stylize(*pictures, loss_weights={"style": float(it)}, **common).picture for it in WEIGHTS}


def assert_all_there(folder, singles):
    for weight, picture in singles.items():
        member = images.read(Path(folder, "members", f"style={weight}", "output.png")).rgb
        np.testing.assert_allclose(member, picture, atol=1.01 / 255)
    for name in ("grid.png", "table.csv", "report.html"):
        assert Path(folder, name).exists()


def test_each_takes_its_members_and_the_last_one_draws_the_whole(singles):
    processes = two_processes("sweep", *SWEEP, "--style-weight", *WEIGHTS, "--out", "out")
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    # Members 0, 2 and 4, and 1 and 3; a group is as large as the four devices at least.
    assert "3 members, 3 at a time, on 4 devices" in said[0][1] and "2 members, 2 at a time" in said[1][1]
    assert sum("page: out/report.html" in out for out, _ in said) >= 1
    assert_all_there("out", singles)


def test_one_is_killed_the_other_finishes_and_a_resume_of_one_does_the_rest(singles, capsys):
    steps = ["--checkpoint-every", "10", "--group-size", "4"]
    first, second = two_processes("sweep", *SWEEP, *steps, "--style-weight", *WEIGHTS, "--out", "out")
    for _ in range(1200):
        if list(Path("out/groups").glob("0000*/checkpoints/[0-9]*")) or first.poll() is not None:
            break
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert not Path("out/report.html").exists() or first.returncode == 0
    assert main(["status", "out"]) == 0
    assert "members are finished" in capsys.readouterr().out
    assert main(["resume", "out"]) == 0  # one process, one device
    assert_all_there("out", singles)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--processes", "2"], "go together"),
        (["--coordinator", "127.0.0.1:1", "--processes", "2", "--process-index", "2"], "from 0 to 1, not 2"),
    ],
)
def test_what_processes_are_told_must_fit(place, capsys, options, message):
    assert main(["sweep", *SWEEP, "--style-weight", "1", "2", "--out", "out", *options]) == 2
    assert message in capsys.readouterr().err
