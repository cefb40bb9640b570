"""A peer's side of the talk: a line of JSON on stdin asks, a line of JSON answers.

    {"do": "load", "path": …, "device": "cpu" or "gpu", …options}   {"versions": {…}}
    {"do": "step", "steps": n}           {"seconds": of all n, "loss": of the last one, before its update}
    {"do": "gradient", "path": …}        {"loss": of the start}; the gradient there [H, W, 3] goes to the .npy path
    {"do": "memory"}                     {"resident": peak, bytes, "device": peak of the accelerator's, or null}

What goes wrong is answered with {"error": one line}. Answers go to a pipe of their own, whose descriptor is the
process's only argument, so whatever libraries print to stdout cannot come between.
"""

import json
import os
import sys
import traceback
from typing import Any, Protocol


class Peer(Protocol):
    """What a peer's file defines."""

    def load(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """``path``, ``device`` and options of its own: build the network, compute the targets."""
        ...

    def step(self, steps: int) -> dict[str, Any]:
        """Make some steps and wait until they are done."""
        ...

    def gradient(self, path: str) -> dict[str, Any]:
        """Write the gradient at the start to a file."""
        ...

    def device_memory(self) -> int | None:
        """Peak bytes on the accelerator; None on a CPU."""
        ...


def resident() -> int:
    """The peak of this process's resident memory, bytes.

    Not getrusage's, which a process inherits from the one that has started it.
    """
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def serve(peer: Peer) -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(int(sys.argv[1]), "w")
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("do")
        try:
            if what == "memory":
                answer = {"resident": resident(), "device": peer.device_memory()}
            else:
                answer = getattr(peer, what)(**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        print(json.dumps(answer), file=answers, flush=True)
