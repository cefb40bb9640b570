"""The first signal is heard between steps; the second ends the process, whatever it is doing."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from quick_run import QUICK

from nstjax.cli import main

# Stands for a compilation: one call into native code that no Python handler interrupts.
STUCK = """
import ctypes, sys, time
from nstjax.terminal import Terminal
with Terminal(quiet=True) as terminal:
    terminal.keeping("runs/mine")
    if "stepping" in sys.argv:
        terminal.started(0, 10)
    print("stuck", flush=True)
    begun = time.monotonic()
    while time.monotonic() - begun < 8:  # a call that a signal cuts short is made again
        ctypes.CDLL(None).sleep(8)
    print("asked to stop" if terminal.wants_to_stop() else "not asked", flush=True)
"""

LONG = """
import time
from nstjax.terminal import Terminal
with Terminal(quiet=True):
    try:
        print("stuck", flush=True)
        time.sleep(30)
    finally:
        print("cleaned up", flush=True)
"""


def started(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    it = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert it.stdout.readline() == "stuck\n"
    return it, time.monotonic()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_where_there_is_no_step_to_finish_the_first_stops_at_once_inside_native_code(number, code):
    it, begun = started(STUCK)
    it.send_signal(number)
    _, err = it.communicate(timeout=20)
    assert it.returncode == code and time.monotonic() - begun < 5
    assert err == "nstjax: stopped; to go on: nstjax resume runs/mine\n"


def test_while_there_are_steps_the_first_is_a_wish_and_the_second_stops_at_once():
    it, begun = started(STUCK, "stepping")
    it.send_signal(signal.SIGTERM)
    time.sleep(2)
    assert it.poll() is None
    it.send_signal(signal.SIGTERM)
    out, err = it.communicate(timeout=20)
    assert it.returncode == 143 and time.monotonic() - begun < 7
    assert "asked" not in out and "nstjax resume runs/mine" in err


def test_the_wish_is_heard_when_the_native_call_is_over():
    it, _ = started(STUCK, "stepping")
    it.send_signal(signal.SIGINT)
    out, err = it.communicate(timeout=20)
    assert it.returncode == 0 and out == "asked to stop\n" and err == ""


def test_what_can_be_closed_is_closed():
    it, begun = started(LONG)
    it.send_signal(signal.SIGINT)
    out, err = it.communicate(timeout=20)
    assert it.returncode == 130 and time.monotonic() - begun < 5
    assert out == "cleaned up\n" and err == "nstjax: stopped\n"


def test_a_second_signal_ends_a_run_and_what_was_kept_is_gone_on_with(place):
    assert main([*QUICK, "--out", "whole", "--steps", "300", "--checkpoint-every", "20"]) == 0
    whole = Path("whole/output.png").read_bytes()
    # A step that never ends: the first signal waits for it, the second does not.
    slow = "import nstjax.runs.loop, time, sys\nfrom nstjax.cli import main\n" + (
        "block = nstjax.runs.loop.jax.block_until_ready\n"
        "def stuck(it):\n"
        "    if int(it[0].step) >= 100:\n"
        "        print('stuck', flush=True)\n"
        "        time.sleep(60)\n"
        "    return block(it)\n"
        "nstjax.runs.loop.jax.block_until_ready = stuck\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = [*QUICK, "--out", "parts", "--steps", "300", "--checkpoint-every", "20", "--quiet"]
    it, _ = started(slow, *arguments)
    for _ in range(2):
        it.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    _, err = it.communicate(timeout=20)
    assert it.returncode == 143 and re.search("to go on: nstjax resume parts", err), err
    assert main(["resume", "parts", "--quiet"]) == 0
    assert Path("parts/output.png").read_bytes() == whole
    assert not [path for path in Path("parts").rglob("*") if path.name.endswith((".part", ".old"))]
    assert os.listdir("parts/checkpoints")
