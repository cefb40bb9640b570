"""Peers compared: checked to compute the same loss, timed in turn."""

import contextlib
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
from peers.processes import Arithmetic, Peer, PeerError, Process, Setup, run_peer

from nstjax.errors import UserError

TOLERANCE: dict[Arithmetic, float] = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 2e-2}
"""Largest relative difference of a peer's first loss from the reference's."""

INSTALLATION = {
    "torch": ("PyTorch", "pip install torch numpy", "--torch-python"),
    "tensorflow": ("TensorFlow", "pip install tensorflow", "--tensorflow-python"),
}


@dataclass
class PeerRun:
    """A running peer and its measurements.

    Args:
        peer: the peer.
        process: the peer's process.
        versions: {package: version} of the peer.
        start_up: seconds from the start of the process to the end of the first step: imports, loading, compilation.
        first_loss: loss of the start picture.
        last_loss: loss of the last timed step.
        seconds: seconds per step, in each round.
        idle_seconds: processor seconds used while the other peers had their turns.
        memory: the peer's answer to the request "memory".
        gradient_error: (cosine, relative norm of the difference) to the reference; None without a reference.
    """

    peer: Peer
    process: Process
    versions: Mapping[str, str]
    start_up: float
    first_loss: float
    last_loss: float = math.nan
    seconds: list[float] = field(default_factory=list)
    idle_seconds: float = 0.0
    memory: Mapping[str, int | None] = field(default_factory=dict)
    gradient_error: tuple[float, float] | None = None


def find_missing_libraries(peers: Iterable[Peer], pythons: Mapping[str, str]) -> dict[str, str]:
    """Return {library: a line that says that its peers are left out, and what to do} for missing libraries."""
    lines = {}
    for library in dict.fromkeys(peer.library for peer in peers):
        python = pythons.get(library)
        if library in INSTALLATION and not (python and Path(python).exists()):
            name, command, option = INSTALLATION[library]
            reason = f"there is no {python}" if python else "no interpreter that has it is known"
            lines[library] = (
                f"{name} is left out: {reason}; create an environment, run {command} in it, and pass {option} "
                "ENV/bin/python"
            )
    return lines


def compute_reference(setup: Setup) -> tuple[float, np.ndarray] | None:
    """Return the (loss, gradient [H, W, 3]) of the start by PyTorch in float64; None without PyTorch."""
    peer = Peer("reference", "torch", {"dtype": "float64"})
    if find_missing_libraries([peer], setup.pythons):
        return None
    with run_peer(peer, setup) as process:
        process.ask("load", path=str(setup.task), device=setup.device, **peer.options)
        path = setup.folder / "reference.npy"
        return process.ask("gradient", path=str(path))["loss"], np.load(path)


def start_peer(peer: Peer, setup: Setup, stack: contextlib.ExitStack) -> PeerRun:
    """Start a peer and make its first step."""
    begun = time.perf_counter()
    process = stack.enter_context(run_peer(peer, setup))
    versions = process.ask("load", path=str(setup.task), device=setup.device, **peer.options)["versions"]
    first_loss = process.ask("step", steps=1)["loss"]
    return PeerRun(peer, process, versions, time.perf_counter() - begun, first_loss)


def check_agreement(runs: Sequence[PeerRun], expected: float) -> None:
    """Raise if a peer's first loss is not the expected one.

    Raises:
        UserError: a peer's first loss differs, so its step is not that of the others.
    """
    for run in runs:
        error = abs(run.first_loss / expected - 1)
        tolerance = TOLERANCE[run.peer.arithmetic]
        if not error <= tolerance:
            raise UserError(
                f"{run.peer.name} computes something else: its first loss is {run.first_loss:.7g}, expected "
                f"{expected:.7g}; the relative error is {error:.1e}, in {run.peer.arithmetic} at most {tolerance:.0e}"
            )


def read_busy_seconds() -> float:
    """Return the processor seconds that everything on this machine has used."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system


def time_in_turn(runs: Sequence[PeerRun], *, rounds: int, steps: int) -> float:
    """Time all peers in turn, after a warm-up round; while one computes, the others wait.

    Each round begins with another peer.

    Returns:
        Average number of cores that other processes on this machine used meanwhile.

    Raises:
        PeerError: a peer has failed, or its loss is not finite.
    """

    def read_other_seconds() -> float:
        return read_busy_seconds() - sum(run.process.read_processor_seconds() for run in runs)

    begun, used_before = 0.0, 0.0
    for turn in range(-1, rounds):
        if turn == 0:
            begun, used_before = time.perf_counter(), read_other_seconds()
        shift = turn % len(runs)
        for run in (*runs[shift:], *runs[:shift]):
            before = {id(other): other.process.read_processor_seconds() for other in runs}
            answer = run.process.ask("step", steps=steps)
            run.last_loss = answer["loss"]
            if not math.isfinite(run.last_loss):
                raise PeerError(f"{run.peer.name}: the loss is {run.last_loss}")
            if turn < 0:
                continue
            run.seconds.append(answer["seconds"] / steps)
            for other in runs:
                if other is not run:
                    other.idle_seconds += other.process.read_processor_seconds() - before[id(other)]
    return max(read_other_seconds() - used_before, 0.0) / (time.perf_counter() - begun)


def compare_gradients(gradient: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return the (cosine, relative norm of the difference) of a gradient to the expected one, in float64."""
    gradient, expected = gradient.astype(np.float64), expected.astype(np.float64)
    norm = np.linalg.norm(expected)
    cosine = np.vdot(gradient, expected) / (np.linalg.norm(gradient) * norm)
    return float(cosine), float(np.linalg.norm(gradient - expected) / norm)


@dataclass(frozen=True)
class Comparison:
    """The measurements of all peers.

    Args:
        runs: the peers that ran, with their measurements.
        notes: a line for each peer or measurement that is left out.
        other_load: average number of cores that were busy with something else.
    """

    runs: list[PeerRun]
    notes: list[str]
    other_load: float


def compare_peers(peers: Sequence[Peer], setup: Setup, *, rounds: int, steps: int) -> Comparison:
    """Start, check and time all peers, and compare their gradients with the reference.

    Raises:
        UserError: two peers do not compute the same loss.
        PeerError: a peer has failed after its first step.
    """
    missing = find_missing_libraries(peers, setup.pythons)
    notes, runs, other_load, expected = list(missing.values()), [], 0.0, None
    try:
        expected = compute_reference(setup)
    except PeerError as failure:
        notes.append(f"Gradients are not compared: PyTorch in float64 has failed: {failure}")
    with contextlib.ExitStack() as stack:
        for peer in peers:
            if peer.library in missing:
                continue
            try:
                runs.append(start_peer(peer, setup, stack))
            except PeerError as failure:
                notes.append(f"{peer.name} is left out: {failure}")
        if runs:
            exact = [run.first_loss for run in runs if run.peer.arithmetic == "float32"]
            check_agreement(runs, expected[0] if expected else [*exact, runs[0].first_loss][0])
            other_load = time_in_turn(runs, rounds=rounds, steps=steps)
        for run in runs:
            run.memory = run.process.ask("memory")
            if expected:
                path = setup.folder / "gradient.npy"
                run.process.ask("gradient", path=str(path))
                run.gradient_error = compare_gradients(np.load(path), expected[1])
    return Comparison(runs, notes, other_load)


def find_interpreters(torch: str | None, tensorflow: str | None) -> dict[str, str]:
    """Return {library: interpreter}: the given one, or this one if it has the library."""
    interpreters = {"nstjax": sys.executable}
    for library, given in (("torch", torch), ("tensorflow", tensorflow)):
        if given or find_spec(library):
            interpreters[library] = given or sys.executable
    return interpreters
