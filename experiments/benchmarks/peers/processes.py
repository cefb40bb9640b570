"""Peers as processes: their descriptions, their common setup, and the benchmark's side of the protocol.

serving.py is the peers' side.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

Arithmetic = Literal["float32", "tf32", "bfloat16"]

KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "2147483647",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_ARENA_MAX": "1",
}
"""Variables that make glibc's malloc reuse freed memory, where else the kernel zeroes new pages in every step."""


class PeerError(RuntimeError):
    """The failure of a peer to answer a request."""


@dataclass(frozen=True)
class Peer:
    """One row of the tables.

    Args:
        name: the name in the tables.
        library: the library whose interpreter runs ``<library>_peer.py``.
        options: keyword arguments of the worker's ``load``.
        arithmetic: precision of the products in convolutions.
    """

    name: str
    library: Literal["nstjax", "torch", "tensorflow"]
    options: Mapping[str, Any] = field(default_factory=dict)
    arithmetic: Arithmetic = "float32"


@dataclass(frozen=True)
class Setup:
    """The setup that all peers of a comparison share.

    Args:
        task: the .npz of weights and pictures.
        folder: the folder of logs and gradients.
        pythons: {library: interpreter}, without the missing libraries.
        device: "cpu" or "gpu".
        keep_memory: whether glibc's malloc keeps freed memory (CPU only).
    """

    task: Path
    folder: Path
    pythons: Mapping[str, str]
    device: Literal["cpu", "gpu"] = "cpu"
    keep_memory: bool = True

    def make_environment(self) -> dict[str, str]:
        """Return the environment variables of every peer's process.

        Each library decides how its threads wait for each other. With OMP_WAIT_POLICY=PASSIVE a step of PyTorch takes
        a quarter longer. By default its threads sleep within milliseconds, and the processor time that a waiting peer
        uses is measured.
        """
        if self.device == "gpu":
            return {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        variables = {**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        return {**variables, **(KEPT_MEMORY if self.keep_memory else {})}


class Process:
    """The process of one peer."""

    def __init__(self, peer: Peer, setup: Setup):
        self._log = setup.folder / f"{peer.name}.log".replace(" ", "-")
        reading, writing = os.pipe()
        command = [
            setup.pythons[peer.library],
            str(Path(__file__).with_name(f"{peer.library}_peer.py")),
            str(writing),
        ]
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=[writing],
                    env=setup.make_environment(),
                    text=True,
                )
        finally:
            os.close(writing)
            self._answers = os.fdopen(reading)

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and return the answer.

        Raises:
            PeerError: the peer reports a failure, or has ended.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": request, **arguments}) + "\n")
            self._process.stdin.flush()
        line = self._answers.readline()
        if not line:
            log = self._log.read_text(errors="replace").split("\n")
            last = next((entry for entry in reversed(log) if entry.strip()), "it printed nothing")
            raise PeerError(f"the process has ended with {self._process.wait()}: {last.strip()[:300]}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def read_processor_seconds(self) -> float:
        """Return the processor seconds that all threads of the process have used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._answers.close()


@contextlib.contextmanager
def run_peer(peer: Peer, setup: Setup) -> Iterator[Process]:
    """Start a peer's process, and end it afterwards."""
    process = Process(peer, setup)
    try:
        yield process
    finally:
        process.close()
