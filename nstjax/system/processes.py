"""The index of this process, and the number of processes that share a sweep.

Members of a sweep are independent, so the processes only have to agree on who computes which members. Each sends a
subprocess to meet the others: JAX's runtime ties processes that have met together for as long as they live, and the
subprocesses end at once. A process that dies therefore does not stop the others.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from nstjax.errors import UserError

WAIT_SECONDS = 300
"""Seconds that a process waits for the others."""

# Its standard input is a pipe that closes when this process ends, however it ends: then it must not hold the port.
_MEETING = """
import json, os, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
import jax
*place, seconds = json.loads(sys.argv[1])
jax.distributed.initialize(*place, initialization_timeout=seconds)
print(json.dumps([jax.process_index(), jax.process_count()]))
jax.distributed.shutdown()
"""


@dataclass(frozen=True)
class Place:
    """The position of this process among those that work on a sweep."""

    index: int = 0
    count: int = 1


def join(
    notice: Callable[[str], object],
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    index: int | None = None,
) -> Place:
    """Meet the other processes, once, before anything is computed.

    Args:
        notice: told whom this process waits for, and for how long.
        coordinator: address and port of the first process; None if Slurm, Kubernetes or a TPU pod provides it.
        processes: number of processes; None if the cluster provides it.
        index: position of this process, from 0; None if the cluster provides it.

    Raises:
        UserError: only some of the three are given, they make no sense, the first process cannot open the port, the
            cluster does not provide them, or a process is missing.
    """
    others, where = "the other processes", "in this cluster"
    if coordinator is not None and processes is not None and index is not None:
        if processes < 1:
            raise UserError(f"--processes must be at least 1, not {processes}")
        if not 0 <= index < processes:
            raise UserError(f"--process-index must be from 0 to {processes - 1}, not {index}")
        _check_address(coordinator, is_ours=index == 0)
        others, where = _name_others(index, processes), f"at {coordinator}"
    elif (coordinator, processes, index) != (None, None, None):
        raise UserError("--coordinator, --processes and --process-index go together: give all three, or --distributed")
    notice(f"waiting for {others} {where}, for {WAIT_SECONDS // 60} minutes at most")
    done = _run_meeting([coordinator, processes, index, WAIT_SECONDS])
    if "DEADLINE_EXCEEDED" in done.stderr:
        raise UserError(
            f"{others} did not come within {WAIT_SECONDS // 60} minutes {where}: start all processes at about the "
            "same time, and check that each can reach that address"
        )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise UserError(
            f"the processes did not find each other ({reason}): outside Slurm, Kubernetes and TPU pods give each "
            "process --coordinator HOST:PORT, --processes and --process-index"
        )
    return Place(*json.loads(done.stdout.splitlines()[-1]))


def _run_meeting(arguments: list[str | int | None]) -> subprocess.CompletedProcess[str]:
    # The subprocess computes nothing, and must not reserve the memory of a GPU.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-c", _MEETING, json.dumps(arguments)]
    read_end, write_end = os.pipe()
    try:
        return subprocess.run(command, stdin=read_end, capture_output=True, text=True, env=environment)
    finally:
        os.close(read_end)
        os.close(write_end)


def _name_others(index: int, count: int) -> str:
    """Return words for all processes except one."""
    numbers = [str(number) for number in range(count) if number != index]
    if len(numbers) > 8:
        return f"the {len(numbers)} other processes"
    return f"process {' and '.join(numbers)}" if len(numbers) < 3 else f"processes {', '.join(numbers)}"


def _check_address(coordinator: str, *, is_ours: bool) -> None:
    """Raise if the address of the first process is none, or if this process is the first and cannot open the port."""
    host, _, number = coordinator.rpartition(":")
    if not (host and number.isdecimal() and 0 < int(number) < 65536):
        raise UserError(f"--coordinator must be HOST:PORT, such as node1:1234, not {coordinator!r}")
    if is_ours:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        try:
            socket.create_server(("", int(number)), family=family, dualstack_ipv6=dual).close()
        except OSError as error:
            raise UserError(
                f"cannot open port {number} ({os.strerror(error.errno or 0)}): stop the process that uses it, perhaps "
                "an earlier one of this sweep, or choose another port in --coordinator"
            ) from None
