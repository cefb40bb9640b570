"""Which of how many processes this one is.

Members of a sweep need nothing of each other, so the processes only have to agree on that. They meet by proxy: in a
process of its own, which JAX's runtime ties to the others for as long as it lives, and which ends at once. So one that
dies takes no other with it.
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
    """This process among those that work on a sweep."""

    index: int = 0
    count: int = 1


def join(*, coordinator: str | None = None, processes: int | None = None, index: int | None = None) -> Place:
    """Meet the other processes, once, before anything is computed.

    Args:
        coordinator: address and port of the first of them; None where Slurm, Kubernetes or a TPU pod tells.
        processes: how many they are; likewise.
        index: which of them this is, from 0; likewise.

    Raises:
        UserError: only some of the three are given, nobody tells the others, or the rest did not come.
    """
    given = (coordinator, processes, index)
    if any(it is None for it in given) and any(it is not None for it in given):
        raise UserError("--coordinator, --processes and --process-index go together: give all three, or --distributed")
    if processes is not None and index is not None and not 0 <= index < processes:
        raise UserError(f"--process-index must be from 0 to {processes - 1}, not {index}")
    # It computes nothing, and shall leave the memory of a GPU alone.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-c", _MEETING, json.dumps(given)]
    met = subprocess.run(command, capture_output=True, text=True, env=environment)
    if met.returncode != 0:
        reason = (met.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise UserError(
            f"the processes did not find each other ({reason}): outside Slurm, Kubernetes and TPU pods give each "
            "--coordinator HOST:PORT, --processes and --process-index"
        )
    return Place(*json.loads(met.stdout.splitlines()[-1]))
