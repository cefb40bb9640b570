"""Peers as processes: who they are, what they share, and this side of the talk (the other is serving.py)."""

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
"""With these, glibc's malloc hands freed memory out again, where else the kernel zeroes new pages in every step."""


class Failed(RuntimeError):
    """A peer cannot do what it was asked."""


@dataclass(frozen=True)
class Peer:
    """One line of the tables.

    Args:
        name: for people.
        library: whose interpreter it needs; its worker is ``<library>_peer.py``.
        options: of the worker's ``load``.
        arithmetic: of its convolutions' products.
    """

    name: str
    library: Literal["nstjax", "torch", "tensorflow"]
    options: Mapping[str, Any] = field(default_factory=dict)
    arithmetic: Arithmetic = "float32"


@dataclass(frozen=True)
class Setting:
    """What all peers of a contest share.

    Args:
        task: the .npz of weights and pictures.
        folder: for logs and gradients.
        pythons: {library: its interpreter}; those that are missing have none.
        device: "cpu" or "gpu".
        keep_memory: whether glibc's malloc is told to keep memory (CPU only).
    """

    task: Path
    folder: Path
    pythons: Mapping[str, str]
    device: Literal["cpu", "gpu"] = "cpu"
    keep_memory: bool = True

    def environment(self) -> dict[str, str]:
        """Of every peer's process.

        How threads wait for each other is left to each library: told to sleep at once (OMP_WAIT_POLICY=PASSIVE),
        PyTorch takes a quarter longer for a step. Left alone its threads sleep within milliseconds, and what they use
        while others have their turn is measured.
        """
        if self.device == "gpu":
            return {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        variables = {**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        return {**variables, **(KEPT_MEMORY if self.keep_memory else {})}


class Process:
    """A peer's process."""

    def __init__(self, peer: Peer, setting: Setting):
        self._log = setting.folder / f"{peer.name}.log".replace(" ", "-")
        reading, writing = os.pipe()
        command = [
            setting.pythons[peer.library],
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
                    env=setting.environment(),
                    text=True,
                )
        finally:
            os.close(writing)
            self._answers = os.fdopen(reading)

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """One request, one answer.

        Raises:
            Failed: the peer says that it failed, or has ended.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
            self._process.stdin.flush()
        line = self._answers.readline()
        if not line:
            said = self._log.read_text(errors="replace").split("\n")
            last = next((it for it in reversed(said) if it.strip()), "it said nothing")
            raise Failed(f"its process has ended with {self._process.wait()}: {last.strip()[:300]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def processor_seconds(self) -> float:
        """What all its threads have used of the processor."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._answers.close()


@contextlib.contextmanager
def running(peer: Peer, setting: Setting) -> Iterator[Process]:
    """A peer's process, with the task loaded, ended afterwards."""
    process = Process(peer, setting)
    try:
        yield process
    finally:
        process.close()
