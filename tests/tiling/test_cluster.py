"""Two processes with four devices each compute the tiles of one picture together."""

import json
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from quick_run import QUICK, start_two_processes
from test_tiled_runs import CALM, TILES, assert_equal_pictures, read

from nstjax.cli import main

SHARED = [*QUICK, *CALM, *TILES, "--sizes", "16,32", "--shard-picture"]


def start_cluster(*arguments):
    """Start a command in two processes that meet on the loopback address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return start_two_processes(*arguments, JAX_COORDINATOR_ADDRESS=address)


def run_two_processes(*arguments):
    """Run a command in two processes; return what each has printed."""
    processes = start_cluster(*arguments)
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return [stdout for stdout, _ in outputs]


def test_two_processes_draw_the_picture_of_one_and_resume_to_the_byte(workspace):
    first, second = run_two_processes(*SHARED, "--steps", "3,5", "--out", "together")
    assert "picture: together/output.png" in first
    assert "picture:" not in second  # it has those of the first
    device = json.loads(Path("together/config.json").read_text())["device"]
    assert (device["count"], device["processes"]) == (4, 2)
    run_two_processes(*SHARED, "--steps", "3,2", "--out", "parts")
    run_two_processes("resume", "parts", "--steps", "8")
    np.testing.assert_array_equal(read("parts"), read("together"))
    assert main([*QUICK, *CALM, "--sizes", "16,32", "--steps", "3,5", "--out", "alone"]) == 0
    assert_equal_pictures(read("together"), read("alone"))


def test_a_signal_to_the_leader_stops_all(workspace):
    leader, follower = start_cluster(*SHARED, "--steps", "3,100000", "--log-every", "1", "--out", "stopped")
    assert leader.stderr
    for line in leader.stderr:
        if line.startswith("step 5/"):
            break
    leader.send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=300) for process in (leader, follower)]
    assert [leader.returncode, follower.returncode] == [143, 0], outputs
    assert "to go on: nstjax resume stopped" in "".join(outputs[0])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--part", "1/2", "--out", "out"], "add --shard-picture, or leave them out"),
        (["--part", "1/2", "--shard-picture"], "add --out DIR"),
        (["--part", "1/2", "--shard-picture", "--out", "out"], "set it to HOST:PORT"),
        (["--part", "3/2", "--shard-picture", "--out", "out"], "part must be I/N"),
    ],
)
def test_processes_that_cannot_meet_are_told_why(workspace, monkeypatch, capsys, options, line):
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    assert main([*QUICK, *options]) == 2
    assert line in capsys.readouterr().err
    assert not Path("out").exists()
