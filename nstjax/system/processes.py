"""The index of this process, and the number of processes that share a sweep.

Members of a sweep are independent, so the processes only have to agree on who computes which members. Each sends a
subprocess to meet the others: JAX's runtime ties processes that have met together for as long as they live, and the
subprocesses end at once. A process that dies therefore does not stop the others.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from nstjax.errors import UserError

_MEETING = """
import json, sys
import jax
jax.distributed.initialize(*json.loads(sys.argv[1]))
print(json.dumps([jax.process_index(), jax.process_count()]))
jax.distributed.shutdown()
"""


@dataclass(frozen=True)
class Place:
    """The position of this process among those that work on a sweep."""

    index: int = 0
    count: int = 1


def join(*, coordinator: str | None = None, processes: int | None = None, index: int | None = None) -> Place:
    """Meet the other processes, once, before anything is computed.

    Args:
        coordinator: address and port of the first process; None if Slurm, Kubernetes or a TPU pod provides it.
        processes: number of processes; None if the cluster provides it.
        index: position of this process, from 0; None if the cluster provides it.

    Raises:
        UserError: only some of the three are given, the cluster does not provide them, or a process is missing.
    """
    arguments = (coordinator, processes, index)
    if any(value is None for value in arguments) and any(value is not None for value in arguments):
        raise UserError("--coordinator, --processes and --process-index go together: give all three, or --distributed")
    if processes is not None and index is not None and not 0 <= index < processes:
        raise UserError(f"--process-index must be from 0 to {processes - 1}, not {index}")
    # The subprocess computes nothing, and must not reserve the memory of a GPU.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-c", _MEETING, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise UserError(
            f"the processes did not find each other ({reason}): outside Slurm, Kubernetes and TPU pods give each "
            "process --coordinator HOST:PORT, --processes and --process-index"
        )
    return Place(*json.loads(done.stdout.splitlines()[-1]))
