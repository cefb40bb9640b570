"""The part of a sweep that this process computes.

Members of a sweep are independent, so processes only have to agree on who computes which: each is told "I/N". A cluster
that JAX knows can say it: then each process sends a subprocess to meet the others, since JAX's runtime ties processes
that have met together for as long as they live, and the subprocesses end at once. A process that dies therefore does
not stop the others.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from nstjax.arguments import describe
from nstjax.errors import UserError

WAIT_SECONDS = 300
"""Seconds that a process waits for the others of its cluster."""

# Its standard input is a pipe that closes when this process ends, however it ends: then it must not hold the port.
_MEETING = """
import os, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
import jax
jax.distributed.initialize(initialization_timeout=int(sys.argv[1]))
print(f"{jax.process_index() + 1}/{jax.process_count()}")
jax.distributed.shutdown()
"""


class Part(NamedTuple):
    """The part of a sweep: every `count`-th member or group, counting from `index`."""

    index: int = 0
    count: int = 1


def parse_part(text: Any) -> Part:
    """Return the part that "I/N" stands for, with I from 1 to N; None stands for the whole.

    Raises:
        UserError: it stands for none.
    """
    if text is None:
        return Part()
    numbers = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text) if isinstance(text, str) else None
    if numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2]):
        given = repr(text) if isinstance(text, str) else describe(text)
        raise UserError(f"part must be I/N with I from 1 to N, such as 2/4, not {given}")
    return Part(int(numbers[1]) - 1, int(numbers[2]))


def detect_part(notice: Callable[[str], object]) -> str:
    """Meet the other processes of a cluster, once, and return the part "I/N" of this one.

    Args:
        notice: told how long this process waits.

    Raises:
        UserError: JAX knows no such cluster, or a process is missing.
    """
    notice(f"waiting for the other processes in this cluster, for {WAIT_SECONDS // 60} minutes at most")
    done = _run_meeting()
    if "DEADLINE_EXCEEDED" in done.stderr:
        raise UserError(
            f"the other processes did not come within {WAIT_SECONDS // 60} minutes: start all at about the same time, "
            "or give each its --part I/N, which needs no meeting"
        )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise UserError(
            f"the processes did not find each other ({reason}): outside Slurm, Kubernetes and TPU pods give each "
            "process its --part I/N"
        )
    return done.stdout.splitlines()[-1]


def _run_meeting() -> subprocess.CompletedProcess[str]:
    # The subprocess computes nothing, and must not reserve the memory of a GPU.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-c", _MEETING, str(WAIT_SECONDS)]
    read_end, write_end = os.pipe()
    try:
        return subprocess.run(command, stdin=read_end, capture_output=True, text=True, env=environment)
    finally:
        os.close(read_end)
        os.close(write_end)
