"""The first signal stops a run between steps; the second ends the process, whatever it is doing."""

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
from nstjax.system.signals import Signals

# A stand-in for a compilation: one call into native code that no Python handler interrupts.
STUCK = """
import ctypes, sys, time
from nstjax.cli.terminal import Terminal
with Terminal(quiet=True) as terminal:
    terminal.resumable("runs/mine")
    if "stepping" in sys.argv:
        terminal.started(0, 10)
    print("stuck", flush=True)
    start = time.monotonic()
    while time.monotonic() - start < 8:  # a signal may interrupt the call: repeat it
        ctypes.CDLL(None).sleep(8)
    print("asked to stop" if terminal.wants_to_stop() else "not asked", flush=True)
"""

LONG = """
import time
from nstjax.cli.terminal import Terminal
with Terminal(quiet=True):
    try:
        print("stuck", flush=True)
        time.sleep(30)
    finally:
        print("cleaned up", flush=True)
"""


def start_process(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "stuck\n"
    return process, time.monotonic()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_without_steps_to_finish_the_first_signal_stops_at_once_even_in_native_code(number, code):
    process, start = start_process(STUCK)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code and time.monotonic() - start < 5
    assert err == "nstjax: stopped; to go on: nstjax resume runs/mine\n"


def test_during_steps_the_first_signal_requests_a_stop_and_the_second_stops_at_once():
    process, start = start_process(STUCK, "stepping")
    process.send_signal(signal.SIGTERM)
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 143 and time.monotonic() - start < 7
    assert "asked" not in out and "nstjax resume runs/mine" in err


def test_a_requested_stop_is_seen_after_the_native_call():
    process, _ = start_process(STUCK, "stepping")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and out == "asked to stop\n" and err == ""


def test_cleanup_runs_at_an_immediate_stop():
    process, start = start_process(LONG)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - start < 5
    assert out == "cleaned up\n" and err == "nstjax: stopped\n"


def test_a_run_ended_by_a_second_signal_resumes_from_its_checkpoints(workspace):
    assert main([*QUICK, "--out", "whole", "--steps", "300", "--checkpoint-every", "20"]) == 0
    whole = Path("whole/output.png").read_bytes()
    # A step that never ends: the first signal waits for it, the second does not.
    slow = "import nstjax.runs.loop, time, sys\nfrom nstjax.cli import main\n" + (
        "block = nstjax.runs.loop.jax.block_until_ready\n"
        "def stuck(results):\n"
        "    if int(results[0].step) >= 100:\n"
        "        print('stuck', flush=True)\n"
        "        time.sleep(60)\n"
        "    return block(results)\n"
        "nstjax.runs.loop.jax.block_until_ready = stuck\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = [*QUICK, "--out", "parts", "--steps", "300", "--checkpoint-every", "20", "--quiet"]
    process, _ = start_process(slow, *arguments)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143 and re.search("to go on: nstjax resume parts", err), err
    assert main(["resume", "parts", "--quiet"]) == 0
    assert Path("parts/output.png").read_bytes() == whole
    assert not [path for path in Path("parts").rglob("*") if path.name.endswith((".part", ".old"))]
    assert os.listdir("parts/checkpoints")


@pytest.fixture
def hangup():
    """Return the number of SIGHUP, whose handler is restored."""
    number = getattr(signal, "SIGHUP", None) or pytest.skip("this system has no SIGHUP")
    handler = signal.getsignal(number)
    yield number
    signal.signal(number, handler)


def test_a_closed_terminal_requests_one_stop_although_it_sends_several_signals(hangup):
    with Signals() as signals:
        signals.graceful = True
        for _ in range(3):
            os.kill(os.getpid(), hangup)
        assert signals.received == hangup


def test_a_hangup_that_nohup_ignores_stays_ignored(hangup):
    signal.signal(hangup, signal.SIG_IGN)
    with Signals() as signals:
        os.kill(os.getpid(), hangup)
        assert signals.received is None
