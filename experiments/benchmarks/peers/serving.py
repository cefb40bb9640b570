"""The peers' side of the protocol: requests on stdin and answers, each a line of JSON.

    {"do": "load", "path": …, "device": "cpu" or "gpu", …options}   {"versions": {…}}
    {"do": "step", "steps": n}           {"seconds": of all n, "loss": of the last one, before its update}
    {"do": "gradient", "path": …}        {"loss": of the start}; its gradient [H, W, 3] is written to the .npy path
    {"do": "memory"}                     {"resident": peak in bytes, "device": peak of the accelerator's, or null}

The answer to a request that fails is {"error": one line}. Answers go to a separate pipe, whose descriptor is the only
argument of the process, because libraries may print to stdout.
"""

import json
import os
import sys
import traceback
from typing import Any, Protocol


class Peer(Protocol):
    """The methods that a peer's file defines."""

    def load(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Build the network and compute the targets, given ``path``, ``device`` and the peer's options."""
        ...

    def step(self, steps: int) -> dict[str, Any]:
        """Make the given number of steps and wait until they are done."""
        ...

    def gradient(self, path: str) -> dict[str, Any]:
        """Write the gradient at the start to a file."""
        ...

    def read_device_memory(self) -> int | None:
        """Return the peak bytes on the accelerator; None on a CPU."""
        ...


def read_peak_memory() -> int:
    """Return the peak of this process's resident memory, in bytes.

    A process inherits getrusage's peak from its parent, so that is not used.
    """
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def serve(peer: Peer) -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(int(sys.argv[1]), "w")
    for line in sys.stdin:
        arguments = json.loads(line)
        request = arguments.pop("do")
        try:
            if request == "memory":
                answer = {"resident": read_peak_memory(), "device": peer.read_device_memory()}
            else:
                answer = getattr(peer, request)(**arguments)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        print(json.dumps(answer), file=answers, flush=True)
