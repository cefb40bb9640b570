"""Peers side by side: each in a process of its own, checked to compute the same, timed in turn."""

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from nstjax.errors import UserError

PEERS = Path(__file__).parent / "peers"

Arithmetic = Literal["float32", "tf32", "bfloat16"]

TOLERANCE: dict[Arithmetic, float] = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 2e-2}
"""How far a peer's first loss may be from the reference's, relative to it."""

INSTALLING = {
    "torch": ("PyTorch", "pip install torch numpy", "--torch-python"),
    "tensorflow": ("TensorFlow", "pip install tensorflow", "--tensorflow-python"),
}

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
        library: whose interpreter it needs; its worker is ``peers/<library>_peer.py``.
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
        """Of every peer's process. Threads that wait must sleep, or they take the cores from whoever has the turn."""
        variables = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
        if self.device == "gpu":
            return {**variables, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        variables |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        return {**variables, **(KEPT_MEMORY if self.keep_memory else {})}


class Process:
    """A peer's process; ``peers/serving.py`` is the other end."""

    def __init__(self, peer: Peer, setting: Setting):
        self._log = setting.folder / f"{peer.name}.log".replace(" ", "-")
        reading, writing = os.pipe()
        command = [setting.pythons[peer.library], str(PEERS / f"{peer.library}_peer.py"), str(writing)]
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


@dataclass
class Racer:
    """A peer that runs, and what is measured of it.

    Args:
        peer: which one.
        process: its process.
        versions: of its packages.
        start_up: seconds from its process's start to the end of its first step: imports, loading, compilation.
        first_loss: of the start.
        last_loss: of the last timed step.
        seconds: of a step, in each round.
        idle: seconds of the processor that it has used in the others' turns.
        memory: the answer to "memory".
        gradient_error: (cosine, relative norm of the difference) to the reference; None without one.
    """

    peer: Peer
    process: Process
    versions: Mapping[str, str]
    start_up: float
    first_loss: float
    last_loss: float = math.nan
    seconds: list[float] = field(default_factory=list)
    idle: float = 0.0
    memory: Mapping[str, int | None] = field(default_factory=dict)
    gradient_error: tuple[float, float] | None = None


@contextlib.contextmanager
def running(peer: Peer, setting: Setting) -> Iterator[Process]:
    """A peer's process, with the task loaded, ended afterwards."""
    process = Process(peer, setting)
    try:
        yield process
    finally:
        process.close()


def missing(peers: Iterable[Peer], pythons: Mapping[str, str]) -> dict[str, str]:
    """{library: the line that says that its peers are left out, and what to do}."""
    lines = {}
    for library in dict.fromkeys(peer.library for peer in peers):
        python = pythons.get(library)
        if library in INSTALLING and not (python and Path(python).exists()):
            name, installation, option = INSTALLING[library]
            why = f"there is no {python}" if python else "no interpreter that has it is known"
            lines[library] = (
                f"{name} is left out: {why}; make an environment, {installation} in it, and say {option} ENV/bin/python"
            )
    return lines


def reference(setting: Setting) -> tuple[float, np.ndarray] | None:
    """(loss, gradient [H, W, 3]) of the start, by PyTorch in float64; None where there is no PyTorch."""
    peer = Peer("reference", "torch", {"dtype": "float64"})
    if missing([peer], setting.pythons):
        return None
    with running(peer, setting) as process:
        process.ask("load", path=str(setting.task), device=setting.device, **peer.options)
        path = setting.folder / "reference.npy"
        return process.ask("gradient", path=str(path))["loss"], np.load(path)


def start(peer: Peer, setting: Setting, stack: contextlib.ExitStack) -> Racer:
    """Start a peer and have it make its first step."""
    begun = time.perf_counter()
    process = stack.enter_context(running(peer, setting))
    versions = process.ask("load", path=str(setting.task), device=setting.device, **peer.options)["versions"]
    first = process.ask("step", steps=1)["loss"]
    return Racer(peer, process, versions, time.perf_counter() - begun, first)


def check_agreement(racers: Sequence[Racer], expected: float) -> None:
    """That all have the same first loss.

    Raises:
        UserError: one has not, so it does not make the step that the others make.
    """
    for racer in racers:
        far = abs(racer.first_loss / expected - 1)
        allowed = TOLERANCE[racer.peer.arithmetic]
        if not far <= allowed:
            raise UserError(
                f"{racer.peer.name} computes something else: its first loss is {racer.first_loss:.7g}, a relative "
                f"{far:.1e} from {expected:.7g}, where {racer.peer.arithmetic} may be {allowed:.0e} off"
            )


def race(racers: Sequence[Racer], *, rounds: int, steps: int) -> None:
    """Time all peers in turn, after a warm-up, each first in its turn; the others wait meanwhile."""
    for turn in range(-1, rounds):
        shift = turn % len(racers)
        for racer in (*racers[shift:], *racers[:shift]):
            before = {id(it): it.process.processor_seconds() for it in racers}
            answer = racer.process.ask("step", steps=steps)
            racer.last_loss = answer["loss"]
            if not math.isfinite(racer.last_loss):
                raise Failed(f"{racer.peer.name}'s loss is {racer.last_loss}")
            if turn < 0:
                continue
            racer.seconds.append(answer["seconds"] / steps)
            for other in racers:
                if other is not racer:
                    other.idle += other.process.processor_seconds() - before[id(other)]


def gradient_error(gradient: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """(cosine, relative norm of the difference) to the expected one, in float64."""
    found, expected = gradient.astype(np.float64), expected.astype(np.float64)
    norm = np.linalg.norm(expected)
    cosine = np.vdot(found, expected) / (np.linalg.norm(found) * norm)
    return float(cosine), float(np.linalg.norm(found - expected) / norm)


def compete(peers: Sequence[Peer], setting: Setting, *, rounds: int, steps: int) -> tuple[list[Racer], list[str]]:
    """Run the whole contest.

    Returns:
        (what was measured of each peer, a line for each peer that is left out).

    Raises:
        UserError: two peers do not compute the same.
        Failed: a peer that had started has failed later.
    """
    without = missing(peers, setting.pythons)
    notes, racers = list(without.values()), []
    expected = reference(setting)
    with contextlib.ExitStack() as stack:
        for peer in peers:
            if peer.library in without:
                continue
            try:
                racers.append(start(peer, setting, stack))
            except Failed as failure:
                notes.append(f"{peer.name} is left out: {failure}")
        if racers:
            exact = [racer.first_loss for racer in racers if racer.peer.arithmetic == "float32"]
            check_agreement(racers, expected[0] if expected else [*exact, racers[0].first_loss][0])
            race(racers, rounds=rounds, steps=steps)
        for racer in racers:
            racer.memory = racer.process.ask("memory")
            if expected:
                path = setting.folder / "gradient.npy"
                racer.process.ask("gradient", path=str(path))
                racer.gradient_error = gradient_error(np.load(path), expected[1])
    return racers, notes


def interpreters(torch: str | None, tensorflow: str | None) -> dict[str, str]:
    """{library: its interpreter}: this one, where it has the library and no other is said."""
    found = {"nstjax": sys.executable}
    for library, said in (("torch", torch), ("tensorflow", tensorflow)):
        if said or find_spec(library):
            found[library] = said or sys.executable
    return found
